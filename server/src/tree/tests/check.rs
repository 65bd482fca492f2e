//! The check reads tables page by page and finds what is wrong, wherever it lies.

use cyx_core::ids::{InodeId, Random as _};
use pb::operation::Operation as Op;

use super::support::*;
use crate::tree::check::check;
use crate::tree::error::TreeError;
use crate::tree::model::InodeKind::{Directory, File};
use cyx_proto::meta::v1 as pb;

/// More files than a page has rows, in two directories.
async fn filled() -> TestTree {
    let tree = TestTree::new().await;
    let directories = [tree.make(tree.root, "a", Directory).await, tree.make(tree.root, "b", Directory).await];
    for part in 0..3 {
        let batch = (0..800).map(|number| {
            let file = InodeId::random();
            let name = format!("{part}-{number}");
            mutation(vec![create(file, directories[number % 2], &name, File), Op::Commit(tree.small(file, 0, 20))])
        });
        tree.apply(batch.collect()).await.iter().for_each(ok);
    }
    tree
}

async fn execute(tree: &TestTree, text: String) {
    let write = tree.test.db.write(move |conn| {
        let text = text.clone();
        Box::pin(async move {
            sqlx::query(sqlx::AssertSqlSafe(text)).execute(conn).await?;
            Ok::<_, TreeError>(())
        })
    });
    write.await.unwrap();
}

async fn findings(tree: &TestTree) -> Vec<String> {
    check(&mut tree.test.db.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_is_wrong_is_found_in_every_page_and_nothing_else() {
    let tree = filled().await;
    tree.check().await;
    // In the first and in the last page of each table, and back again.
    for (table, key, rows, wrong, right, expected) in [
        ("blob", "id", "length > 0", "refs = 2", "refs = 1", "says Counts { refs: 2"),
        ("extent_page", "id", "level = 0", "end_offset = 21", "end_offset = 20", "says it ends at 21 and ends at 20"),
        ("inode", "id", "kind = 1", "nlink = 9", "nlink = 1", "says 9 links and has 1"),
        ("version", "inode", "version = 1", "size = 7", "size = 20", "does not agree with its newest version"),
    ] {
        for order in ["", " DESC"] {
            let one = format!("{key} = (SELECT {key} FROM {table} WHERE {rows} ORDER BY {key}{order} LIMIT 1)");
            execute(&tree, format!("UPDATE {table} SET {wrong} WHERE {one}")).await;
        }
        let found = findings(&tree).await;
        assert!(found.len() == 2 && found.iter().all(|finding| finding.contains(expected)), "{table}: {found:#?}");
        execute(&tree, format!("UPDATE {table} SET {right} WHERE {rows}")).await;
        tree.check().await;
    }
    // An entry that goes leaves its inode and its directory without a match only where it was.
    let one = "SELECT child FROM entry WHERE kind = 1 ORDER BY child DESC LIMIT 1";
    execute(&tree, format!("DELETE FROM entry WHERE child = ({one})")).await;
    let found = findings(&tree).await;
    assert!(!found.is_empty() && found.len() <= 3, "{found:#?}");
}
