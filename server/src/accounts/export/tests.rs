//! Which tables an export has.

use std::collections::BTreeSet;

use super::TABLES;
use crate::db::DbError;
use crate::test_support::TestDb;

/// Tables of which an export has nothing, and why.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "secrets, or what they are derived from",
        &["refresh_token", "backup_code", "audit_subject", "server_key", "network"],
    ),
    ("what lives for minutes or until it is sent", &["login", "challenge", "mail", "write_lease"]),
    ("counted under hashes that say nothing of whom", &["attempt", "lockout"]),
    ("answers for whoever asks for the same again, and what is being cleared away", &["mutation_result", "purge"]),
    ("read through the log, whose entries of an account it has", &["audit", "audit_head"]),
    ("orders for the account's nodes, which others signed", &["ledger_order"]),
    (
        "work of the network on segments and nodes, whosever they are",
        &[
            "placement",
            "placement_node",
            "segment_override",
            "shard_change",
            "keep_list_round",
            "repair",
            "repair_task",
            "repair_grant",
            "audit_recheck",
        ],
    ),
    ("of the server itself", &["schema_migration", "job", "job_lease", "ledger_epoch", "ledger_meter"]),
];

#[tokio::test]
async fn every_table_is_exported_or_left_out_for_a_reason() {
    // The tables are the same in both databases.
    let test = TestDb::sqlite().await;
    let text = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut read = test.db.read().await.unwrap();
    let there: Vec<String> = sqlx::query_scalar(text).fetch_all(&mut *read).await.map_err(DbError::from).unwrap();
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    let exported: BTreeSet<&str> = TABLES.iter().map(|table| table.0).collect();
    let left_out: BTreeSet<&str> = LEFT_OUT.iter().flat_map(|(_, tables)| tables.iter().copied()).collect();
    let known: BTreeSet<&str> = exported.union(&left_out).copied().collect();
    let new: Vec<&&str> = there.difference(&known).collect();
    assert!(new.is_empty(), "whoever asks for an export gets nothing of {new:?}, and nothing says why");
    assert_eq!(exported.intersection(&left_out).count(), 0, "it is exported, or it is not");
    let gone: Vec<&&str> = known.difference(&there).collect();
    assert!(gone.is_empty(), "there is no {gone:?}");
}
