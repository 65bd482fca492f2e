//! A conflict copy whose making is cut off, wherever that is.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use cyx_client::tree::change::{NewKind, attributes_now, mutation};

use super::*;
use crate::content::StoreOptions;
use crate::gateway::world::World;
use crate::vfs::{Options, Top};
use crate::{Filesystem, ROOT_INO};

const PARTS: u64 = 8;
/// From one part to the next; holes are in between, so that each is copied for itself.
const APART: u64 = 10_000;
/// Tests cut so often.
const CUTS: usize = 24;

/// Nothing is committed, so that it can be looked at what is to be.
async fn open(world: &World, folder: &Path) -> Filesystem {
    let hour = Duration::from_secs(3600);
    let store = StoreOptions { idle: hour, age: hour, ..StoreOptions::new(folder.to_owned()) };
    let options = Options { top: Top::Bucket("photos".to_owned()), store, ..Options::new(folder.to_owned()) };
    Filesystem::open(world.again().await, options).await.unwrap()
}

async fn node(fs: &Filesystem, name: &[u8]) -> Arc<Node> {
    let ino = fs.lookup(ROOT_INO, name).await.unwrap().ino;
    fs.inner.table.by_number(ino).unwrap()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

/// Length of what is to be committed of a file.
fn dirty(fs: &Filesystem, node: &Node) -> Option<u64> {
    let content = fs.inner.store.existing(node.home.id, node.id)?;
    content.is_dirty().then(|| content.len())
}

#[tokio::test]
async fn of_a_copy_that_was_cut_off_the_next_run_has_all_or_nothing() {
    let world = World::new().await;
    let root = world.bucket.root_directory();
    for name in [&b"file"[..], b"copy"] {
        let made = world.bucket.prepare(&root, name, NewKind::File, attributes_now(0o644)).unwrap();
        world.bucket.apply(vec![mutation(vec![made.operation])]).await.unwrap().remove(0).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let fs = open(&world, folder.path()).await;
    let (file, copy) = (node(&fs, b"file").await, node(&fs, b"copy").await);
    let content = fs.inner.content_of(&file).await.unwrap();
    for part in 0..PARTS {
        content.write(part * APART, Bytes::from(vec![7; 100])).await.unwrap();
    }
    let (whole, journal) = (content.len(), folder.path().join("journal"));
    content.sync_local().await.unwrap();
    let before = files(&journal);
    fs.inner.fill(&copy, &content, 1).await.unwrap().unwrap().sync_local().await.unwrap();
    let after = files(&journal);
    let (name, bytes) = after.iter().find(|(name, bytes)| before.get(*name).is_some_and(|was| was != *bytes)).unwrap();
    let (from, to) = (before[name].len(), bytes.len());
    let mut found = Vec::new();
    for cut in (from..to).step_by((to - from) / CUTS).chain([to]) {
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir(other.path().join("journal")).unwrap();
        for (each, bytes) in &after {
            let kept = if each == name { &bytes[..cut] } else { bytes };
            std::fs::write(other.path().join("journal").join(each), kept).unwrap();
        }
        let next = open(&world, other.path()).await;
        assert_eq!(dirty(&next, &file), Some(whole), "cut at {cut} of {from} to {to}");
        found.push(dirty(&next, &copy));
        next.inner.stop.cancel();
    }
    assert!(found.iter().all(|len| [None, Some(whole)].contains(len)), "{found:?} of {whole}");
    assert_eq!((found.first(), found.last()), (Some(&None), Some(&Some(whole))));
}
