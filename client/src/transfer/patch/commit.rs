//! Commits what was prepared, many files in one call, and finds out what became of each.

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::TxnId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::{Carried, Prepared};
use crate::error::{Error, IntegrityError, Result};
use crate::meta::fault_error;
use crate::transfer::reader::{FileReader, KnownVersion};
use crate::transfer::upload::Uploads;

/// Commits of one call.
const COMMITS_PER_CALL: usize = 500;
/// Bytes of one call, about.
const CALL_BYTES: usize = 2 << 20;

/// What became of one patch.
pub enum Patched {
    /// It is committed; this reads the new version.
    Committed(FileReader),
    /// Somebody else committed another version first, or the file is gone. Nothing was changed.
    Lost(Error),
}

/// The write lease of a bucket, under which mutations are sent.
#[derive(Debug, Clone)]
pub struct WriteLease {
    /// Its id.
    pub id: Bytes,
    /// Its fencing number.
    pub fencing: u64,
}

/// Patches whose bytes are stored and whose commits are signed.
pub struct Patches {
    pub(super) uploads: Uploads,
    pub(super) files: Vec<Result<Prepared>>,
    pub(super) carried: Vec<Carried>,
}

impl Patches {
    /// What [`Self::commit`] will commit, with its transaction, for each patch that could be prepared, in order.
    pub fn intents(&self) -> impl Iterator<Item = Option<(TxnId, KnownVersion)>> + '_ {
        self.files.iter().map(|file| file.as_ref().ok().map(|file| (file.txn, file.next)))
    }

    /// Commits everything that could be prepared. Results are in the order of the patches; an error says nothing about whether
    /// the version was committed, if it is one of the network. If the lease is over by then, the server decides whose turn it is.
    pub async fn commit(self, mut under: Option<&WriteLease>) -> Vec<Result<Patched>> {
        let Self { uploads, files, mut carried } = self;
        let mut results: Vec<Option<Result<Patched>>> = Vec::with_capacity(files.len());
        let mut open: Vec<(usize, Prepared)> = Vec::new();
        for (at, file) in files.into_iter().enumerate() {
            match file {
                Ok(file) => {
                    results.push(None);
                    open.push((at, file));
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        while !open.is_empty() {
            let mut bytes = 0;
            let count = open.iter().take(COMMITS_PER_CALL).take_while(|(_, file)| {
                let fits = bytes == 0 || bytes + wire_size(&file.message) <= CALL_BYTES;
                bytes += wire_size(&file.message);
                fits
            });
            let count = count.count().max(1);
            let rest = open.split_off(count);
            let again = uploads.commit_some(open, &mut under, &mut carried, &mut results).await;
            open = again.into_iter().chain(rest).collect();
        }
        drop(carried);
        uploads.shared.leases.release_spent().await;
        results.into_iter().map(|result| result.unwrap_or(Err(Error::Internal("a patch has no result")))).collect()
    }
}

impl Uploads {
    /// Sends some commits in one call; gives back those that have to be sent again because the one that brought their segment
    /// failed, or all of them because the lease is over.
    async fn commit_some(
        &self,
        mut files: Vec<(usize, Prepared)>,
        under: &mut Option<&WriteLease>,
        carried: &mut [Carried],
        results: &mut [Option<Result<Patched>>],
    ) -> Vec<(usize, Prepared)> {
        let bucket = &self.shared.bucket;
        // The first file that has blobs in a segment brings it along; those behind it find it there.
        let mut carriers: Vec<Option<usize>> = vec![None; carried.len()];
        for (segment, carrier) in carried.iter().zip(&mut carriers).filter(|(segment, _)| !segment.known) {
            *carrier = files.iter().map(|(at, _)| *at).find(|at| segment.users.contains(at));
        }
        let mut mutations = Vec::with_capacity(files.len());
        for (at, file) in &mut files {
            let mut message = file.message.clone();
            let own = carried.iter().zip(&carriers).filter(|(_, carrier)| **carrier == Some(*at));
            for (segment, _) in own {
                message.segments.push(segment.upload.clone());
                message.receipts.extend(segment.receipts.iter().cloned());
            }
            let operation = pb::Operation { operation: Some(Op::Commit(message)) };
            mutations.push(pb::Mutation {
                txn: bytes_of(file.txn),
                operations: vec![operation],
                time_ns: Some(file.changed_ns),
            });
        }
        let asked = mutations.len();
        let request = pb::ApplyRequest {
            bucket: bytes_of(bucket.id),
            mutations,
            write_lease: under.map(|lease| lease.id.clone()).unwrap_or_default(),
            fencing: under.map_or(0, |lease| lease.fencing),
        };
        let answer = match bucket.client().meta.apply(request).await {
            Ok(answer) if answer.results.len() == asked => answer,
            // Given back while this was on its way.
            Err(error) if error.code() == ErrorCode::StaleLease && under.take().is_some() => return files,
            failed => {
                let mut error = failed.err();
                for (at, _) in files {
                    let error = error.take().unwrap_or_else(|| Error::Network {
                        what: "changes could not be committed".to_owned(),
                        reason: "the call that others were sent with failed".to_owned(),
                    });
                    results[at] = Some(Err(error));
                }
                return Vec::new();
            }
        };
        let mut failed = Vec::new();
        for ((at, file), result) in files.into_iter().zip(answer.results) {
            match self.outcome(file, result).await {
                Ok(patched) => {
                    if matches!(patched, Patched::Committed(_)) {
                        let brought = carried.iter_mut().zip(&carriers).filter(|(_, carrier)| **carrier == Some(at));
                        brought.for_each(|(segment, _)| segment.known = true);
                    }
                    results[at] = Some(Ok(patched));
                }
                Err((file, error)) => failed.push((at, file, error)),
            }
        }
        let mut again = Vec::new();
        for (at, file, error) in failed {
            if error.code() == ErrorCode::Restage {
                self.shared.leases.forget().await;
            }
            let lacked = carried.iter().zip(&carriers).any(|(segment, carrier)| {
                !segment.known && segment.users.contains(&at) && carrier.is_some_and(|carrier| carrier != at)
            });
            if lacked {
                again.push((at, file));
            } else if error.code() == ErrorCode::NotFound {
                // It brought everything it needs: the file itself is gone.
                results[at] = Some(Ok(Patched::Lost(error)));
            } else {
                results[at] = Some(Err(error));
            }
        }
        again
    }

    async fn outcome(
        &self,
        file: Prepared,
        result: pb::MutationResult,
    ) -> std::result::Result<Patched, (Prepared, Error)> {
        let Some(fault) = &result.fault else {
            if let Err(error) = self.shared.bucket.client().remember(&file.signed, file.base.name()) {
                return Err((file, error));
            }
            let next = file.base.successor(file.next.into());
            for (blob, sealed) in file.inline {
                next.knows_inline(blob, sealed);
            }
            return Ok(Patched::Committed(next));
        };
        let error = fault_error(fault);
        match error.code() {
            ErrorCode::Conflict | ErrorCode::NotFound => {}
            _ => return Err((file, error)),
        }
        if error.code() == ErrorCode::Conflict {
            return match self.is_committed(file.next, file.base.name()).await {
                // An earlier call, whose answer was lost, has done it.
                Ok(true) => Ok(Patched::Committed(file.base.successor(file.next.into()))),
                Ok(false) => Ok(Patched::Lost(error)),
                Err(error) => Err((file, error)),
            };
        }
        // A segment that another file was to bring along is not found either.
        let uses_segments =
            file.message.blobs.iter().any(|blob| matches!(blob.place, Some(pb::blob::Place::Segment(_))));
        if uses_segments { Err((file, error)) } else { Ok(Patched::Lost(error)) }
    }

    /// Whether exactly this version of a file was committed.
    ///
    /// # Errors
    /// Network and integrity errors.
    pub async fn is_committed(&self, version: KnownVersion, what: &str) -> Result<bool> {
        let bucket = &self.shared.bucket;
        let request = pb::GetFileRequest {
            bucket: bytes_of(bucket.id),
            inode: bytes_of(version.inode),
            version: version.version,
            offset: 0,
            length: 1,
            no_access: true,
        };
        let answer = match bucket.client().meta.get_file(request).await {
            Ok(answer) => answer,
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let record = answer.version.ok_or(IntegrityError::Mismatch("it shows no version"))?;
        let found = bucket.verify_older(version.inode, version.version, &record, what).await?;
        Ok((found.root(), found.size()) == (version.root, version.size))
    }
}

/// About as many bytes as a commit takes on the wire.
fn wire_size(message: &pb::Commit) -> usize {
    let inline = |blob: &pb::Blob| match &blob.place {
        Some(pb::blob::Place::Inline(bytes)) => bytes.len() + 64,
        _ => 96,
    };
    512 + message.pages.iter().map(|page| page.content.len() + 48).sum::<usize>()
        + message.blobs.iter().map(inline).sum::<usize>()
}
