//! The objects of one node in a bucket: its marker and its volumes, and what their absence or a refusal means.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::NodeId;
use cyx_core::units::{CHUNK_MAX, MIB};
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutPayload};

use super::super::record::{self, StoreKey};

/// The largest object that is made: one chunk of the largest size with everything around it.
pub(super) const OBJECT_MAX: u64 = CHUNK_MAX + 2 * MIB;
/// The largest object that is read: there are some of earlier versions, which put one more chunk into an object that was almost full.
const READ_MAX: u64 = CHUNK_MAX + 24 * MIB;
const MARKER: &str = "cyx-store";
const FOLDER: &str = "volumes";
const SUFFIX: &str = ".cyxvol";

/// How long an answer is waited for, besides the time that the bytes take over a slow line.
const PATIENCE: Duration = Duration::from_secs(20);
const SLOWEST: u64 = MIB;

/// What comes of a request that moves `len` bytes, if that comes in time.
async fn within<T>(len: u64, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Fault> {
    let patience = PATIENCE + Duration::from_secs(len / SLOWEST);
    match tokio::time::timeout(patience, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::Away("the bucket does not answer in time")),
    }
}

/// Why an object was not had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is none, or it is not what it should be.
    Missing,
    /// The bucket cannot be spoken to. Nothing is known about the object.
    Away(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::Missing,
            // What the other side says may name the bucket and more, and is for this machine's log alone.
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                tracing::warn!(%error, "the bucket refused a request");
                Self::Away("the bucket refuses the node's credentials")
            }
            other => {
                tracing::warn!(error = %other, "a request to the bucket failed");
                Self::Away("the bucket does not answer")
            }
        }
    }
}

/// The part of a bucket that belongs to one node.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix) }
    }

    fn volume(&self, number: u32) -> Path {
        self.prefix.clone().join(FOLDER).join(format!("{number:08}{SUFFIX}"))
    }

    /// Returns when the object is durable.
    pub(super) async fn put(&self, number: u32, pieces: Vec<Bytes>) -> Result<(), Fault> {
        let payload = PutPayload::from_iter(pieces);
        within(payload.content_length() as u64, self.store.put(&self.volume(number), payload)).await.map(drop)
    }

    /// All of a volume.
    pub(super) async fn get(&self, number: u32) -> Result<Bytes, Fault> {
        self.whole(&self.volume(number)).await
    }

    async fn whole(&self, path: &Path) -> Result<Bytes, Fault> {
        let found = within(0, self.store.get(path)).await?;
        if found.meta.size > READ_MAX {
            return Err(Fault::Missing);
        }
        within(found.meta.size, found.bytes()).await
    }

    /// Exactly the bytes of a range of a volume.
    pub(super) async fn range(&self, number: u32, range: Range<u64>) -> Result<Bytes, Fault> {
        let len = range.end.saturating_sub(range.start);
        let bytes = within(len, self.store.get_range(&self.volume(number), range)).await?;
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(Fault::Missing) }
    }

    /// Removes a volume; one that is gone already is what was wanted.
    pub(super) async fn delete(&self, number: u32) -> Result<(), Fault> {
        match within(0, self.store.delete(&self.volume(number))).await {
            Err(Fault::Missing) => Ok(()),
            other => other,
        }
    }

    /// The volumes and their lengths. Other objects are left alone.
    pub(super) async fn list(&self) -> Result<BTreeMap<u32, u64>, Fault> {
        let folder = self.prefix.clone().join(FOLDER);
        let mut found = self.store.list(Some(&folder));
        let mut volumes = BTreeMap::new();
        while let Some(object) = within(0, found.try_next()).await? {
            let name = object.location.filename().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(number) = name.and_then(|name| name.parse().ok())
                && object.location == self.volume(number)
            {
                volumes.insert(number, object.size);
            }
        }
        Ok(volumes)
    }

    /// Whose volumes these are, if it is said. A marker that says nothing is none of this program's.
    pub(super) async fn marker(&self) -> Result<Option<Option<(NodeId, StoreKey)>>, Fault> {
        match self.whole(&self.prefix.clone().join(MARKER)).await {
            Ok(bytes) => Ok(Some(record::decode_marker(&bytes).ok())),
            Err(Fault::Missing) => Ok(None),
            Err(away) => Err(away),
        }
    }

    /// Says whose volumes these are.
    pub(super) async fn mark(&self, owner: NodeId, key: &StoreKey) -> Result<(), Fault> {
        let marker = record::encode_marker(key, owner);
        let path = self.prefix.clone().join(MARKER);
        within(0, self.store.put(&path, PutPayload::from(marker.to_vec()))).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_is_read_of_an_object_than_is_put_into_one() {
        let objects = Objects::new(Arc::new(object_store::memory::InMemory::new()), "node");
        for (number, more) in [(1, 8), (2, 25)] {
            let bytes = vec![0; usize::try_from(CHUNK_MAX + more * MIB).unwrap()];
            objects.put(number, vec![bytes.into()]).await.unwrap();
        }
        assert!(objects.get(1).await.is_ok());
        assert_eq!(objects.get(2).await, Err(Fault::Missing));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_gets_the_time_that_its_bytes_take_and_no_more() {
        let slow = |seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(())
        };
        assert_eq!(within(0, slow(19)).await, Ok(()));
        assert!(matches!(within(0, slow(21)).await, Err(Fault::Away(_))));
        assert_eq!(within(64 * MIB, slow(80)).await, Ok(()));
        assert!(matches!(within(64 * MIB, slow(90)).await, Err(Fault::Away(_))));
    }
}
