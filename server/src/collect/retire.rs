//! Placements that nobody will use again.
//!
//! A placement whose node has been silent for a week leaves the pool of those that new leases use. Rows of placements that are out of use
//! and that no segment and no lease refers to are deleted.

use std::collections::{BTreeSet, HashSet};

use cyx_core::ids::{NodeId, PlacementId};
use sqlx::Row as _;

use crate::app::App;
use crate::db::{Backend, Conn, DbError};
use crate::nodes::Liveness;
use crate::placement::rows;
use crate::tree::sql;

/// A node that was silent for this long is not waited for.
const GONE_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Placements that are deleted in one transaction.
const STEP: i64 = 1000;

/// Retires and deletes; how many rows were deleted. `now` in Unix nanoseconds.
///
/// # Errors
/// [`DbError`].
pub async fn retire(app: &App, now: i64) -> Result<u64, DbError> {
    let all = app.network.registry.all();
    let gone: HashSet<NodeId> = all
        .iter()
        .filter(|node| node.state == Liveness::Lost && node.last_heartbeat_ns < now.saturating_sub(GONE_NS))
        .map(|node| node.id)
        .collect();
    let (mut closed, backend) = (app.network.placements.close_those_of(&gone), app.db.backend());
    // This server's pool lacks those that other servers have made.
    for node in &gone {
        let text =
            "SELECT p.id FROM placement p JOIN placement_node n ON n.placement = p.id WHERE n.node = $1 AND p.open = 1";
        let rows = sqlx::query(text).bind(node.to_vec()).fetch_all(&mut *app.db.read().await?).await?;
        for row in &rows {
            closed.push(sql::id(row, 0)?);
        }
    }
    // In the order of their ids, as whoever deletes or uses them goes.
    let closed: BTreeSet<PlacementId> = closed.into_iter().collect();
    app.db
        .write(move |conn| {
            let closed = closed.clone();
            Box::pin(async move {
                for placement in &closed {
                    rows::close(conn, *placement).await?;
                }
                delete_unused(conn, backend).await
            })
        })
        .await
}

/// Whether nobody uses a placement, or will.
const UNUSED: &str = "p.open = 0 AND NOT EXISTS (SELECT 1 FROM segment s WHERE s.placement = p.id) \
                      AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.placement = p.id)";

/// Deletes rows; how many.
pub(super) async fn delete_unused(conn: &mut Conn, backend: Backend) -> Result<u64, DbError> {
    let lock = backend.for_update();
    let text = format!("SELECT p.id FROM placement p WHERE {UNUSED} ORDER BY p.id LIMIT $1{lock}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(STEP).fetch_all(&mut *conn).await?;
    // Whoever had a row locked, to fold segments into it, refers to it now: that shows only to a statement that begins after the wait.
    let text = format!("DELETE FROM placement AS p WHERE p.id = $1 AND {UNUSED}");
    let mut deleted = 0;
    for row in &rows {
        let id: Vec<u8> = row.try_get(0)?;
        let done = sqlx::query(sqlx::AssertSqlSafe(&text[..])).bind(&id[..]).execute(&mut *conn).await?;
        if done.rows_affected() == 1 {
            sqlx::query("DELETE FROM placement_node WHERE placement = $1").bind(&id[..]).execute(&mut *conn).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use cyx_core::ids::{Random as _, SegmentId};
    use cyx_core::scheme::Scheme;

    use super::*;
    use crate::nodes::NodeRecord;
    use crate::nodes::testing::{execute, node, number, placement, segment, server_with};
    use crate::test_support::TestApp;
    use crate::time::now_ns;

    async fn placements(test: &TestApp, open: bool) -> i64 {
        let text = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM placement WHERE open = {}", i64::from(open));
        number(test, &text).await
    }

    #[tokio::test]
    async fn only_placements_of_lost_nodes_that_nothing_refers_to_are_forgotten() {
        let lost = NodeRecord { state: Liveness::Lost, last_heartbeat_ns: now_ns() - GONE_NS - 1, ..node(1) };
        let away = NodeRecord { state: Liveness::Lost, last_heartbeat_ns: now_ns() - GONE_NS / 2, ..node(2) };
        let test = server_with([lost, away, node(3)], |_| {}).await;
        let single = Scheme::SINGLE;
        let used = placement(&test, single, &[node(1).id]).await;
        segment(&test, SegmentId::random(), &used).await;
        let made = [placement(&test, single, &[node(1).id]).await, placement(&test, single, &[node(2).id]).await];
        for placement in made.into_iter().chain([used]) {
            test.app.network.placements.adopt(placement);
        }
        assert_eq!(retire(&test.app, now_ns()).await.unwrap(), 1);
        assert_eq!((placements(&test, true).await, placements(&test, false).await), (1, 1));
        execute(&test, &["DELETE FROM segment".to_owned()]).await;
        assert_eq!(retire(&test.app, now_ns()).await.unwrap(), 1);
        assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM placement_node").await, 1);
    }

    #[tokio::test]
    async fn placements_that_other_servers_made_are_retired_too() {
        let lost = NodeRecord { state: Liveness::Lost, last_heartbeat_ns: now_ns() - GONE_NS - 1, ..node(1) };
        let test = server_with([lost, node(2)], |_| {}).await;
        for number in [1, 2] {
            placement(&test, Scheme::SINGLE, &[node(number).id]).await;
        }
        assert_eq!(retire(&test.app, now_ns()).await.unwrap(), 1);
        assert_eq!((placements(&test, true).await, placements(&test, false).await), (1, 0));
    }
}
