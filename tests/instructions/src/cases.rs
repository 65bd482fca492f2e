//! What is counted. Each case prepares its work uncounted, has it done once under the counter, and looks whether it was done: a count of work
//! that fails early would look like progress.

use std::error::Error;
use std::hint::black_box;
use std::io::Cursor;

use bytes::Bytes;
use cyx_core::chunk::root;
use cyx_core::commit::Commit;
use cyx_core::erasure::Coder;
use cyx_core::extent::tree::{PageMap, build, replace};
use cyx_core::extent::{BlobHeader, Extent, Page, PageId};
use cyx_core::ids::{BlobId, BucketId, ChunkId, GrantId, InodeId, NodeId};
use cyx_core::inode::InodeKind;
use cyx_core::name::EncryptedName;
use cyx_core::proof::{GROUP, prove, verify};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::scheme::Scheme;
use cyx_core::sign::key_id;
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::keys::{AccountKey, BlobKey, InodeKey};
use cyx_crypto::mount::RecordCipher;
use cyx_crypto::mount::format::{FileId, Record, seal_over};
use cyx_crypto::names::{decrypt_name, encrypt_name};
use cyx_crypto::wrap::{ChildKeys, Edge, open_blob_key, seal_blob_key, seal_child_key};
use ed25519_dalek::SigningKey;

type Outcome = Result<(), Box<dyn Error>>;
/// Does work under the counter.
type Count = fn(&mut dyn FnMut());

/// One count.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How many of what the work is.
    pub(crate) units: u64,
    pub(crate) unit: &'static str,
    pub(crate) run: fn(Count) -> Outcome,
}

const MIB: usize = 1 << 20;
/// Names, keys and boxes of one case.
const NAMES: u64 = 256;
/// Extents of the trees.
const EXTENTS: u64 = 1000;
/// Bytes of the chunk that is hashed and proved.
const CHUNK: usize = 512 << 10;
/// Columns of the segment that is coded.
const COLUMNS: usize = 64 << 10;

const fn case(name: &'static str, units: u64, unit: &'static str, run: fn(Count) -> Outcome) -> Case {
    Case { name, units, unit, run }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    case("frames-sealed", MIB as u64, "plain byte", frames_sealed),
    case("frames-opened", MIB as u64, "plain byte", frames_opened),
    case("chunk-hashed", CHUNK as u64, "byte", chunk_hashed),
    case("segment-coded", (10 * COLUMNS) as u64, "data byte", segment_coded),
    case("shards-restored", (4 * COLUMNS) as u64, "restored byte", shards_restored),
    case("range-proved", 1, "proof of 16 KiB of a chunk", range_proved),
    case("proof-checked", 1, "proof of 16 KiB of a chunk", proof_checked),
    case("names-sealed", NAMES, "name", names_sealed),
    case("names-opened", NAMES, "name", names_opened),
    case("child-keys-sealed", NAMES, "key", child_keys_sealed),
    case("child-keys-opened", NAMES, "key", child_keys_opened),
    case("blob-keys-opened", NAMES, "key", blob_keys_opened),
    case("pages-built", EXTENTS, "extent", pages_built),
    case("pages-parsed", EXTENTS, "extent", pages_parsed),
    case("extent-replaced", 1, "extent in a tree of a thousand", extent_replaced),
    case("commits-signed", 16, "commit", commits_signed),
    case("commits-verified", 16, "commit", commits_verified),
    case("receipts-verified", 16, "receipt of 14 chunks", receipts_verified),
    case("journal-records-sealed", 64, "record of 4 KiB", journal_records_sealed),
];

fn text(len: usize) -> Vec<u8> {
    (0..251_u8).cycle().take(len).collect()
}

fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

/// Has something done for every number below `count` and says how often it was.
fn each<T>(counter: Count, count: u64, mut work: impl FnMut(u64) -> Option<T>) -> Outcome {
    let mut done = 0;
    counter(&mut || {
        for number in 0..count {
            done += u64::from(black_box(work(black_box(number))).is_some());
        }
    });
    if done == count { Ok(()) } else { Err(format!("{done} of {count} were done").into()) }
}

fn sealed(header: BlobHeader) -> Result<(BlobCipher, Vec<u8>), Box<dyn Error>> {
    let cipher = BlobCipher::new(&BlobKey::from_bytes([7; 32]), BlobId(id(1)), header);
    let mut sealed = Vec::with_capacity(usize::try_from(header.sealed_len())?);
    cipher.seal(&text(MIB), &mut sealed)?;
    Ok((cipher, sealed))
}

fn frames_sealed(counter: Count) -> Outcome {
    let (cipher, mut buffer) = sealed(BlobHeader::new(MIB as u64)?)?;
    each(counter, 1, |_| cipher.seal_in_place(0, &mut buffer).ok())
}

fn frames_opened(counter: Count) -> Outcome {
    let (cipher, sealed) = sealed(BlobHeader::new(MIB as u64)?)?;
    let mut plain = vec![0; MIB];
    each(counter, 1, |_| cipher.open_into(0, &sealed, &mut plain).ok())?;
    if plain == text(MIB) { Ok(()) } else { Err("other bytes came out".into()) }
}

fn chunk_hashed(counter: Count) -> Outcome {
    let chunk = text(CHUNK);
    each(counter, 1, |_| Some(root(&chunk)))
}

fn segment_coded(counter: Count) -> Outcome {
    let coder = Coder::new(Scheme::DEFAULT);
    let mut shards = text(Scheme::DEFAULT.n() * COLUMNS);
    each(counter, 1, |_| coder.encode_in_place(&mut shards).ok())
}

fn shards_restored(counter: Count) -> Outcome {
    let coder = Coder::new(Scheme::DEFAULT);
    let mut shards = text(Scheme::DEFAULT.n() * COLUMNS);
    coder.encode_in_place(&mut shards)?;
    let present: Vec<(usize, &[u8])> = shards.chunks_exact(COLUMNS).enumerate().skip(4).collect();
    let mut lost = vec![vec![0; COLUMNS]; 4];
    let mut wanted: Vec<(usize, &mut [u8])> = lost.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
    each(counter, 1, |_| coder.reconstruct(&present, &mut wanted).ok())?;
    if lost.concat() == shards[..4 * COLUMNS] { Ok(()) } else { Err("other shards came out".into()) }
}

fn range_proved(counter: Count) -> Outcome {
    let chunk = text(CHUNK);
    each(counter, 1, |_| prove(Cursor::new(&chunk), CHUNK as u64, GROUP..2 * GROUP).ok())
}

fn proof_checked(counter: Count) -> Outcome {
    let proof = prove(Cursor::new(text(CHUNK)), CHUNK as u64, GROUP..2 * GROUP)?;
    each(counter, 1, |_| verify(&proof.root, CHUNK as u64, GROUP..2 * GROUP, &proof.bytes).ok())
}

const DIRECTORY: InodeId = InodeId([1; 16]);

fn directory() -> InodeKey {
    InodeKey::from_parts(1, [3; 32])
}

fn names() -> Result<Vec<EncryptedName>, Box<dyn Error>> {
    let key = directory().derive_name_key();
    let name = |number| Ok(encrypt_name(&key, DIRECTORY, format!("photo of a day {number:04}.jpeg").as_bytes())?);
    (0..NAMES).map(name).collect()
}

fn nth<T>(all: &[T], number: u64) -> Option<&T> {
    all.get(usize::try_from(number).ok()?)
}

fn names_sealed(counter: Count) -> Outcome {
    let key = directory().derive_name_key();
    each(counter, NAMES, |_| encrypt_name(&key, DIRECTORY, b"photo of a day 0001.jpeg").ok())
}

fn names_opened(counter: Count) -> Outcome {
    let (key, names) = (directory().derive_name_key(), names()?);
    each(counter, NAMES, |number| decrypt_name(&key, DIRECTORY, nth(&names, number)?).ok())
}

fn edge(name: &EncryptedName, number: u64) -> Edge<'_> {
    Edge { directory: DIRECTORY, name, child: InodeId(id(number)), kind: InodeKind::File }
}

fn child_keys_sealed(counter: Count) -> Outcome {
    let (directory, names, child) = (directory(), names()?, InodeKey::from_parts(1, [9; 32]));
    each(counter, 1, |_| {
        let keys = ChildKeys::of(&directory);
        let seal = |(number, name)| keys.seal(&edge(name, number), &child);
        Some((0..).zip(&names).map(seal).collect::<Vec<_>>())
    })
}

fn child_keys_opened(counter: Count) -> Outcome {
    let (directory, names, child) = (directory(), names()?, InodeKey::from_parts(1, [9; 32]));
    let seal = |(number, name)| seal_child_key(&directory, &edge(name, number), &child);
    let boxes: Vec<Vec<u8>> = (0..).zip(&names).map(seal).collect();
    each(counter, 1, |_| {
        let keys = ChildKeys::of(&directory);
        let open = |(number, name)| keys.open(&edge(name, number), nth(&boxes, number)?).ok();
        (0..).zip(&names).map(open).collect::<Option<Vec<_>>>()
    })
}

fn blob_keys_opened(counter: Count) -> Outcome {
    let (file, blob, header) = (directory(), BlobId(id(1)), BlobHeader::new(4096)?);
    let wrapped = seal_blob_key(&file, blob, header, &BlobKey::from_bytes([7; 32]));
    each(counter, NAMES, |_| open_blob_key(&file, blob, header, &wrapped).ok())
}

fn extents() -> Result<Vec<Extent>, Box<dyn Error>> {
    let header = BlobHeader::new(65_536)?;
    let extent = |number: u64| Extent {
        file_offset: number * 65_536,
        len: 65_536,
        blob: BlobId(id(number)),
        blob_offset: 0,
        key_epoch: 1,
        header,
        wrapped_key: [5; 60],
    };
    Ok((0..EXTENTS).map(extent).collect())
}

fn pages_built(counter: Count) -> Outcome {
    let extents = extents()?;
    each(counter, 1, |_| build(&extents).ok())
}

fn pages_parsed(counter: Count) -> Outcome {
    let built = build(&extents()?)?;
    each(counter, 1, |_| {
        let parse = |(id, bytes): &(PageId, Vec<u8>)| (PageId::of(bytes) == *id).then(|| Page::decode(bytes).ok())?;
        built.pages.iter().map(parse).collect::<Option<Vec<_>>>()
    })
}

fn extent_replaced(counter: Count) -> Outcome {
    let extents = extents()?;
    let built = build(&extents)?;
    let pages = built.pages.iter().map(|(id, bytes)| Ok((*id, Page::decode(bytes)?)));
    let pages: PageMap = pages.collect::<Result<_, Box<dyn Error>>>()?;
    let new = extents.get(500).ok_or("there are more than 500 extents")?;
    let new = Extent { blob: BlobId(id(EXTENTS)), ..new.clone() };
    each(counter, 1, |_| replace(&pages, built.root, new.file_offset..new.end(), std::slice::from_ref(&new)).ok())
}

fn commit(version: u64, key: &SigningKey) -> Commit {
    Commit {
        bucket: BucketId([1; 16]),
        inode: InodeId([2; 16]),
        version: version + 1,
        base: version,
        size: 5 << 20,
        root: PageId([3; 32]),
        writer: key_id(&key.verifying_key().to_bytes()),
    }
}

fn commits_signed(counter: Count) -> Outcome {
    let key = SigningKey::from_bytes(&[3; 32]);
    let commits: Vec<Commit> = (0..16).map(|number| commit(number, &key)).collect();
    each(counter, 16, |number| Some(nth(&commits, number)?.sign(&key)))
}

fn commits_verified(counter: Count) -> Outcome {
    let key = SigningKey::from_bytes(&[3; 32]);
    let public = key.verifying_key().to_bytes();
    let commits: Vec<Commit> = (0..16).map(|number| commit(number, &key)).collect();
    let signed: Vec<_> = commits.iter().map(|commit| commit.sign(&key)).collect();
    each(counter, 16, |number| nth(&commits, number)?.verify(&public, nth(&signed, number)?).ok())
}

fn receipts_verified(counter: Count) -> Outcome {
    let key = SigningKey::from_bytes(&[5; 32]);
    let public = key.verifying_key().to_bytes();
    let chunk = |number| ReceivedChunk { id: ChunkId(id(number)), length: 524_800, root: [8; 32] };
    let chunks = (0..14).map(chunk).collect();
    let receipt =
        Receipt { node: NodeId::from_public_key(&public), grant: GrantId([7; 16]), issued: 1_700_000_000, chunks };
    let signed = receipt.sign(&key);
    each(counter, 16, |_| Receipt::verify(&signed, &public).ok())
}

fn journal_records_sealed(counter: Count) -> Outcome {
    let cipher = RecordCipher::new(&AccountKey::from_bytes([2; 32]).derive_mount_key(), &[1; 16]);
    let file = FileId { bucket: BucketId([1; 16]), inode: InodeId([2; 16]) };
    let data = Bytes::from(text(4096));
    let mut room = Vec::new();
    each(counter, 64, |number| {
        let record = Record::Write { file, offset: number * 4096, time_ns: 1, data: data.clone() };
        seal_over(&mut room, &cipher, number, &record).map(<[u8]>::len)
    })
}
