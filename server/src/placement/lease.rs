//! Handing out, using up and releasing leases.
//!
//! A lease gives a session a placement, a store grant for each of its nodes and for a few spares, an allowance in sealed bytes and an
//! end. What it allows counts against the quota and the traffic of the bucket's owner until it is used, released or over. Nodes hold a client
//! to its grants; the server holds it to the allowance when the segments are committed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, LeaseId, NodeId, PlacementId, Random as _, SessionId};
use cyx_core::scheme::Scheme;
use cyx_core::units::{GIB, KIB, MIB};
use cyx_proto::convert::{self, bytes_of};
use cyx_proto::meta::v1 as pb;
use thiserror::Error;

use super::pool::{Picked, spares};
use super::rows::{self, Lease};
use super::{Placement, Placements, grants};
use crate::db::DbError;
use crate::error::ApiError;
use crate::nodes::NodeRecord;
use crate::orders::{self, Promise, rows::NewGrant};
use crate::quota;
use crate::time::{now_ns, now_seconds};

/// Most sealed bytes of one lease.
pub const ALLOWANCE_MAX: u64 = 16 * GIB;
/// Most leases of one call.
const COUNT_MAX: u32 = 8;
/// Most leases that a session may hold; a further one ends the oldest.
const HELD_MAX: usize = 16;
/// Least bytes that one node may get beyond its part, for what is begun again.
const AGAIN_MIN: u64 = 64 * KIB;
/// Spares of a lease.
const SPARES: usize = 4;
/// Most nodes that a client may avoid: more are not believed.
const AVOID_MAX: usize = 256;

/// Why a lease cannot be used.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// There is none of this id, session and bucket.
    #[error("there is no such lease")]
    Unknown,
    /// More would be stored than it allows.
    #[error("the lease does not allow that many bytes")]
    Exhausted,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Unknown => {
                Self::new(ErrorCode::Restage, "there is no such lease: upload again under a new one")
            }
            LeaseError::Exhausted => Self::invalid(error.to_string()),
            LeaseError::Db(error) => error.into(),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// The logged-in device.
    pub id: SessionId,
    /// Its key, which grants are bound to.
    pub key: [u8; 32],
}

/// What a lease is asked for.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// Whose quota it counts against: the bucket's owner.
    pub owner: AccountId,
    /// Whether the bucket asks for the widest scheme.
    pub durable: bool,
    /// Sealed bytes of each lease.
    pub bytes: u64,
    /// Nodes that failed the client.
    pub avoid: HashSet<NodeId>,
    /// Nothing wider than this.
    pub at_most: Option<Scheme>,
    /// Leases wanted.
    pub count: usize,
}

impl LeaseRequest {
    /// Checks a foreign request for a bucket that the caller may write.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub fn new(
        request: &pb::LeasePlacementRequest,
        bucket: BucketId,
        owner: AccountId,
        durable: bool,
    ) -> Result<Self, ApiError> {
        if request.bytes == 0 || request.bytes > ALLOWANCE_MAX {
            return Err(ApiError::invalid(format!("a lease is for 1 to {ALLOWANCE_MAX} bytes")));
        }
        if request.avoid.len() > AVOID_MAX {
            return Err(ApiError::invalid(format!("at most {AVOID_MAX} nodes can be avoided")));
        }
        let avoid = request.avoid.iter().map(|node| convert::id(node, "avoid")).collect::<Result<_, _>>()?;
        let at_most = match &request.at_most {
            Some(scheme) => Some(convert::scheme(Some(*scheme), "at_most")?),
            None => None,
        };
        let count = usize::try_from(request.count.clamp(1, COUNT_MAX)).unwrap_or(1);
        Ok(Self { bucket, owner, durable, bytes: request.bytes, avoid, at_most, count })
    }

    /// The schemes to try, the widest first.
    fn schemes(&self) -> impl Iterator<Item = Scheme> + '_ {
        let durable = self.durable.then_some(Scheme::DURABLE);
        let fits = |scheme: &Scheme| self.at_most.is_none_or(|most| scheme.n() <= most.n());
        durable.into_iter().chain(Scheme::LADDER).filter(fits)
    }

    /// What the bucket asks for.
    const fn wish(&self) -> Scheme {
        if self.durable { Scheme::DURABLE } else { Scheme::DEFAULT }
    }
}

/// A lease before it is written down and signed.
struct Draft {
    lease: Lease,
    placement: Arc<Placement>,
    is_new: bool,
}

impl Placements {
    /// Hands out leases: as many as asked for, or fewer if the quota does not suffice for all.
    ///
    /// # Errors
    /// [`ErrorCode::TooFewNodes`] if no scheme fits, [`ErrorCode::QuotaExceeded`] if not even one lease does.
    pub async fn lease(
        &self,
        session: Session,
        request: &LeaseRequest,
    ) -> Result<pb::LeasePlacementResponse, ApiError> {
        let now = now_seconds();
        let drafts: Arc<[Draft]> = self.draft(session, request, now)?.into();
        let granted = self.write_down(session, &drafts, request, now).await?;
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        for draft in drafts.iter().take(granted).filter(|draft| draft.is_new) {
            pool.add(Arc::clone(&draft.placement));
        }
        drop(pool);
        let leases = drafts.iter().take(granted).map(|draft| self.answer(session, request, draft, now));
        Ok(pb::LeasePlacementResponse { leases: leases.collect::<Result<_, _>>()? })
    }

    fn draft(&self, session: Session, request: &LeaseRequest, now: u64) -> Result<Vec<Draft>, ApiError> {
        let mut rng = rand::rng();
        let diversity = self.diversity();
        for scheme in request.schemes() {
            let candidates = self.registry.candidates(node_allowance(scheme, request.bytes), &request.avoid);
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut drafts = Vec::with_capacity(request.count);
            for _ in 0..request.count {
                let Some(Picked { placement, is_new }) = pool.pick(scheme, &candidates, diversity, &mut rng) else {
                    break;
                };
                if is_new {
                    pool.add(Arc::clone(&placement));
                }
                let spares = spares(&placement, &candidates, SPARES, diversity, &mut rng);
                let lease = Lease {
                    id: LeaseId::random(),
                    session: session.id,
                    account: request.owner,
                    bucket: request.bucket,
                    placement: placement.id,
                    spares,
                    allowance: request.bytes,
                    used: 0,
                    expires: now + self.options.grant_seconds,
                };
                drafts.push(Draft { lease, placement, is_new });
            }
            if !drafts.is_empty() {
                return Ok(drafts);
            }
        }
        Err(self.too_few(request))
    }

    fn too_few(&self, request: &LeaseRequest) -> ApiError {
        let all: Vec<NodeRecord> = self.registry.all();
        let usable = all.iter().filter(|node| node.can_take(0) && !request.avoid.contains(&node.id)).count();
        let message = match (all.len(), usable) {
            (0, _) => "no storage node has joined yet".to_owned(),
            (all, 0) => format!("none of {all} storage nodes can store anything now"),
            (all, usable) => format!("{usable} of {all} storage nodes are usable, too few for what was asked"),
        };
        ApiError::new(ErrorCode::TooFewNodes, message)
    }

    /// Writes down as many leases as the quota allows; how many.
    async fn write_down(
        &self,
        session: Session,
        drafts: &Arc<[Draft]>,
        request: &LeaseRequest,
        now: u64,
    ) -> Result<usize, ApiError> {
        let (drafts, backend) = (Arc::clone(drafts), self.db.backend());
        let (owner, bytes) = (request.owner, request.bytes);
        let grants: Arc<[Vec<NewGrant>]> = drafts.iter().map(|draft| self.new_grants(draft)).collect();
        self.db
            .write(move |conn| {
                let (drafts, grants) = (Arc::clone(&drafts), Arc::clone(&grants));
                Box::pin(async move {
                    // A further lease ends the oldest. Leases are locked before the account, as a commit does.
                    rows::end_oldest(conn, session.id, HELD_MAX.saturating_sub(drafts.len()), now).await?;
                    // Locks the account until the transaction ends.
                    let usage = quota::lock(conn, backend, owner).await?;
                    let pending = quota::pending(conn, owner, now_ns()).await?;
                    let fit = usize::try_from(quota::left(&usage, pending) / bytes).unwrap_or(usize::MAX);
                    let fit = fit.min(drafts.len());
                    if fit == 0 {
                        return Err(quota::exceeded(&usage, pending, bytes));
                    }
                    let traffic = orders::check(conn, backend, owner, now).await?;
                    let fit = grants[..fit].iter().scan(traffic.left(), |left, grants| fits(left, grants)).count();
                    if fit == 0 {
                        return Err(orders::exceeded(&traffic));
                    }
                    let granted = &drafts[..fit];
                    // Also those that this process knows for long: another one may have closed or deleted them when nobody used them. In
                    // the order of their ids, as whoever deletes them goes.
                    let used: BTreeMap<PlacementId, &Placement> =
                        granted.iter().map(|draft| (draft.placement.id, &*draft.placement)).collect();
                    for placement in used.into_values() {
                        rows::insert(conn, backend, placement, now_ns()).await?;
                    }
                    let leases: Vec<Lease> = granted.iter().map(|draft| draft.lease.clone()).collect();
                    orders::release_ended(conn, session.id, now).await?;
                    rows::insert_leases(conn, &leases, now).await?;
                    let promise = Promise { account: owner, session_key: session.key, grants: grants[..fit].concat() };
                    orders::promise(conn, &promise).await?;
                    Ok(fit)
                })
            })
            .await
    }

    /// The grants of a lease: one for each of its nodes and spares.
    fn new_grants(&self, draft: &Draft) -> Vec<NewGrant> {
        let Draft { lease, placement, .. } = draft;
        let allowance = node_allowance(placement.scheme, lease.allowance);
        let grant = |node: &NodeId| NewGrant {
            id: self.keys.store_grant_id(lease.id, *node),
            node: *node,
            lease: Some(lease.id),
            allowance,
            expires: lease.expires,
        };
        placement.nodes.iter().chain(&lease.spares).map(grant).collect()
    }

    fn answer(
        &self,
        session: Session,
        request: &LeaseRequest,
        draft: &Draft,
        now: u64,
    ) -> Result<pb::PlacementLease, ApiError> {
        let Draft { lease, placement, .. } = draft;
        let allowance = node_allowance(placement.scheme, lease.allowance);
        let grant = |node: &NodeId| {
            let record =
                self.registry.get(*node).ok_or_else(|| ApiError::internal("a placement names an unknown node"))?;
            let tag = self.keys.tag(*node, request.bucket);
            let times = (now, lease.expires);
            let grant: Bytes = grants::sign_store(&self.keys, session.key, lease.id, (*node, tag), allowance, times);
            Ok::<_, ApiError>(grants::access(&record, tag, grant))
        };
        Ok(pb::PlacementLease {
            lease: bytes_of(lease.id),
            placement: bytes_of(placement.id),
            scheme: Some(placement.scheme.into()),
            nodes: placement.nodes.iter().map(grant).collect::<Result<_, _>>()?,
            spares: lease.spares.iter().map(grant).collect::<Result<_, _>>()?,
            allowance: lease.allowance,
            expires_at: lease.expires,
            warning: warning(request.wish(), placement),
        })
    }

    /// Ends leases that their session does not need any more. Unknown ones are none of its business.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`].
    pub async fn release(&self, session: SessionId, leases: Vec<LeaseId>) -> Result<(), ApiError> {
        let leases: Arc<BTreeSet<LeaseId>> = Arc::new(leases.into_iter().collect());
        self.db
            .write(move |conn| {
                let leases = Arc::clone(&leases);
                Box::pin(async move { Ok(rows::end(conn, session, &leases, now_seconds()).await?) })
            })
            .await
    }
}

/// Takes the traffic of a lease's grants out of what is left. `None` ends the row of leases that fit.
fn fits(left: &mut u64, grants: &[NewGrant]) -> Option<()> {
    *left = left.checked_sub(grants.iter().map(|grant| grant.allowance).sum())?;
    Some(())
}

/// Bytes of chunks that one node may get under a lease of `bytes` sealed bytes: its part, and an eighth and 1 MiB more for padding and for
/// segments that are begun again. Of a small lease all may be begun again once, and no more than that: what is left of it in the end counts
/// as given back, so many uploads of one small file each must not leave much.
fn node_allowance(scheme: Scheme, bytes: u64) -> u64 {
    let part = bytes.div_ceil(scheme.k() as u64);
    part + part / 8 + part.clamp(AGAIN_MIN, MIB)
}

/// What can be lost, if it is less than the bucket asks for. Empty otherwise.
fn warning(wish: Scheme, placement: &Placement) -> String {
    let (scheme, found) = (placement.scheme, placement.nodes.len());
    if scheme == wish && found == scheme.n() {
        return String::new();
    }
    let losses = found.saturating_sub(scheme.k());
    let nodes =
        if found == 1 { "only 1 storage node is".to_owned() } else { format!("only {found} storage nodes are") };
    let survives = match losses {
        0 => "losing any of them loses this data".to_owned(),
        1 => "this data survives the loss of 1 of them".to_owned(),
        more => format!("this data survives the loss of {more} of them"),
    };
    let survives = if found == 1 {
        "this data has a single copy there, and losing the node loses it".to_owned()
    } else {
        survives
    };
    format!("{nodes} usable together (of {} wanted), so {scheme} is used: {survives}", wish.n())
}

#[cfg(test)]
mod tests;
