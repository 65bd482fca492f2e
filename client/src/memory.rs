//! What this machine remembers about a server, so that a server cannot quietly go back.
//!
//! For each gateway and account there is a folder below `state/` of the home folder:
//!
//! - `incarnation`: the database that was last talked to; a restore from a backup shows as another one;
//! - `versions`: the newest version of each file that was seen ([`versions`]);
//! - `buckets.json`: owner keys, writer lists and epochs of root keys that were seen ([`BucketMemory`]);
//! - `account-epoch`: how often the account's key was replaced;
//! - `rotations/`: the buckets whose keys this machine is replacing, each with a mark of the new root key.
//!
//! Beside them, `state/stretch.json` has the password parameters of each account ([`StretchMemory`]), which are needed before
//! the account is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cyx_core::auth::StretchParams;
use cyx_core::ids::{AccountId, BucketId};
use cyx_core::writers::{NO_ENTRY, WriterList};
use cyx_crypto::keys::FIRST_EPOCH;
use serde::{Deserialize, Serialize};

use crate::error::{Error, IntegrityError, Result};
use crate::files::{self, Lock};

pub mod versions;

use versions::Versions;

const FOLDER_CONTEXT: &str = "cyx v1 client state folder";

/// The memory of one gateway and account.
pub struct Memory {
    folder: PathBuf,
    gateway: String,
    incarnation: Mutex<Option<String>>,
    /// The last answer named another incarnation.
    restored: AtomicBool,
    versions: Versions,
}

type Buckets = BTreeMap<BucketId, BucketMemory>;

/// What is remembered of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketMemory {
    /// The owner's public key, in hexadecimal digits.
    #[serde(with = "hex_key")]
    pub owner_key: [u8; 32],
    /// Entries of the writer list.
    pub writers: usize,
    /// Hash of the last of them.
    #[serde(with = "hex_key")]
    pub writers_head: [u8; 32],
    /// Newest epoch of its root key.
    #[serde(default)]
    pub root_epoch: u32,
}

impl Memory {
    /// Opens or begins the memory of a gateway and account.
    ///
    /// # Errors
    /// [`Error::Local`] or [`Error::Memory`].
    pub fn open(home: &Path, gateway: &str, account: AccountId) -> Result<Self> {
        let key = [gateway.as_bytes(), b"\0", account.as_bytes()].concat();
        let folder = home.join("state").join(hex::encode(cyx_core::ids::derive(FOLDER_CONTEXT, &key)));
        files::make_private_folder(&folder)?;
        let incarnation = files::read_private(&folder.join("incarnation"))?
            .map(|content| String::from_utf8_lossy(&content).trim().to_owned());
        let versions = Versions::open(&folder.join("versions"))?;
        let (gateway, incarnation) = (gateway.to_owned(), Mutex::new(incarnation));
        Ok(Self { folder, gateway, incarnation, restored: AtomicBool::new(false), versions })
    }

    /// Compares the incarnation that an answer names with the one remembered; remembers the first.
    ///
    /// # Errors
    /// [`Error::IncarnationChanged`], or [`Error::Local`].
    pub fn check_incarnation(&self, seen: &str) -> Result<()> {
        let mut known = self.incarnation.lock().unwrap_or_else(PoisonError::into_inner);
        self.restored.store(known.as_deref().is_some_and(|known| known != seen), Ordering::Relaxed);
        match known.as_deref() {
            Some(known) if known == seen => Ok(()),
            Some(_) => Err(Error::IncarnationChanged { gateway: self.gateway.clone() }),
            None if !seen.is_empty() && seen.len() <= 128 && seen.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                files::write_private(&self.folder.join("incarnation"), seen.as_bytes())?;
                *known = Some(seen.to_owned());
                Ok(())
            }
            None => Err(IntegrityError::Mismatch("its incarnation is not a number").into()),
        }
    }

    /// The incarnation that is remembered.
    #[must_use]
    pub fn incarnation(&self) -> Option<String> {
        self.incarnation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the last answer was of an incarnation that is not accepted: every call fails until it is.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Relaxed)
    }

    /// Forgets everything that a restored database may contradict, and takes its incarnation as the known one. Owner keys stay.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn accept_incarnation(&self, accepted: &str) -> Result<()> {
        {
            let mut known = self.incarnation.lock().unwrap_or_else(PoisonError::into_inner);
            files::write_private(&self.folder.join("incarnation"), accepted.as_bytes())?;
            *known = Some(accepted.to_owned());
            self.restored.store(false, Ordering::Relaxed);
        }
        self.versions.forget()?;
        files::remove(&self.account_epoch_path())?;
        let _lock = self.lock()?;
        let mut buckets = self.buckets()?;
        for bucket in buckets.values_mut() {
            (bucket.writers, bucket.writers_head, bucket.root_epoch) = (0, NO_ENTRY, 0);
        }
        self.keep_buckets(&buckets)
    }

    /// What was seen of the versions of files.
    #[must_use]
    pub const fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Checks a bucket's owner key and that its writer list continues the one that was seen, and remembers both.
    ///
    /// # Errors
    /// [`IntegrityError::OwnerKey`] or [`IntegrityError::Writers`]; [`Error::Local`].
    pub fn check_bucket(&self, owner_key: [u8; 32], writers: &WriterList) -> Result<()> {
        // Read each time: another process may have seen more. Most often nothing is new, and nobody has to wait for anybody.
        if compared(&self.buckets()?, owner_key, writers)?.is_none() {
            return Ok(());
        }
        let _lock = self.lock()?;
        // Once more, now that nobody else changes it: in between another process may have seen a longer list.
        let mut buckets = self.buckets()?;
        match compared(&buckets, owner_key, writers)? {
            None => Ok(()),
            Some(now) => {
                buckets.insert(writers.bucket(), now);
                self.keep_buckets(&buckets)
            }
        }
    }

    /// Checks that a bucket's root key is not an older one than was seen, and remembers it: what is new must not go under a key that
    /// was given up.
    ///
    /// # Errors
    /// [`IntegrityError::Mismatch`]; [`Error::Local`].
    pub fn check_root_epoch(&self, bucket: BucketId, epoch: u32) -> Result<()> {
        let known = self.buckets()?.get(&bucket).map_or(0, |known| known.root_epoch);
        if epoch < known {
            return Err(IntegrityError::Mismatch("it shows an older root key of a bucket").into());
        }
        if epoch == known || epoch == FIRST_EPOCH {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut buckets = self.buckets()?;
        if let Some(known) = buckets.get_mut(&bucket).filter(|known| known.root_epoch < epoch) {
            known.root_epoch = epoch;
            self.keep_buckets(&buckets)?;
        }
        Ok(())
    }

    /// The owner's public key of a bucket, if the bucket was seen before.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn owner_key(&self, bucket: BucketId) -> Result<Option<[u8; 32]>> {
        Ok(self.buckets()?.get(&bucket).map(|known| known.owner_key))
    }

    /// Checks that the account's key is not an older one than was seen, and remembers it: what is new must not go under a key that was
    /// given up.
    ///
    /// # Errors
    /// [`IntegrityError::Mismatch`]; [`Error::Local`].
    pub fn check_account_epoch(&self, epoch: u32) -> Result<()> {
        let path = self.account_epoch_path();
        let known = || -> Result<u32> {
            let Some(content) = files::read_private(&path)? else { return Ok(0) };
            let number = std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok());
            number.ok_or_else(|| Error::Memory { path: path.clone(), reason: "it is not a number".into() })
        };
        let seen = known()?;
        if epoch < seen {
            return Err(IntegrityError::Mismatch("it shows an older key of the account").into());
        }
        if epoch > seen {
            let _lock = self.lock()?;
            if epoch > known()? {
                files::write_private(&path, epoch.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    fn account_epoch_path(&self) -> PathBuf {
        self.folder.join("account-epoch")
    }

    /// The mark of the root key whose epoch this machine began to bring to everything in a bucket, if it has not finished.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn rotation(&self, bucket: BucketId) -> Result<Option<String>> {
        let content = files::read_private(&self.rotation_path(bucket))?;
        Ok(content.and_then(|content| String::from_utf8(content).ok()))
    }

    /// Remembers that such a thing begins.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn begin_rotation(&self, bucket: BucketId, mark: &str) -> Result<()> {
        files::write_private(&self.rotation_path(bucket), mark.as_bytes())
    }

    /// It is finished.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn end_rotation(&self, bucket: BucketId) -> Result<()> {
        let mut planned = self.planned_rotations()?;
        if planned.contains(&bucket) {
            planned.retain(|other| *other != bucket);
            self.plan_rotations(&planned)?;
        }
        files::remove(&self.rotation_path(bucket))
    }

    /// Buckets whose keys are still to be replaced, because the account's were.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn planned_rotations(&self) -> Result<Vec<BucketId>> {
        read_json(&self.planned_path())
    }

    /// Remembers such buckets, in place of those that were.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn plan_rotations(&self, buckets: &[BucketId]) -> Result<()> {
        if buckets.is_empty() {
            files::remove(&self.planned_path())
        } else {
            write_json(&self.planned_path(), &buckets)
        }
    }

    fn planned_path(&self) -> PathBuf {
        self.folder.join("rotations").join("planned.json")
    }

    fn rotation_path(&self, bucket: BucketId) -> PathBuf {
        self.folder.join("rotations").join(bucket.to_string())
    }

    fn buckets(&self) -> Result<Buckets> {
        read_json(&self.folder.join("buckets.json"))
    }

    fn keep_buckets(&self, buckets: &Buckets) -> Result<()> {
        write_json(&self.folder.join("buckets.json"), buckets)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.folder.join("lock"))
    }
}

/// What is to be remembered of a bucket in place of what is known; `None` if that is the same.
///
/// # Errors
/// [`IntegrityError::OwnerKey`] or [`IntegrityError::Writers`] if it contradicts what is known.
fn compared(buckets: &Buckets, owner_key: [u8; 32], writers: &WriterList) -> Result<Option<BucketMemory>> {
    let mut now = BucketMemory { owner_key, writers: writers.len(), writers_head: writers.head(), root_epoch: 0 };
    let Some(known) = buckets.get(&writers.bucket()) else { return Ok(Some(now)) };
    now.root_epoch = known.root_epoch;
    if known.owner_key != owner_key {
        return Err(IntegrityError::OwnerKey.into());
    }
    if !writers.continues(known.writers, &known.writers_head) {
        return Err(IntegrityError::Writers.into());
    }
    Ok((*known != now).then_some(now))
}

/// The password parameters of each account that logged in from this home folder. They never become weaker.
pub struct StretchMemory {
    file: PathBuf,
    lock: PathBuf,
}

impl StretchMemory {
    /// The memory of a home folder.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        let folder = home.join("state");
        Self { file: folder.join("stretch.json"), lock: folder.join("stretch.lock") }
    }

    /// Checks what a server answered before a password is stretched with it.
    ///
    /// # Errors
    /// [`IntegrityError::WeakParameters`] below the floor or what this account had before,
    /// [`IntegrityError::CostlyParameters`] above the ceiling; [`Error::Local`].
    pub fn check(&self, gateway: &str, email: &str, params: StretchParams) -> Result<()> {
        let (floor, ceiling) = (StretchParams::DEFAULT, StretchParams::CEILING);
        let known: BTreeMap<String, StretchParams> = read_json(&self.file)?;
        let known = known.get(&key(gateway, email)).copied().unwrap_or(floor);
        let below = |least: StretchParams| {
            params.memory_kib < least.memory_kib || params.passes < least.passes || params.lanes < least.lanes
        };
        if below(floor) || below(known) {
            return Err(IntegrityError::WeakParameters.into());
        }
        if params.memory_kib > ceiling.memory_kib || params.passes > ceiling.passes || params.lanes > ceiling.lanes {
            return Err(IntegrityError::CostlyParameters.into());
        }
        Ok(())
    }

    /// Remembers the parameters with which a login succeeded.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn remember(&self, gateway: &str, email: &str, params: StretchParams) -> Result<()> {
        let _lock = Lock::acquire(&self.lock)?;
        let mut known: BTreeMap<String, StretchParams> = read_json(&self.file)?;
        if known.insert(key(gateway, email), params) == Some(params) {
            return Ok(());
        }
        write_json(&self.file, &known)
    }
}

fn key(gateway: &str, email: &str) -> String {
    format!("{gateway} {}", email.to_lowercase())
}

fn read_json<T: Default + serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let Some(content) = files::read_private(path)? else { return Ok(T::default()) };
    serde_json::from_slice(&content).map_err(|error| Error::Memory {
        path: path.to_owned(),
        reason: format!("it is damaged at line {}", error.line()),
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let content = serde_json::to_vec_pretty(value).map_err(|_| Error::Internal("the memory is JSON"))?;
    files::write_private(path, &content)
}

mod hex_key {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let mut key = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut key).map_err(D::Error::custom)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::ids::Random as _;
    use cyx_core::writers::WriterAction;
    use ed25519_dalek::SigningKey;

    #[test]
    fn another_incarnation_is_refused_until_it_is_accepted() {
        let home = tempfile::tempdir().unwrap();
        let account = AccountId::random();
        let open = || Memory::open(home.path(), "http://localhost:1", account).unwrap();
        open().check_incarnation("aa").unwrap();
        open().check_incarnation("aa").unwrap();
        let memory = open();
        let changed = memory.check_incarnation("bb");
        assert!(memory.is_restored() && !open().is_restored());
        assert!(matches!(changed, Err(Error::IncarnationChanged { .. })));
        open().accept_incarnation("bb").unwrap();
        open().check_incarnation("bb").unwrap();
        assert!(open().check_incarnation("aa").is_err());
    }

    #[test]
    fn gateways_and_accounts_do_not_share_memory() {
        let home = tempfile::tempdir().unwrap();
        let account = AccountId::random();
        Memory::open(home.path(), "http://localhost:1", account).unwrap().check_incarnation("aa").unwrap();
        Memory::open(home.path(), "http://localhost:2", account).unwrap().check_incarnation("bb").unwrap();
        Memory::open(home.path(), "http://localhost:1", AccountId::random()).unwrap().check_incarnation("cc").unwrap();
    }

    #[test]
    fn a_bucket_keeps_its_owner_key_and_its_writer_list_only_grows() {
        let home = tempfile::tempdir().unwrap();
        let (account, bucket) = (AccountId::random(), BucketId::random());
        let open = || Memory::open(home.path(), "http://localhost:1", account).unwrap();
        let owner = SigningKey::from_bytes(&[1; 32]);
        let public = owner.verifying_key().to_bytes();
        let list = |keys: &[u8]| {
            let mut list = WriterList::empty(bucket);
            for key in keys {
                let entry = list.next(WriterAction::Add, [*key; 32], 0).sign(&owner);
                list.append(&public, &entry).unwrap();
            }
            list
        };
        open().check_bucket(public, &list(&[1])).unwrap();
        open().check_bucket(public, &list(&[1, 2])).unwrap();
        let is = |result: Result<()>, expected: IntegrityError| matches!(result, Err(Error::Integrity(found)) if found == expected);
        assert!(is(open().check_bucket([2; 32], &list(&[1, 2])), IntegrityError::OwnerKey));
        assert!(is(open().check_bucket(public, &list(&[1])), IntegrityError::Writers));
        assert!(is(open().check_bucket(public, &list(&[1, 3])), IntegrityError::Writers));
        open().check_bucket(public, &list(&[1, 2, 3])).unwrap();
    }

    #[test]
    fn password_parameters_never_become_weaker() {
        let home = tempfile::tempdir().unwrap();
        let memory = StretchMemory::new(home.path());
        let strong = StretchParams { passes: 5, ..StretchParams::DEFAULT };
        let check = |params| memory.check("https://a.test", "ada@example.org", params);
        check(StretchParams::DEFAULT).unwrap();
        memory.remember("https://a.test", "Ada@example.org", strong).unwrap();
        check(strong).unwrap();
        assert!(matches!(check(StretchParams::DEFAULT), Err(Error::Integrity(IntegrityError::WeakParameters))));
        memory.check("https://b.test", "ada@example.org", StretchParams::DEFAULT).unwrap();
        let weak = StretchParams { memory_kib: 8, ..StretchParams::DEFAULT };
        assert!(memory.check("https://b.test", "x@example.org", weak).is_err());
        let costly = StretchParams { memory_kib: u32::MAX, ..strong };
        assert!(matches!(check(costly), Err(Error::Integrity(IntegrityError::CostlyParameters))));
    }
}
