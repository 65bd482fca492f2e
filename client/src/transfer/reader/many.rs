//! Many small files opened with one question to the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cyx_core::ids::{InodeId, SegmentId};
use cyx_proto::meta::v1 as pb;

use super::map::access_of;
use super::{BlobAt, FileReader, Map, Shared};
use crate::error::Result;
use crate::transfer::Transfer;
use crate::transfer::fetch::{AccessMap, SegmentAt};
use crate::tree::path::shown;
use crate::tree::types::{Bucket, Located};
use crate::tree::version::{FetchedFile, Purpose};

/// Files asked for in one call.
const FILES_PER_CALL: usize = 256;

impl Transfer {
    /// Opens the newest versions of small files by their ids. Those that are not in the answer are to be opened one by one: they are too many for one call,
    /// do not exist, or do not fit in it.
    ///
    /// # Errors
    /// If the question is not answered, or what the answers share makes no sense. Otherwise each file has its own outcome.
    pub(crate) async fn open_many(
        &self,
        bucket: &Bucket,
        files: &[&Located],
    ) -> Result<HashMap<InodeId, Result<FileReader>>> {
        let files = files.iter().copied().filter(|located| located.kind() == pb::InodeKind::File).take(FILES_PER_CALL);
        let files: Vec<(&Located, String)> = files.map(|located| (located, shown(&located.name))).collect();
        let asked: Vec<(InodeId, &str)> = files.iter().map(|(located, what)| (located.id, what.as_str())).collect();
        let (mut fetched, answer) = bucket.fetch_files(&asked).await?;
        let mut common = Map::default();
        common.take_segments(answer.segments, answer.placements)?;
        let access = Arc::new(Mutex::new(access_of(answer.nodes)?));
        let mut readers = HashMap::with_capacity(files.len());
        for (located, what) in files {
            let Some(file) = fetched.remove(&located.id) else { continue };
            let reader = match file {
                Ok(file) => self.reader_of(bucket, located, what, file, &common.segments, &access).await,
                Err(error) => Err(error),
            };
            readers.insert(located.id, reader);
        }
        Ok(readers)
    }

    async fn reader_of(
        &self,
        bucket: &Bucket,
        located: &Located,
        what: String,
        file: FetchedFile,
        segments: &HashMap<SegmentId, Arc<SegmentAt>>,
        access: &Arc<Mutex<AccessMap>>,
    ) -> Result<FileReader> {
        let FetchedFile { version, pages, inode, blobs } = file;
        let keys = bucket.keyring_of(located.id, &located.key, Some(&inode), &what).await?;
        let mut map = Map { pages, ..Map::default() };
        map.take_blobs(blobs)?;
        let used = map.blobs.values().filter_map(|blob| match blob {
            BlobAt::Inline(_) => None,
            BlobAt::Segment { segment, .. } => segments.get_key_value(segment),
        });
        map.segments = used.map(|(id, segment)| (*id, Arc::clone(segment))).collect();
        let shared = Shared {
            transfer: self.clone(),
            bucket: bucket.clone(),
            version,
            purpose: Purpose::Read,
            keys,
            what,
            map: Arc::new(Mutex::new(map)),
            asking: Arc::default(),
            access: Arc::clone(access),
            liars: Mutex::default(),
        };
        Ok(FileReader { shared: Arc::new(shared) })
    }
}
