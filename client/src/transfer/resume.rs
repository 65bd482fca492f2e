//! Resuming an upload: which blobs of a file were sealed and staged before, and whether they still are the file's bytes.
//!
//! A blob id is sealed once. A later run may use it again only if the keyed hash of the plaintext that is there now is the one
//! that was written down when it was sealed, and only if the server still has it. The hash is of the frames' tags, which say
//! whether a plaintext is the same and cost nothing; a plaintext that is compared is sealed beside, and only its tags are kept.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cyx_core::extent::{BlobHeader, Extent};
use cyx_core::ids::{BlobId, BucketId, InodeId, TimeOrdered as _, TxnId};
use cyx_core::scheme::Scheme;
use cyx_core::units::FRAME_TAG;
use cyx_core::wire::{DecodeError, Reader, Writer};
use cyx_crypto::fingerprint::{Fingerprint, frames_fingerprint, plaintext_fingerprint};
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::keys::{AccountKey, BlobKey, FingerprintKey, InodeKey, JournalKey};
use cyx_crypto::wrap::seal_blob_key;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use zeroize::Zeroizing;

use super::budget::PooledBuffer;
use super::coded::blocking;
use super::content::{SealedBlob, SegmentOutcome};
use super::journal::{Journal, Records};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::tree::types::Bucket;

const HEAD: u8 = 1;
/// 2 was a blob with a fingerprint of its plain bytes; whoever still has some begins anew.
const FINISHED: u8 = 3;
const LEASE: u8 = 4;

/// As many of the last leases are given back: one session never holds more, and those before were given back when they were spent.
const LEASES: usize = 16;

/// A file that is, or is to be, in a bucket.
#[derive(Clone)]
pub(crate) struct FileIdentity {
    pub(crate) inode: InodeId,
    pub(crate) key: InodeKey,
}

impl FileIdentity {
    /// Of a new file.
    pub(crate) fn draw(bucket: &Bucket) -> Self {
        Self { inode: InodeId::now(), key: bucket.make_key() }
    }
}

/// A resumable upload.
pub(crate) struct Resume {
    journal: Journal,
    txn: TxnId,
    file: FileIdentity,
    fingerprints: Fingerprints,
    /// By file offset: staged by earlier runs, and by this one.
    finished: BTreeMap<u64, Finished>,
    /// The placement lease that was written down last.
    lease: Bytes,
}

/// A blob that was sealed and staged.
#[derive(Clone)]
pub(crate) struct Finished {
    pub(crate) header: BlobHeader,
    pub(crate) outcome: SegmentOutcome,
    blob: BlobId,
    key: BlobKey,
    offset: u64,
    fingerprint: Fingerprint,
}

/// Fingerprints plaintexts as they lie in buffers.
#[derive(Clone)]
pub(crate) struct Fingerprints(FingerprintKey);

impl Fingerprints {
    /// Of what was sealed as a whole blob.
    pub(crate) fn of_sealed(&self, cipher: &BlobCipher, blob: BlobId, sealed: &[u8]) -> Fingerprint {
        frames_fingerprint(&self.0, blob, 0, cipher.tags_in(sealed))
    }

    /// Of the plain bytes in a buffer of frames, each of which has room for its tag behind it; `None` if they are not a whole blob
    /// of this header.
    fn of_plain(&self, cipher: &BlobCipher, blob: BlobId, frames: &[u8]) -> Option<Fingerprint> {
        #[expect(clippy::cast_possible_truncation, reason = "16")]
        const TAG: usize = FRAME_TAG as usize;
        let plain = frames.chunks(cipher.header().frame_plain() as usize + TAG);
        let plain = plain.map(|frame| frame.get(..frame.len().saturating_sub(TAG)).unwrap_or_default());
        let tags = cipher.tags_of(0, plain).ok()?;
        (tags.len() as u64 == cipher.header().frames()).then(|| frames_fingerprint(&self.0, blob, 0, tags))
    }
}

impl Finished {
    pub(crate) fn new(blob: &SealedBlob, offset: u64, fingerprint: Fingerprint, outcome: SegmentOutcome) -> Self {
        Self { header: blob.header, outcome, blob: blob.id, key: blob.key.clone(), offset, fingerprint }
    }

    /// The blob as an extent of its file.
    pub(crate) fn extent(&self, file: &InodeKey) -> Extent {
        Extent {
            file_offset: self.offset,
            len: self.header.plain_len(),
            blob: self.blob,
            blob_offset: 0,
            key_epoch: file.epoch(),
            header: self.header,
            wrapped_key: seal_blob_key(file, self.blob, self.header, &self.key),
        }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::default();
        writer.u8(FINISHED).u64(self.offset).raw(&self.blob.0).raw(self.key.expose()).raw(&self.header.to_bytes());
        writer.raw(&self.fingerprint);
        let count = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        writer.u8(count(self.outcome.scheme.k())).u8(count(self.outcome.scheme.m())).u8(count(self.outcome.present));
        Zeroizing::new(writer.finish())
    }

    fn decode(record: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut reader = Reader::bare(record);
        if reader.u8()? != FINISHED {
            return Err(DecodeError::Invalid("kind of record"));
        }
        let (offset, blob, key) = (reader.u64()?, BlobId(reader.array()?), BlobKey::from_bytes(reader.array()?));
        let header = BlobHeader::from_bytes(reader.take(cyx_core::extent::HEADER_LEN)?)?;
        let fingerprint = reader.array()?;
        let (k, m, present) = (reader.u8()?, reader.u8()?, usize::from(reader.u8()?));
        reader.end()?;
        let scheme = Scheme::new(k.into(), m.into()).map_err(|_| DecodeError::Invalid("scheme"))?;
        Ok(Self { header, outcome: SegmentOutcome { scheme, present }, blob, key, offset, fingerprint })
    }
}

/// `HEAD | txn 16 | inode 16 | epoch u32 | key 32`.
fn encode_head(txn: TxnId, file: &FileIdentity) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::default();
    writer.u8(HEAD).raw(&txn.0).raw(&file.inode.0).u32(file.key.epoch()).raw(file.key.expose());
    Zeroizing::new(writer.finish())
}

fn decode_head(record: &[u8]) -> std::result::Result<(TxnId, FileIdentity), DecodeError> {
    let mut reader = Reader::bare(record);
    if reader.u8()? != HEAD {
        return Err(DecodeError::Invalid("kind of record"));
    }
    let (txn, inode) = (TxnId(reader.array()?), InodeId(reader.array()?));
    let key = InodeKey::from_parts(reader.u32()?, reader.array()?);
    reader.end()?;
    Ok((txn, FileIdentity { inode, key }))
}

fn decode(records: &Records) -> Option<(TxnId, FileIdentity, Vec<Finished>)> {
    let (head, rest) = records.split_first()?;
    let (txn, file) = decode_head(head).ok()?;
    let blobs = rest.iter().filter(|record| record.first() != Some(&LEASE));
    Some((txn, file, blobs.map_while(|record| Finished::decode(record).ok()).collect()))
}

/// Gives back the placement leases of a run that was ended before it could: what they promise counts as used. Everything that was staged stays.
async fn give_back_leases(client: &Client, records: &Records) {
    let lease = |record: &Zeroizing<Vec<u8>>| record.strip_prefix(&[LEASE]).map(Bytes::copy_from_slice);
    let leases: Vec<Bytes> = records.iter().rev().filter_map(lease).take(LEASES).collect();
    if leases.is_empty() {
        return;
    }
    if let Err(error) = client.meta.release_lease(pb::ReleaseLeaseRequest { leases }).await {
        tracing::debug!(%error, "leases were not given back; they end by themselves");
    }
}

/// Where the journal of an upload to this name lies. The name is not to be seen in it.
pub(crate) fn journal_place(client: &Client, home: &Path, bucket: BucketId, directory: InodeId, name: &[u8]) -> Place {
    Place::find(client, |key| {
        let place = plaintext_fingerprint(key, BlobId(bucket.0), &[&directory.0, name].concat());
        home.join("transfers").join(format!("{}.upload", hex::encode(&place[..16])))
    })
}

/// Where a journal lies, and the account key by which it does. A transfer that was begun before the account key was replaced is gone on
/// with under the key of before: its fingerprints are worth nothing under another.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    account: AccountKey,
}

impl Place {
    /// The place where there is a journal, else the one for a new journal.
    pub(crate) fn find(client: &Client, path: impl Fn(&FingerprintKey) -> PathBuf) -> Self {
        let keys = client.account_keys();
        let place =
            |account: &AccountKey| Self { path: path(&account.derive_fingerprint_key()), account: account.clone() };
        let found = keys.all().map(place).find(|place| place.path.exists());
        found.unwrap_or_else(|| place(&keys.secrets.key))
    }

    pub(crate) fn journal_key(&self) -> JournalKey {
        self.account.derive_journal_key()
    }

    pub(crate) fn fingerprint_key(&self) -> FingerprintKey {
        self.account.derive_fingerprint_key()
    }
}

impl Resume {
    /// Opens what there is of an upload, or begins one. `existing` is the file that is to get a new version; without one, a new
    /// file is made. `None` if another program is at it.
    pub(crate) async fn open(bucket: &Bucket, place: Place, existing: Option<FileIdentity>) -> Result<Option<Self>> {
        let client = bucket.client();
        let (key, fingerprints) = (place.journal_key(), Fingerprints(place.fingerprint_key()));
        let path = place.path;
        let Some((journal, records)) = blocking(move || Journal::open(path, key)).await? else { return Ok(None) };
        give_back_leases(client, &records).await;
        let fits = |file: &FileIdentity| {
            existing.as_ref().is_none_or(|existing| existing.inode == file.inode && existing.key == file.key)
        };
        if let Some((txn, file, finished)) = decode(&records).filter(|(_, file, _)| fits(file)) {
            let staged = staged(client, bucket.id, txn).await?;
            let finished: BTreeMap<u64, Finished> = finished
                .into_iter()
                .filter(|done| staged.contains(&done.blob))
                .map(|done| (done.offset, done))
                .collect();
            if !finished.is_empty() {
                return Ok(Some(Self { journal, txn, file, fingerprints, finished, lease: Bytes::new() }));
            }
        }
        let file = existing.unwrap_or_else(|| FileIdentity::draw(bucket));
        let (txn, finished, lease) = (TxnId::now(), BTreeMap::new(), Bytes::new());
        let mut resume = Self { journal, txn, file, fingerprints, finished, lease };
        resume.journal.clear()?;
        resume.journal.append(&encode_head(resume.txn, &resume.file))?;
        Ok(Some(resume))
    }

    /// Forgets an upload to this name, here and on the server. Whether there was any.
    pub(crate) async fn abort(client: &Client, place: Place, bucket: BucketId) -> Result<bool> {
        if !place.path.exists() {
            return Ok(false);
        }
        let (key, path) = (place.journal_key(), place.path);
        let Some((journal, records)) = blocking(move || Journal::open(path, key)).await? else {
            return Err(Error::Conflict("the upload is still running and".to_owned()));
        };
        give_back_leases(client, &records).await;
        if let Some((txn, ..)) = decode(&records) {
            abort_staged(client, bucket, txn).await?;
        }
        journal.remove()?;
        Ok(!records.is_empty())
    }

    /// The file that is written.
    pub(crate) fn file(&self) -> &FileIdentity {
        &self.file
    }

    /// The transaction under which segments are staged.
    pub(crate) fn txn(&self) -> TxnId {
        self.txn
    }

    /// Plain bytes that earlier runs have staged.
    pub(crate) fn staged_bytes(&self) -> u64 {
        self.finished.values().map(|done| done.header.plain_len()).sum()
    }

    pub(crate) fn fingerprints(&self) -> Fingerprints {
        self.fingerprints.clone()
    }

    /// What an earlier run has staged from this offset on.
    pub(crate) fn finished_at(&self, offset: u64) -> Option<&Finished> {
        self.finished.get(&offset)
    }

    /// Whether a buffer of `filled` plain bytes holds what was sealed as this blob.
    pub(crate) async fn matches(
        &self,
        earlier: &Finished,
        buffer: PooledBuffer,
        filled: u64,
    ) -> Result<(PooledBuffer, bool)> {
        if filled != earlier.header.plain_len() {
            return Ok((buffer, false));
        }
        let (fingerprints, earlier) = (self.fingerprints(), earlier.clone());
        blocking(move || {
            let length = usize::try_from(earlier.header.sealed_len()).unwrap_or(usize::MAX);
            let frames = buffer.bytes.get(..length).unwrap_or_default();
            let cipher = BlobCipher::new(&earlier.key, earlier.blob, earlier.header);
            let same = fingerprints.of_plain(&cipher, earlier.blob, frames) == Some(earlier.fingerprint);
            Ok((buffer, same))
        })
        .await
    }

    /// Writes down under which lease segments are stored, so that the next run can give it back if this one cannot.
    pub(crate) fn hold(&mut self, lease: &Bytes) -> Result<()> {
        if self.lease != *lease {
            self.journal.append(&[&[LEASE], &lease[..]].concat())?;
            self.lease = lease.clone();
        }
        Ok(())
    }

    /// Writes down what is about to be staged.
    pub(crate) fn record(&mut self, finished: Vec<Finished>) -> Result<()> {
        for done in finished {
            self.journal.append(&done.encode())?;
            self.finished.insert(done.offset, done);
        }
        Ok(())
    }

    /// The upload is committed.
    pub(crate) fn complete(self) -> Result<()> {
        self.journal.remove()
    }

    /// Nothing of the earlier runs is left on the server: begins anew with the same file.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.txn = TxnId::now();
        self.finished.clear();
        self.lease = Bytes::new();
        self.journal.clear()?;
        self.journal.append(&encode_head(self.txn, &self.file))
    }
}

async fn staged(client: &Client, bucket: BucketId, txn: TxnId) -> Result<HashSet<BlobId>> {
    let request = pb::GetStagedRequest { bucket: bytes_of(bucket), txn: bytes_of(txn) };
    match client.meta.get_staged(request).await {
        Ok(answer) => answer.blobs.iter().map(|blob| Ok(id(&blob.id, "blob.id")?)).collect(),
        Err(error) if error.code() == cyx_core::error::ErrorCode::NotFound => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}

/// Drops what was staged under a transaction.
pub(crate) async fn abort_staged(client: &Client, bucket: BucketId, txn: TxnId) -> Result<()> {
    let request = pb::AbortStagedRequest { bucket: bytes_of(bucket), txn: bytes_of(txn) };
    match client.meta.abort_staged(request).await {
        Err(error) if error.code() != cyx_core::error::ErrorCode::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_say_again_what_was_written() {
        let blob = SealedBlob::draw(40_000).unwrap();
        let outcome = SegmentOutcome { scheme: Scheme::DEFAULT, present: 12 };
        let finished = Finished::new(&blob, 123, [7; 32], outcome);
        let again = Finished::decode(&finished.encode()).unwrap();
        assert_eq!((again.offset, again.blob, again.header, again.fingerprint), (123, blob.id, blob.header, [7; 32]));
        assert_eq!(again.outcome, outcome);
        assert!(again.key == blob.key);

        let file = FileIdentity { inode: InodeId::now(), key: InodeKey::make() };
        let (txn, same) = decode_head(&encode_head(TxnId([3; 16]), &file)).unwrap();
        assert_eq!((txn, same.inode), (TxnId([3; 16]), file.inode));
        assert!(same.key == file.key);
        assert!(Finished::decode(&encode_head(txn, &file)).is_err());
    }

    #[test]
    fn what_was_sealed_has_the_fingerprint_of_its_plain_bytes_and_of_no_others() {
        let fingerprints = Fingerprints(AccountKey::make().derive_fingerprint_key());
        let blob = SealedBlob::draw(20_000).unwrap();
        let cipher = BlobCipher::new(&blob.key, blob.id, blob.header);
        let plain: Vec<u8> = (0..20_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut frames = Vec::new();
        for (frame, rest) in plain.chunks(16_384).zip([1_u8, 2]) {
            frames.extend_from_slice(frame);
            frames.extend_from_slice(&[rest; 16]);
        }
        let of_plain = |frames: &[u8]| fingerprints.of_plain(&cipher, blob.id, frames);
        let mut sealed = frames.clone();
        cipher.seal_in_place(0, &mut sealed).unwrap();
        let expected = fingerprints.of_sealed(&cipher, blob.id, &sealed);
        assert_eq!(of_plain(&frames), Some(expected));
        for at in [0, 16_383, 16_400, frames.len() - 17] {
            let mut changed = frames.clone();
            changed[at] ^= 1;
            assert_ne!(of_plain(&changed), Some(expected), "byte {at}");
        }
        for len in [0, 1, 16_400, frames.len() - 1] {
            assert_ne!(of_plain(&frames[..len]), Some(expected), "{len} bytes");
        }
    }
}
