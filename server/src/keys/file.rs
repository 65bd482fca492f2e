//! Signing keys on disk: `DATA/signing-keys/<key id>.key`, mode 0600.
//!
//! ```text
//! "cyxS" 1 | created u64 (Unix seconds) | Ed25519 seed 32 | BLAKE3 of all before it 8
//! ```
//! The sum tells a damaged file from a key that nobody knows.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cyx_core::ids::{KeyId, random_bytes};
use cyx_core::wire::{Reader, Writer};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::{ANNOUNCE_SECONDS, KeyError};

/// Folder of the keys inside the data folder.
pub const FOLDER: &str = "signing-keys";
const MAGIC: &[u8; 4] = b"cyxS";
const VERSION: u8 = 1;
const SUM_LEN: usize = 8;
const FILE_LEN: usize = 5 + 8 + 32 + SUM_LEN;

/// A signing key with its age.
pub struct KeyFile {
    /// Unix second of its making.
    pub created: u64,
    /// The key.
    pub key: SigningKey,
}

impl KeyFile {
    /// A new key.
    #[must_use]
    pub fn random(created: u64) -> Self {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes());
        Self { created, key: SigningKey::from_bytes(&seed) }
    }

    /// Id of its public half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        cyx_core::sign::key_id(&self.key.verifying_key().to_bytes())
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new(MAGIC, VERSION);
        writer.u64(self.created).raw(&*Zeroizing::new(self.key.to_bytes()));
        let mut bytes = Zeroizing::new(writer.finish());
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..SUM_LEN]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(FILE_LEN - SUM_LEN)?;
        if sum != &blake3::hash(body).as_bytes()[..SUM_LEN] {
            return None;
        }
        let mut reader = Reader::new(body, MAGIC, VERSION, "signing key").ok()?;
        let created = reader.u64().ok()?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(reader.array().ok()?);
        Some(Self { created, key: SigningKey::from_bytes(&seed) })
    }

    /// Writes the key durably.
    ///
    /// # Errors
    /// [`KeyError::File`], also if the file is there already.
    pub fn store(&self, data_dir: &Path) -> Result<PathBuf, KeyError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(format!("{}.key", self.id()));
        let write = || -> std::io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            // Written beside and renamed, so that a crash leaves a whole file or none.
            let temporary = path.with_extension("new");
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&folder)?.sync_all()?;
            fs::File::open(data_dir)?.sync_all()
        };
        write().map_err(|error| KeyError::File { path: path.clone(), error })?;
        Ok(path)
    }
}

/// All keys of a data folder, the oldest first; makes the first one. Never empty.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create(data_dir: &Path, now: u64) -> Result<Vec<KeyFile>, KeyError> {
    let mut keys = load(data_dir)?;
    if keys.is_empty() {
        let key = KeyFile::random(now);
        key.store(data_dir)?;
        keys.push(key);
    }
    Ok(keys)
}

/// Makes sure that a data folder has a key, and makes none.
///
/// # Errors
/// [`KeyError::Missing`] if it has none; otherwise as [`load_or_create`].
pub fn must_exist(data_dir: &Path) -> Result<(), KeyError> {
    if load(data_dir)?.is_empty() { Err(KeyError::Missing(data_dir.join(FOLDER))) } else { Ok(()) }
}

/// Looks whether the keys that a data folder has can be read, and makes none.
///
/// # Errors
/// As [`load_or_create`].
pub fn look(data_dir: &Path) -> Result<(), KeyError> {
    load(data_dir).map(drop)
}

/// The key that signs now: the newest that was announced long enough, or else the oldest. `keys` is not empty and begins with the oldest.
#[must_use]
pub fn current(keys: &[KeyFile], now: u64) -> &KeyFile {
    let ripe = keys.iter().rposition(|key| key.created.saturating_add(ANNOUNCE_SECONDS) <= now);
    &keys[ripe.unwrap_or(0)]
}

fn load(data_dir: &Path) -> Result<Vec<KeyFile>, KeyError> {
    let folder = data_dir.join(FOLDER);
    let failed = |error| KeyError::File { path: folder.clone(), error };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            keys.push(read(&path)?);
        }
    }
    keys.sort_by_key(|key| (key.created, key.id()));
    Ok(keys)
}

fn read(path: &Path) -> Result<KeyFile, KeyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN + 1));
    let file = fs::File::open(path).map_err(|error| KeyError::File { path: path.to_owned(), error })?;
    file.take(FILE_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| KeyError::File { path: path.to_owned(), error })?;
    KeyFile::decode(&bytes).ok_or_else(|| KeyError::Damaged(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_survives_a_restart_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path(), 5).unwrap();
        let again = load_or_create(dir.path(), 9).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].id(), first[0].id());
        assert_eq!(again[0].created, 5);
        let path = dir.path().join(FOLDER).join(format!("{}.key", first[0].id()));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = KeyFile::random(1).store(dir.path()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(matches!(load_or_create(dir.path(), 2), Err(KeyError::Damaged(_))), "byte {at}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(load_or_create(dir.path(), 2).is_err());
    }

    #[test]
    fn a_new_key_signs_only_after_it_was_announced() {
        let [old, new] = [0, 10_000].map(KeyFile::random);
        let (old_id, new_id) = (old.id(), new.id());
        let keys = [old, new];
        let at = |now| current(&keys, now).id();
        assert_eq!(at(1), old_id);
        assert_eq!(at(10_000 + ANNOUNCE_SECONDS - 1), old_id);
        assert_eq!(at(10_000 + ANNOUNCE_SECONDS), new_id);
        assert_eq!(current(&keys[1..], 10_001).id(), new_id);
    }

    #[test]
    fn the_layout_is_frozen() {
        let file = KeyFile { created: 1, key: SigningKey::from_bytes(&[7; 32]) };
        let bytes = file.encode();
        assert_eq!(hex::encode(&bytes[..13]), "63797853010100000000000000");
        assert_eq!(bytes.len(), FILE_LEN);
        assert_eq!(KeyFile::decode(&bytes).map(|key| key.id()), Some(file.id()));
    }
}
