//! Opening a store in a bucket: whose objects these are, and which of them the index does not know.
//!
//! An object without an entry was left by a crash between the bucket's answer and the index, or the index was lost. Its records are
//! taken over like those of a volume on a disk: what is whole and not known better is live again, and a keep-list drops what nobody
//! needs. An object of which nothing is taken over is deleted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cyx_core::ids::random_bytes;
use redb::Durability;
use tokio::sync::Notify;

use super::super::books::{BookOptions, Books};
use super::super::enter::enter_found;
use super::super::groups::{GroupHasher, Hashed};
use super::super::record::{
    ALIGN, RECORD_HEADER, RecordHeader, StoreKey, VOLUME_HEADER, check_volume_header, record_len, span,
};
use super::super::recover::mark_lost;
use super::super::{StoreError, disk};
use super::objects::{Fault, Objects};
use super::pack::Numbers;
use super::{BucketOptions, META_MARK, Shared};

/// Opens the index and the bucket, and brings one up to date with the other.
pub(super) async fn open(
    directory: &Path,
    objects: Objects,
    options: BucketOptions,
) -> Result<Arc<Shared>, StoreError> {
    let book_options = BookOptions {
        capacity: options.capacity,
        margin: options.margin,
        with_values: true,
        clock: options.clock.clone(),
        io: Arc::clone(&options.io),
    };
    let books = Books::open(directory, book_options)?;
    let key = settle_owner(&books, &objects, &options).await?;
    let volumes = objects.list().await.map_err(unreached)?;
    let highest = volumes.keys().copied().chain(books.index.volumes()).max().unwrap_or(0);
    let numbers = Numbers::after(highest, Shared::reserved(&books)?);
    let shared = Arc::new(Shared {
        books,
        objects,
        key,
        options,
        numbers: Mutex::new(numbers),
        doubtful: Mutex::default(),
        went_away: Arc::new(Notify::new()),
    });
    note_missing(&shared, &volumes).await?;
    let known = shared.books.index.volumes();
    for (number, len) in volumes.into_iter().filter(|(number, _)| known.binary_search(number).is_err()) {
        take_over(&shared, number, len).await?;
    }
    Ok(shared)
}

fn unreached(fault: Fault) -> StoreError {
    match fault {
        Fault::Missing => StoreError::Elsewhere("there is no such bucket"),
        Fault::Away(_) => StoreError::Away,
    }
}

/// Makes sure that the objects are this node's, or claims a place without objects. The key of the store.
async fn settle_owner(books: &Arc<Books>, objects: &Objects, options: &BucketOptions) -> Result<StoreKey, StoreError> {
    let own = books.index.meta(disk::META_KEY)?;
    let own: Option<StoreKey> = own.map(|key| key.try_into().map_err(|_| invalid("store key"))).transpose()?;
    let empty = books.index.total().span == 0;
    if !empty && books.index.meta(META_MARK)?.is_none_or(|mark| mark.is_empty()) {
        return Err(StoreError::Elsewhere("the chunks of this data directory are in its volumes, not in a bucket"));
    }
    let key = match (objects.marker().await.map_err(unreached)?, own) {
        (Some(None), _) => return Err(StoreError::Elsewhere("the bucket's cyx-store is not a marker of a node")),
        (Some(Some((owner, _))), _) if owner != options.owner => {
            return Err(StoreError::Elsewhere("this part of the bucket belongs to another node"));
        }
        (Some(Some((_, marked))), Some(own)) if marked != own && !empty => {
            return Err(StoreError::Elsewhere(
                "the index in the data directory is not that of the chunks in the bucket",
            ));
        }
        (Some(Some((_, marked))), own) => {
            if own.is_none() {
                tracing::warn!("the index is new, the bucket's objects are not: rebuilding the index from them");
            }
            marked
        }
        (None, Some(_)) if !empty => {
            return Err(StoreError::Elsewhere("the bucket does not hold this node's chunks any more"));
        }
        (None, own) => {
            let key = own.unwrap_or_else(random_bytes);
            objects.mark(options.owner, &key).await.map_err(unreached)?;
            key
        }
    };
    books
        .blocking(move |books| {
            books.index.write(Durability::Immediate, |tables| {
                tables.set_meta(disk::META_KEY, &key)?;
                tables.set_meta(META_MARK, b"1")
            })
        })
        .await?;
    Ok(key)
}

fn invalid(what: &'static str) -> StoreError {
    cyx_core::wire::DecodeError::Invalid(what).into()
}

/// Notes what was in objects that are not there any more.
async fn note_missing(shared: &Shared, volumes: &BTreeMap<u32, u64>) -> Result<(), StoreError> {
    let mut short = BTreeMap::new();
    let mut empty = Vec::new();
    for number in shared.books.index.volumes().into_iter().filter(|number| !volumes.contains_key(number)) {
        if shared.books.index.row(number).is_empty() {
            empty.push(number);
        } else {
            tracing::error!(volume = number, "an object is missing: its chunks are lost");
            short.insert(number, 0);
        }
    }
    shared
        .books
        .blocking(move |books| {
            books.index.write(Durability::Immediate, |tables| {
                empty.iter().try_for_each(|number| tables.drop_volume(*number))
            })?;
            mark_lost(books, &short)
        })
        .await
}

/// Enters what an object holds that the index does not know.
async fn take_over(shared: &Arc<Shared>, number: u32, len: u64) -> Result<(), StoreError> {
    let bytes = match shared.objects.get(number).await {
        Ok(bytes) => bytes,
        Err(Fault::Missing) => {
            tracing::error!(volume = number, "an object cannot be used");
            // It takes room all the same.
            shared.books.pending.fetch_add(len, Ordering::AcqRel);
            return Ok(());
        }
        Err(away) => return Err(unreached(away)),
    };
    let key = shared.key;
    shared
        .books
        .blocking(move |books| {
            let found = records(&key, number, &bytes);
            tracing::info!(volume = number, chunks = found.len(), "an object was taken over");
            books.index.write(Durability::Immediate, |tables| {
                for Found { header, offset, values } in &found {
                    enter_found(tables, number, *offset, header)?;
                    tables.put_values(header.id, values)?;
                }
                tables.row(number).tail = bytes.len() as u64;
                Ok(())
            })
        })
        .await
}

/// A whole record in an object.
pub(super) struct Found {
    pub(super) header: RecordHeader,
    pub(super) offset: u64,
    values: Vec<u8>,
}

/// The whole records of an object, in order; none if it is not a volume of this store.
pub(super) fn records(key: &StoreKey, number: u32, bytes: &Bytes) -> Vec<Found> {
    let mut found = Vec::new();
    if let Err(error) = check_volume_header(key, number, bytes) {
        tracing::error!(volume = number, %error, "an object is not a volume of this node");
        return found;
    }
    let mut offset = VOLUME_HEADER;
    while let Some(rest) = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).filter(|rest| !rest.is_empty()) {
        match RecordHeader::decode(key, rest).ok().and_then(|header| Some((header, whole(&header, rest)?))) {
            Some((header, values)) => {
                found.push(Found { header, offset, values });
                offset += span(header.len);
            }
            None => offset += ALIGN,
        }
    }
    found
}

/// The values of a record's chunk if all of it is there.
fn whole(header: &RecordHeader, record: &[u8]) -> Option<Vec<u8>> {
    let len = usize::try_from(record_len(header.len)).ok()?;
    let chunk = record.get(..len)?.get(usize::try_from(RECORD_HEADER).ok()?..)?;
    let mut hasher = GroupHasher::new(header.len);
    hasher.update(chunk.get(..usize::try_from(header.len).ok()?)?);
    let Hashed { root, values } = hasher.finish()?;
    (root == header.root).then(|| values.into_flattened())
}
