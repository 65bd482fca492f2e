//! What is not needed any more, and how nodes learn of it.
//!
//! A collection expires what the tree keeps only for a while, forgets leases whose receipts cannot come any more, retires placements of
//! nodes that are gone, and begins rounds of keep-lists. Nothing here tells a node to drop a particular chunk: what nodes may drop
//! follows from what the keep-lists do not name, days later.
//!
//! | file | what it does |
//! |---|---|
//! | [`holdings`] | what a node is supposed to hold |
//! | [`ranges`] | cutting that into ranges of ids |
//! | [`keep_lists`] | rounds of signed keep-lists |
//! | [`fold`] | overrides of many segments become a placement |
//! | [`retire`] | placements that nobody will use again |

pub mod fold;
pub mod holdings;
pub mod keep_lists;
pub mod ranges;
pub mod retire;

use std::fmt;

use cyx_core::units::RECEIPT_LIFETIME_SECONDS;

use crate::app::App;
use crate::db::DbError;
use crate::error::ApiError;
use crate::ledger;
use crate::placement::rows::forget_leases;
use crate::time::{now_ns, now_seconds};
use crate::tree;

/// Leases are remembered a little longer than receipts under them are good for.
const LEASE_MEMORY_SECONDS: u64 = RECEIPT_LIFETIME_SECONDS + 3600;
/// Freed segments stay named in keep-lists for as long as nodes may be asked for what was just deleted.
const FREED_MEMORY_NS: i64 = 3600 * 1_000_000_000;

/// How eager a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Rounds of keep-lists begin when it is time for them.
    Regular,
    /// They begin now.
    Now,
}

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// What the tree gave up.
    pub tree: tree::collect::Collected,
    /// Segments whose chunks keep-lists do not name any more.
    pub segments: u64,
    /// Leases that were forgotten.
    pub leases: u64,
    /// Segments whose overrides became a placement.
    pub folded: u64,
    /// Placements that were forgotten.
    pub placements: u64,
    /// Nodes for which a round of keep-lists began.
    pub rounds: usize,
    /// Whether an administrator has to resume the network after a restore.
    pub held: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = &self.tree;
        let parts = [
            (tree.trash, "trash entry", "trash entries"),
            (tree.inodes, "inode", "inodes"),
            (tree.versions, "version", "versions"),
            (tree.staged, "staged upload", "staged uploads"),
            (tree.buckets, "bucket", "buckets"),
            (self.segments, "segment", "segments"),
            (self.leases, "lease", "leases"),
            (self.folded, "segment with overrides", "segments with overrides"),
            (self.placements, "placement", "placements"),
        ];
        for (count, one, many) in parts.into_iter().filter(|(count, ..)| *count > 0) {
            write!(f, "{count} {}, ", if count == 1 { one } else { many })?;
        }
        if self.held {
            f.write_str("keep-lists are held after a restore until `cyx-server collect --resume`")
        } else {
            write!(f, "keep-lists for {} {}", self.rounds, if self.rounds == 1 { "node" } else { "nodes" })
        }
    }
}

/// Collects once.
///
/// # Errors
/// [`ApiError`] of the first step that fails; what was done before stays, and the next collection goes on. Where a bucket fails, everything
/// else is done first.
pub async fn collect(app: &App, pace: Pace) -> Result<Summary, ApiError> {
    let (db, network) = (&app.db, &app.network);
    let now = now_ns();
    let (tree, outcome) = tree::collect::collect(db, &app.changes, (&app.config).into(), now).await;
    // A shorter margin is for tests, where the memory of freed segments has to be short as well.
    let margin_ns =
        i64::try_from(network.options.keep_list_margin_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    // A freed segment is named until the ledger has written down for how long it was kept.
    let metered = i64::try_from(ledger::run(app).await?).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    let forget_before = now.saturating_sub(FREED_MEMORY_NS.min(margin_ns)).min(metered);
    let mut segments = 0;
    loop {
        let forgotten: u64 =
            db.write(move |conn| Box::pin(tree::collect::forget_segments(conn, forget_before))).await?;
        segments += forgotten;
        if forgotten == 0 {
            break;
        }
    }
    let lease_before = now_seconds().saturating_sub(LEASE_MEMORY_SECONDS);
    let leases = db.write(move |conn| Box::pin(forget_leases(conn, lease_before))).await?;
    let now_s = now_seconds();
    db.write(move |conn| Box::pin(crate::orders::forget_grants(conn, now_s))).await?;
    // A full disk must not keep anything from being collected.
    if let Err(error) = ledger::pay_out(app).await {
        tracing::error!(%error, "what is due to operators was not paid out; it is tried again");
    }
    let folded = fold::fold(db, fold::WORTH, now).await?;
    let placements = retire::retire(app, now).await?;
    let rounds = keep_lists::begin_rounds(db, &network.options, pace == Pace::Now).await?;
    for (node, sequence) in &rounds {
        network.registry.set_keep_list_sequence(*node, *sequence);
    }
    let mut read = db.read().await?;
    let held = keep_lists::is_held(&mut read).await?;
    drop(read);
    let summary = Summary { tree, segments, leases, folded, placements, rounds: rounds.len(), held };
    tracing::info!(%summary, "collected");
    outcome?;
    Ok(summary)
}

/// Lets keep-lists begin again after a restore.
///
/// # Errors
/// [`DbError`].
pub async fn resume(app: &App) -> Result<(), DbError> {
    app.db.write(|conn| Box::pin(keep_lists::resume(conn))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testing::{execute, literal, node, number, server_with};

    #[tokio::test]
    async fn a_collection_forgets_old_leases_and_begins_rounds_once() {
        let test = server_with([node(1), node(2)], |_| {}).await;
        let none = literal(&test, &[]);
        let lease = |id: u8, expires: u64| {
            let id = literal(&test, &[id; 16]);
            format!(
                "INSERT INTO lease (id, session, account, bucket, placement, spares, allowance, used, expires) \
                 VALUES ({id}, {none}, {none}, {none}, {none}, {none}, 1, 0, {expires})"
            )
        };
        let now = now_seconds();
        execute(&test, &[lease(1, now - LEASE_MEMORY_SECONDS - 60), lease(2, now - 60)]).await;
        let done = collect(&test.app, Pace::Regular).await.unwrap();
        assert_eq!((done.leases, done.rounds, done.held), (1, 2, false));
        assert_eq!(done.to_string(), "1 lease, keep-lists for 2 nodes");
        assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM lease").await, 1);
        assert!(test.app.network.registry.all().iter().all(|node| node.keep_list_sequence > 0));
        // The rounds are under way.
        assert_eq!(collect(&test.app, Pace::Now).await.unwrap().rounds, 0);
    }

    #[tokio::test]
    async fn a_tree_that_contradicts_itself_keeps_nothing_else_from_being_collected() {
        let test = server_with([node(1), node(2)], |_| {}).await;
        let (bucket, none) = (literal(&test, &[1]), literal(&test, &[]));
        // No id of a bucket is that short.
        let purge = format!("INSERT INTO purge (bucket, inode, queued_ns) VALUES ({bucket}, {none}, 1)");
        execute(&test, &[purge]).await;
        assert!(collect(&test.app, Pace::Regular).await.is_err());
        assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM keep_list_round").await, 2);
    }

    #[tokio::test]
    async fn after_a_restore_a_collection_says_what_it_waits_for() {
        let test = server_with([node(1)], |_| {}).await;
        test.app.db.write(|conn| Box::pin(crate::keys::new_incarnation(conn))).await.unwrap();
        let done = collect(&test.app, Pace::Now).await.unwrap();
        assert_eq!((done.rounds, done.held), (0, true));
        assert!(done.to_string().contains("--resume"), "{done}");
        resume(&test.app).await.unwrap();
        assert_eq!(collect(&test.app, Pace::Now).await.unwrap().rounds, 1);
    }
}
