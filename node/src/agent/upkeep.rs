//! What a node does for itself: emptying the trash and listening to its operator.
//!
//! The operator speaks through two small files, because the data directory belongs to the running node alone:
//! `trash-held.json` says that the emptying of the trash waits for a confirmation, `trash-confirm` gives it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cyx_core::keeplist::Incarnation;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::error::Error;
use crate::service::Node;

/// Between two looks at the operator's files.
const LOOK: Duration = Duration::from_secs(2);
/// Looks between two rounds of giving space back.
const LOOKS_PER_ROUND: u32 = 150;
/// Says what has to be confirmed.
pub const HELD_FILE: &str = "trash-held.json";
/// Confirms it.
pub const CONFIRM_FILE: &str = "trash-confirm";

/// What `trash-held.json` says.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
pub struct Held {
    /// The incarnation to confirm, 32 hexadecimal digits.
    pub incarnation: String,
    /// When it began, in Unix seconds.
    pub since: u64,
    /// What this is about, for whoever finds the file.
    pub about: String,
}

/// Runs until it is dropped. Chunks are deleted for good only when `current` says that the trash is as the server wants it, and as of when.
pub async fn run(node: Arc<Node>, directory: Arc<Path>, mut current: watch::Receiver<Option<u64>>) {
    let mut looks = 0;
    loop {
        if let Err(error) = listen(&node, &directory).await {
            tracing::error!(%error, "the operator's files cannot be used");
        }
        let is_current = current.has_changed().unwrap_or(false);
        if is_current || looks % LOOKS_PER_ROUND == 0 {
            if let Err(error) = note_held(&node).await {
                tracing::error!(%error, "what is held cannot be written down");
            }
            let as_of = if is_current { *current.borrow_and_update() } else { None };
            match node.store.expire_trash(as_of).await {
                Ok(0) => {}
                Ok(bytes) => tracing::info!(bytes, "the trash was emptied"),
                Err(error) => tracing::error!(%error, "the trash cannot be emptied"),
            }
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK).await;
    }
}

/// Notes once an hour how much is held, to be held against what is paid.
async fn note_held(node: &Node) -> Result<(), Error> {
    let (now, used) = (node.clock.now(), node.store.usage().used_bytes);
    Ok(node.ledger.blocking(move |ledger| ledger.facts().note_held(now, used)).await?)
}

/// Shows what waits for a confirmation, and takes one.
async fn listen(node: &Node, directory: &Path) -> Result<(), Error> {
    let confirm = directory.join(CONFIRM_FILE);
    if let Some(text) = read(&confirm)? {
        let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        let confirmed = match bytes.map(Incarnation::from_bytes) {
            Some(incarnation) => node.store.confirm_incarnation(incarnation).await?,
            None => false,
        };
        if !confirmed {
            tracing::warn!("a confirmation for another incarnation was ignored");
        }
        std::fs::remove_file(&confirm).map_err(failed("remove", &confirm))?;
    }
    let path = directory.join(HELD_FILE);
    match node.store.held_incarnation()? {
        Some(incarnation) => {
            let waiting = Held {
                incarnation: hex::encode(incarnation.to_bytes()),
                since: incarnation.time,
                about:
                    "The server's database was restored. Until `cyx-node trash confirm`, nothing is deleted for good."
                        .to_owned(),
            };
            // What cannot be read, as after a crash, or is about an earlier restore is of no use to the operator.
            if held(directory).is_ok_and(|shown| shown.as_ref() == Some(&waiting)) {
                return Ok(());
            }
            let text = serde_json::to_string_pretty(&waiting).map_err(std::io::Error::other);
            text.and_then(|text| replace(&path, &text)).map_err(failed("write", &path))
        }
        None if path.exists() => std::fs::remove_file(&path).map_err(failed("remove", &path)),
        None => Ok(()),
    }
}

/// Writes beside and renames, so that nobody ever reads half a file.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { doing, path, source }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path)(source)),
    }
}

/// What waits for a confirmation in a data directory, as its node shows it.
///
/// # Errors
/// [`Error::File`].
pub fn held(directory: &Path) -> Result<Option<Held>, Error> {
    let path = directory.join(HELD_FILE);
    let parse = |text: String| serde_json::from_str(&text).map_err(std::io::Error::other);
    read(&path)?.map(parse).transpose().map_err(failed("read", &path))
}

/// Gives the confirmation; the node takes it within seconds, or when it starts.
///
/// # Errors
/// [`Error::File`].
pub fn confirm(directory: &Path, held: &Held) -> Result<(), Error> {
    let path = directory.join(CONFIRM_FILE);
    replace(&path, &held.incarnation).map_err(failed("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::access::Access;
    use crate::service::identity::Identity;
    use crate::service::ledger::Ledger;
    use crate::store::{ChunkStore as _, Clock, DiskOptions, DiskStore};

    /// A node whose server was restored once.
    async fn restored(folder: &Path) -> (Node, Arc<DiskStore>) {
        let store = Arc::new(DiskStore::open(folder, DiskOptions::default()).unwrap());
        for time in [1, 2] {
            store.note_incarnation(Incarnation { time, random: 0 }).await.unwrap();
        }
        let identity = Identity::open(folder).unwrap();
        let access = Access::new(identity.id(), &[]);
        let ledger = Ledger::open(&folder.join("ledger"), Clock::system()).unwrap();
        (Node::new(identity, Arc::clone(&store) as _, access, ledger, Clock::system()), store)
    }

    #[tokio::test]
    async fn what_the_node_shows_is_what_it_waits_for() {
        let folder = tempfile::tempdir().unwrap();
        let (node, store) = restored(folder.path()).await;
        listen(&node, folder.path()).await.unwrap();
        store.note_incarnation(Incarnation { time: 3, random: 0 }).await.unwrap();
        listen(&node, folder.path()).await.unwrap();
        assert_eq!(held(folder.path()).unwrap().unwrap().since, 3);
        for useless in [&b""[..], b"{\"incarnation\": \"", &[0xff; 9]] {
            std::fs::write(folder.path().join(HELD_FILE), useless).unwrap();
            listen(&node, folder.path()).await.unwrap();
            assert_eq!(held(folder.path()).unwrap().unwrap().since, 3);
        }
        confirm(folder.path(), &held(folder.path()).unwrap().unwrap()).unwrap();
        listen(&node, folder.path()).await.unwrap();
        assert_eq!(store.held_incarnation().unwrap(), None);
    }

    #[tokio::test]
    async fn the_operator_confirms_what_the_node_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (node, store) = restored(folder.path()).await;
        assert_eq!(held(folder.path()).unwrap(), None);
        listen(&node, folder.path()).await.unwrap();
        let shown = held(folder.path()).unwrap().unwrap();
        assert_eq!(shown.since, 2);
        let wrong = Held { incarnation: "00".repeat(16), ..held(folder.path()).unwrap().unwrap() };
        confirm(folder.path(), &wrong).unwrap();
        listen(&node, folder.path()).await.unwrap();
        assert!(store.held_incarnation().unwrap().is_some());
        confirm(folder.path(), &shown).unwrap();
        listen(&node, folder.path()).await.unwrap();
        assert_eq!(store.held_incarnation().unwrap(), None);
        assert_eq!(held(folder.path()).unwrap(), None);
    }
}
