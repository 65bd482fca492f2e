//! What is remembered of files between two runs: extent pages, and which version was verified last. With it a file whose frames are in the
//! cache is read without asking anybody, also while nobody can be asked.
//!
//! ```text
//! file:  "cyxG" 1 | file 16 | entries                                      named pages-NNNNNNNN
//! entry: "cyxP" 1 | length u32 | sequence u64 | id 32 | ciphertext (length bytes) | tag 16
//! ```
//! An entry is sealed as a record of the journal is, under a key of its file, with the 49 bytes before it as associated data. Every run
//! appends to a file of its own; when there is too much, the oldest goes. Nothing has to be durable. A page is believed because
//! its hash is its id; a version was verified by this account before it was sealed, and is used only as long as the server
//! names no newer one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cyx_client::transfer::KnownVersion;
use cyx_core::extent::PageId;
use cyx_core::ids::{InodeId, random_bytes};
use cyx_core::wire::{DecodeError, Reader, Writer};
use cyx_crypto::keys::{InodeKey, MountKey};
use cyx_crypto::mount::{RecordCipher, TAG_LEN};
use cyx_crypto::wrap::InodeKeyring;
use zeroize::Zeroizing;

use crate::journal::FileId;

const FILE_MAGIC: &[u8; 4] = b"cyxG";
const ENTRY_MAGIC: &[u8; 4] = b"cyxP";
const VERSION: u8 = 1;
const FILE_HEADER_LEN: usize = 21;
const ENTRY_HEADER_LEN: usize = 49;
/// Most plain bytes of an entry: a full page has fewer.
const PLAIN_MAX: usize = 1 << 18;
/// Files of earlier runs that are left as they are; more are put together.
const FILES_MAX: usize = 8;
/// Files that the capacity is divided into, so that not everything goes at once.
const PARTS: u64 = 4;
/// Most keys of one file.
const KEYS_MAX: usize = 1025;

type Id = [u8; 32];

#[derive(Clone, Copy)]
struct Place {
    file: u32,
    at: u64,
    len: u32,
    sequence: u64,
}

struct Part {
    path: PathBuf,
    file: File,
    cipher: RecordCipher,
    len: u64,
    next: u64,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<u32, Part>,
    /// The one that is appended to.
    active: Option<u32>,
    index: HashMap<Id, Place>,
    used: u64,
}

/// Entries on disk.
pub struct PageStore {
    folder: PathBuf,
    key: MountKey,
    capacity: u64,
    state: Mutex<State>,
}

impl PageStore {
    /// Opens the store in a folder, which the caller has locked, or begins one, of at most `capacity` bytes. What cannot be understood is
    /// forgotten. Blocks the thread.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(folder: &Path, key: MountKey, capacity: u64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut state = State::default();
        for (number, path) in files(folder)? {
            match Part::read(&path, number, &key, &mut state.index)? {
                Some(part) => {
                    state.used += part.len;
                    state.parts.insert(number, part);
                }
                None => std::fs::remove_file(&path)?,
            }
        }
        let store = Self { folder: folder.to_owned(), key, capacity, state: Mutex::new(state) };
        if let Err(error) = store.put_together() {
            tracing::debug!(%error, "what is remembered stays in many files");
        }
        Ok(store)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Many small files become one.
    fn put_together(&self) -> io::Result<()> {
        let old: Vec<u32> = self.state().parts.keys().copied().collect();
        if old.len() <= FILES_MAX {
            return Ok(());
        }
        let ids: Vec<Id> = self.state().index.keys().copied().collect();
        for id in ids {
            if let Some(plain) = self.get(&id) {
                self.try_put(id, &plain)?;
            }
        }
        let mut state = self.state();
        for number in old {
            state.remove(number)?;
        }
        Ok(())
    }

    /// Whether there is an entry.
    #[must_use]
    pub fn has(&self, id: &Id) -> bool {
        self.state().index.contains_key(id)
    }

    /// Reads an entry.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<Zeroizing<Vec<u8>>> {
        let mut state = self.state();
        let place = *state.index.get(id)?;
        let part = state.parts.get(&place.file)?;
        let mut bytes = Zeroizing::new(vec![0; ENTRY_HEADER_LEN + place.len as usize + TAG_LEN]);
        let opened = part.file.read_exact_at(&mut bytes, place.at).is_ok() && {
            let (header, sealed) = bytes.split_at_mut(ENTRY_HEADER_LEN);
            *header == *entry_header(place.len, place.sequence, id)
                && part.cipher.open_in_place(place.sequence, header, sealed).is_ok()
        };
        if !opened {
            state.index.remove(id);
            return None;
        }
        bytes.truncate(ENTRY_HEADER_LEN + place.len as usize);
        Some(Zeroizing::new(bytes.split_off(ENTRY_HEADER_LEN)))
    }

    /// Keeps an entry in place of an earlier one, or not.
    pub fn put(&self, id: Id, plain: &[u8]) {
        if let Err(error) = self.try_put(id, plain) {
            tracing::debug!(%error, "something is not remembered");
        }
    }

    fn try_put(&self, id: Id, plain: &[u8]) -> io::Result<()> {
        let Some(len) = u32::try_from(plain.len()).ok().filter(|len| *len as usize <= PLAIN_MAX) else {
            return Ok(());
        };
        let mut state = self.state();
        let bytes = (ENTRY_HEADER_LEN + plain.len() + TAG_LEN) as u64;
        if bytes + FILE_HEADER_LEN as u64 > self.capacity {
            return Ok(());
        }
        let is_full = |part: &Part| part.len + bytes > self.capacity / PARTS;
        if state.active.and_then(|number| state.parts.get(&number)).is_none_or(is_full) {
            self.begin(&mut state)?;
        }
        while state.used + bytes > self.capacity {
            let Some(oldest) = state.parts.keys().next().copied() else { break };
            state.remove(oldest)?;
            if state.active == Some(oldest) {
                self.begin(&mut state)?;
            }
        }
        let number = state.active.unwrap_or_default();
        let Some(part) = state.parts.get_mut(&number) else { return Ok(()) };
        let (sequence, at) = (part.next, part.len);
        // Whatever becomes of the write, this sequence is not used again.
        part.next += 1;
        let mut entry = entry_header(len, sequence, &id);
        entry.extend_from_slice(plain);
        let (header, body) = entry.split_at_mut(ENTRY_HEADER_LEN);
        let tag = part.cipher.seal_in_place(sequence, header, body).map_err(io::Error::other)?;
        entry.extend_from_slice(&tag);
        if let Err(error) = part.file.write_all_at(&entry, at) {
            state.active = None;
            return Err(error);
        }
        part.len += bytes;
        state.used += bytes;
        state.index.insert(id, Place { file: number, at, len, sequence });
        Ok(())
    }

    fn begin(&self, state: &mut State) -> io::Result<()> {
        let number = state.parts.keys().next_back().map_or(1, |last| last.wrapping_add(1));
        let path = self.folder.join(format!("pages-{number:08x}"));
        let id: [u8; 16] = random_bytes();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let mut header = Writer::new(FILE_MAGIC, VERSION);
        header.raw(&id);
        file.write_all_at(&header.finish(), 0)?;
        let cipher = RecordCipher::new(&self.key, &id);
        state.used += FILE_HEADER_LEN as u64;
        state.parts.insert(number, Part { path, file, cipher, len: FILE_HEADER_LEN as u64, next: 0 });
        state.active = Some(number);
        Ok(())
    }

    /// The version of a file that was verified last, and the file's keys.
    #[must_use]
    pub fn version(&self, file: FileId) -> Option<(KnownVersion, InodeKeyring)> {
        decode_version(file.inode, &self.get(&version_id(file))?).ok()
    }

    /// Remembers a version that was verified.
    pub fn put_version(&self, file: FileId, known: KnownVersion, keys: &InodeKeyring) {
        self.put(version_id(file), &encode_version(known, keys));
    }

    /// An extent page.
    #[must_use]
    pub fn page(&self, id: PageId) -> Option<Zeroizing<Vec<u8>>> {
        self.get(&id.0)
    }
}

impl State {
    fn remove(&mut self, number: u32) -> io::Result<()> {
        let Some(part) = self.parts.remove(&number) else { return Ok(()) };
        self.used = self.used.saturating_sub(part.len);
        self.index.retain(|_, place| place.file != number);
        std::fs::remove_file(&part.path)
    }
}

impl Part {
    /// Finds the entries of a file of an earlier run; `None` if it is none.
    fn read(path: &Path, number: u32, key: &MountKey, index: &mut HashMap<Id, Place>) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let mut header = [0; FILE_HEADER_LEN];
        if len < FILE_HEADER_LEN as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        let id = Reader::new(&header, FILE_MAGIC, VERSION, "remembered pages").and_then(|mut reader| reader.array());
        let Ok(id) = id else { return Ok(None) };
        let mut at = FILE_HEADER_LEN as u64;
        let mut header = [0; ENTRY_HEADER_LEN];
        while at + ENTRY_HEADER_LEN as u64 <= len {
            file.read_exact_at(&mut header, at)?;
            let Ok((plain, sequence, entry)) = read_entry_header(&header) else { break };
            let end = at + (ENTRY_HEADER_LEN + plain as usize + TAG_LEN) as u64;
            if end > len {
                break;
            }
            index.insert(entry, Place { file: number, at, len: plain, sequence });
            at = end;
        }
        // It is not appended to any more.
        Ok(Some(Self { path: path.to_owned(), file, cipher: RecordCipher::new(key, &id), len, next: u64::MAX }))
    }
}

fn entry_header(len: u32, sequence: u64, id: &Id) -> Vec<u8> {
    let mut writer = Writer::new(ENTRY_MAGIC, VERSION);
    writer.u32(len).u64(sequence).raw(id);
    writer.finish()
}

fn read_entry_header(header: &[u8]) -> Result<(u32, u64, Id), DecodeError> {
    let mut reader = Reader::new(header, ENTRY_MAGIC, VERSION, "a remembered page")?;
    let entry = (reader.u32()?, reader.u64()?, reader.array()?);
    if entry.0 as usize > PLAIN_MAX {
        return Err(DecodeError::Invalid("length of a page"));
    }
    Ok(entry)
}

/// No page has this id: nobody finds one that hashes to it.
fn version_id(file: FileId) -> Id {
    *blake3::hash(&[b"cyx v1 remembered version".as_slice(), &file.bucket.0, &file.inode.0].concat()).as_bytes()
}

fn encode_version(known: KnownVersion, keys: &InodeKeyring) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(50 + 36 * keys.all().count()));
    plain.extend_from_slice(&known.version.to_le_bytes());
    plain.extend_from_slice(&known.size.to_le_bytes());
    plain.extend_from_slice(&known.root.0);
    for key in keys.all() {
        plain.extend_from_slice(&key.epoch().to_le_bytes());
        plain.extend_from_slice(key.expose());
    }
    plain
}

fn decode_version(inode: InodeId, plain: &[u8]) -> Result<(KnownVersion, InodeKeyring), DecodeError> {
    let mut reader = Reader::bare(plain);
    let (version, size, root) = (reader.u64()?, reader.u64()?, PageId(reader.array()?));
    if !(36..=36 * KEYS_MAX).contains(&reader.remaining()) {
        return Err(DecodeError::Invalid("number of keys"));
    }
    let newest = InodeKey::from_parts(reader.u32()?, reader.array()?);
    let mut older = Vec::new();
    while reader.remaining() > 0 {
        older.push(InodeKey::from_parts(reader.u32()?, reader.array()?));
    }
    Ok((KnownVersion { inode, version, size, root }, InodeKeyring::from_keys(newest, older)))
}

fn files(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("pages-"));
        if let Some(number) = number.and_then(|number| u32::from_str_radix(number, 16).ok()) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::BucketId;
    use cyx_crypto::keys::AccountKey;

    fn key(byte: u8) -> MountKey {
        AccountKey::from_bytes([byte; 32]).derive_mount_key()
    }

    fn open(folder: &Path) -> PageStore {
        PageStore::open(folder, key(0x61), 1 << 20).unwrap()
    }

    fn file_of(number: u8) -> FileId {
        FileId { bucket: BucketId([1; 16]), inode: InodeId([number; 16]) }
    }

    fn version(number: u64) -> (KnownVersion, InodeKeyring) {
        let known = KnownVersion { inode: InodeId([2; 16]), version: number, size: 99, root: PageId([3; 32]) };
        let keys =
            InodeKeyring::from_keys(InodeKey::from_parts(2, [0x6b; 32]), vec![InodeKey::from_parts(1, [0x6a; 32])]);
        (known, keys)
    }

    #[test]
    fn the_next_run_finds_everything_and_the_latest_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (known, keys) = version(4);
        {
            let store = open(folder.path());
            store.put([7; 32], b"a page");
            store.put_version(file_of(2), version(3).0, &keys);
            store.put_version(file_of(2), known, &keys);
        }
        for _ in 0..3 * FILES_MAX {
            // Every run writes something, so that there are many files.
            let store = open(folder.path());
            store.put([8; 32], b"another");
            assert_eq!(store.get(&[7; 32]).unwrap().as_slice(), b"a page");
            let (found, found_keys) = store.version(file_of(2)).unwrap();
            assert!(found == known && found_keys.all().eq(keys.all()));
            assert!(store.version(file_of(3)).is_none());
            assert!(files(folder.path()).unwrap().len() <= FILES_MAX + 1);
        }
    }

    #[test]
    fn nothing_is_readable_without_the_key_or_believed_when_changed() {
        let folder = tempfile::tempdir().unwrap();
        let secret = b"which extents a file has";
        {
            let store = open(folder.path());
            store.put([7; 32], secret);
            store.put_version(file_of(2), version(1).0, &version(1).1);
        }
        let path = files(folder.path()).unwrap().remove(0).1;
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        assert!(!bytes.windows(32).any(|window| window == [0x6b; 32]));
        let stranger = PageStore::open(folder.path(), key(0x62), 1 << 20).unwrap();
        assert!(stranger.get(&[7; 32]).is_none() && stranger.version(file_of(2)).is_none());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let store = open(folder.path());
            assert!(store.get(&[7; 32]).is_none_or(|found| found.as_slice() == secret), "byte {at}");
            assert!(store.version(file_of(2)).is_none_or(|(found, _)| found == version(1).0), "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert!(open(folder.path()).get(&[7; 32]).is_none_or(|found| found.as_slice() == secret), "cut at {at}");
        }
    }

    #[test]
    fn it_stays_within_its_bounds_and_drops_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let store = PageStore::open(folder.path(), key(0x61), 40_000).unwrap();
        let id = |number: u64| *blake3::hash(&number.to_le_bytes()).as_bytes();
        for number in 0..200 {
            store.put(id(number), &[1; 1000]);
            let on_disk: u64 =
                files(folder.path()).unwrap().iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
            assert!(on_disk <= 40_000 + FILE_HEADER_LEN as u64, "{on_disk}");
            assert!(store.has(&id(number)));
        }
        assert!(!store.has(&id(0)) && store.has(&id(180)));
        store.put(id(1000), &[1; 50_000]);
        assert!(!store.has(&id(1000)), "what is too large is not kept");
    }

    /// The vector was made by an independent program: account key 32 bytes of 0x61, file 16 of 0x66.
    #[test]
    fn the_layout_is_frozen() {
        let golden = include_str!("../../../crypto/tests/vectors/mount-pages.hex");
        let golden = hex::decode(golden.split_whitespace().collect::<String>()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pages-00000001"), &golden).unwrap();
        let store = open(folder.path());
        assert_eq!(store.get(&[0x70; 32]).unwrap().as_slice(), b"a page");
        let (found, keys) = store.version(file_of(2)).unwrap();
        assert!(found == version(5).0 && keys.all().eq(version(5).1.all()));
        let cipher = RecordCipher::new(&key(0x61), &[0x66; 16]);
        let mut again = golden[..21].to_vec();
        for (sequence, id, plain) in [
            (0, [0x70; 32], b"a page".to_vec()),
            (1, version_id(file_of(2)), encode_version(version(5).0, &version(5).1).to_vec()),
        ] {
            let mut entry = entry_header(u32::try_from(plain.len()).unwrap(), sequence, &id);
            entry.extend(plain);
            let (header, body) = entry.split_at_mut(ENTRY_HEADER_LEN);
            let tag = cipher.seal_in_place(sequence, header, body).unwrap();
            entry.extend(tag);
            again.extend(entry);
        }
        assert_eq!(hex::encode(again), hex::encode(golden));
    }
}
