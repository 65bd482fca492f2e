//! Segments that a commit or a staging call brings: are they where they may be, and do enough nodes have them?

use std::borrow::Cow;
use std::collections::HashSet;

use cyx_core::error::ErrorCode;
use cyx_core::ids::NodeId;

use super::error::TreeError;
use super::plan::{NewSegment, Signers};
use super::sql;
use super::work::Work;
use crate::db::{DbError, insert_many};
use crate::placement::{self, Lease, LeaseError, Placement};
use crate::time::to_seconds;

/// The node of every shard that is stored.
pub(super) fn nodes_of(segment: &NewSegment, placement: &Placement) -> Vec<Option<NodeId>> {
    let overridden = |shard: usize| {
        let found = segment.overrides.iter().find(|(at, _)| usize::from(*at) == shard);
        found.map(|(_, node)| *node)
    };
    (0..segment.scheme.n())
        .map(|shard| {
            let node = overridden(shard).or_else(|| placement.nodes.get(shard).copied());
            node.filter(|_| segment.has(shard))
        })
        .collect()
}

/// The segment without the shards that no receipt proves and those that lie on nodes that have left for good: these are made anew.
///
/// Who uploads cannot know which receipts are taken: a node's clock may be wrong, its key be gone, and a receipt becomes old while
/// the uploader sleeps. One node must not spoil what enough others have.
fn without<'a>(
    segment: &'a NewSegment,
    placement: &Placement,
    exited: &HashSet<NodeId>,
) -> Result<Cow<'a, NewSegment>, TreeError> {
    let mut lost = 0_u64;
    for (shard, node) in nodes_of(segment, placement).into_iter().enumerate().filter(|(shard, _)| segment.has(*shard)) {
        let proven = |node: &NodeId| segment.signers.get(shard).is_some_and(|signers| signers.holders.contains(node));
        if !node.is_some_and(|node| proven(&node) && !exited.contains(&node)) {
            lost |= 1 << shard;
        }
    }
    if lost == 0 {
        return Ok(Cow::Borrowed(segment));
    }
    let mut left = segment.clone();
    left.present &= !lost;
    left.overrides.retain(|(shard, _)| lost >> shard & 1 == 0);
    if (left.present.count_ones() as usize) < segment.scheme.write_quorum() {
        let message = format!(
            "too many shards of segment {} have no valid receipt or lie on nodes that have left for good: upload it again",
            segment.id
        );
        return Err(TreeError::refused(ErrorCode::Restage, message));
    }
    tracing::debug!(segment = %segment.id, lost, "shards count as not stored: unproven, or their nodes have left");
    Ok(Cow::Owned(left))
}

/// Checks a segment against its lease, its placement and what is signed of it. A shard for which nobody has signed is no error: see
/// [`without`].
fn check(segment: &NewSegment, lease: &Lease, placement: &Placement) -> Result<(), TreeError> {
    let id = segment.id;
    if lease.placement != segment.placement || placement.scheme != segment.scheme {
        return Err(TreeError::invalid(format!("segment {id} has another placement or scheme than its lease")));
    }
    let allowed = |node: &NodeId| lease.spares.contains(node) || placement.nodes.contains(node);
    if !segment.overrides.iter().all(|(_, node)| allowed(node)) {
        return Err(TreeError::invalid(format!("segment {id} has a shard on a node that its lease does not name")));
    }
    let nodes = nodes_of(segment, placement);
    let mut seen = HashSet::new();
    for (shard, node) in nodes.iter().enumerate().filter(|(shard, _)| segment.has(*shard)) {
        let Some(node) = node else {
            return Err(TreeError::invalid(format!("shard {shard} of segment {id} has no node")));
        };
        if !seen.insert(*node) {
            return Err(TreeError::invalid(format!("node {node} would hold two shards of segment {id}")));
        }
        let is_other = |signers: &Signers| signers.others.contains(node) && !signers.holders.contains(node);
        if segment.signers.get(shard).is_some_and(is_other) {
            return Err(TreeError::invalid(format!(
                "node {node} has signed for another length or root of shard {shard} of segment {id}"
            )));
        }
    }
    Ok(())
}

impl Work<'_> {
    /// Writes new segments down. They hold no blob yet and count as slack until some are placed in them.
    pub(super) async fn add_segments(&mut self, segments: &[NewSegment]) -> Result<(), TreeError> {
        let exited = if segments.is_empty() { HashSet::new() } else { placement::rows::exited(self.conn).await? };
        let leases = segments.iter().map(|segment| segment.lease).collect();
        placement::rows::lock(self.conn, self.actor.session, &leases).await?;
        for segment in segments {
            let (session, bucket, now) = (self.actor.session, self.bucket.id, to_seconds(self.now));
            let lease = placement::consume(self.conn, segment.lease, session, bucket, segment.length, now).await;
            let lease = lease.map_err(|error| refuse_lease(error, segment))?;
            let placed = placement::rows::load(self.conn, segment.placement).await?;
            let placed = placed.ok_or_else(|| TreeError::invalid("there is no such placement"))?;
            check(segment, &lease, &placed)?;
            let segment = &*without(segment, &placed, &exited)?;
            self.put_segment(segment).await?;
            self.bucket.used_bytes += i64::try_from(segment.length).unwrap_or(i64::MAX);
            self.queue_repairs(segment).await?;
        }
        if !segments.is_empty() {
            self.forget_pending();
        }
        Ok(())
    }

    async fn put_segment(&mut self, segment: &NewSegment) -> Result<(), TreeError> {
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let written = sqlx::query(
            "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) \
             VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, 0, $9, 0) ON CONFLICT DO NOTHING",
        )
        .bind(segment.id.to_vec())
        .bind(self.bucket.id.to_vec())
        .bind(count(segment.scheme.k()))
        .bind(count(segment.scheme.m()))
        .bind(sql::as_int(segment.length))
        .bind(segment.placement.to_vec())
        .bind(sql::as_int(segment.present))
        .bind(segment.roots.concat())
        .bind(self.now)
        .execute(&mut *self.conn)
        .await?
        .rows_affected();
        if written == 0 {
            return Err(TreeError::refused(
                ErrorCode::AlreadyExists,
                format!("the id of segment {} is in use", segment.id),
            ));
        }
        let head = "INSERT INTO segment_override (segment, shard, node)";
        insert_many(self.conn, head, 3, "", &segment.overrides, |statement, (shard, node)| {
            statement.bind(segment.id.to_vec()).bind(i64::from(*shard)).bind(node.to_vec())
        })
        .await?;
        Ok(())
    }

    /// Shards that the upload did not place are to be made later.
    async fn queue_repairs(&mut self, segment: &NewSegment) -> Result<(), DbError> {
        let missing: Vec<i64> = (0..segment.scheme.n())
            .filter(|shard| !segment.has(*shard))
            .filter_map(|shard| i64::try_from(shard).ok())
            .collect();
        let (id, now) = (segment.id, self.now);
        let head = "INSERT INTO repair (segment, shard, reason, queued_ns)";
        insert_many(self.conn, head, 4, "ON CONFLICT DO NOTHING", &missing, |statement, shard| {
            statement.bind(id.to_vec()).bind(*shard).bind("unplaced").bind(now)
        })
        .await?;
        Ok(())
    }
}

fn refuse_lease(error: LeaseError, segment: &NewSegment) -> TreeError {
    match error {
        LeaseError::Db(error) => error.into(),
        LeaseError::Unknown => TreeError::refused(
            ErrorCode::Restage,
            format!("there is no such lease for segment {}: upload it again under a new one", segment.id),
        ),
        LeaseError::Exhausted => {
            TreeError::invalid(format!("the lease of segment {} does not allow that many bytes", segment.id))
        }
    }
}
