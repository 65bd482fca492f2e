//! Buckets: creating, listing, opening and deleting them.
//!
//! The server finds a bucket by a token of its name that only the account can make; the name itself is sealed under the
//! bucket's root key. Opening a bucket checks that its owner key and its writer list are those seen before.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, InodeId, Random as _, TimeOrdered as _};
use cyx_core::name::EncryptedName;
use cyx_core::units::NAME_MAX;
use cyx_core::writers::WriterList;
use cyx_crypto::keys::{AccountKey, FIRST_EPOCH, RootKey};
use cyx_crypto::names::{decrypt_bucket_token, encrypt_bucket_token};
use cyx_crypto::wrap::{epoch_of, open_bucket_name, open_root_key, seal_bucket_name, seal_root_key};
use cyx_proto::convert::{array, bytes_of, id, required};
use cyx_proto::meta::v1 as pb;

use crate::client::Client;
use crate::clock;
use crate::error::{Error, IntegrityError, Result};
use crate::keys::Scope;
use crate::tree::change::is_stale;
use crate::tree::path::{check_name, shown};
use crate::tree::resolve::DirectoryCache;
use crate::tree::types::{Bucket, OpenBucket, RootKeys};

/// Times that something is asked for again because the account's keys were replaced meanwhile.
const LISTINGS: u32 = 4;

/// One of the caller's buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// The bucket.
    pub id: BucketId,
    /// Its plain name.
    pub name: String,
    /// The account that owns it.
    pub owner: AccountId,
    /// It asks for 10+10.
    pub durable: bool,
    /// Bytes that its content takes before coding.
    pub used_bytes: u64,
    /// Files in it.
    pub files: u64,
    /// When it was created, Unix nanoseconds.
    pub created_ns: i64,
}

/// A row of the server whose name and root key were opened.
pub(crate) struct Opened {
    pub(crate) info: BucketInfo,
    pub(crate) root: InodeId,
    pub(crate) root_key: RootKey,
    pub(crate) owner_key: [u8; 32],
    pub(crate) sequence: u64,
    /// The writer list as the server showed it with the row, not checked; empty if it did not.
    pub(crate) writers: Vec<Bytes>,
    /// Writers that are to be taken off the list: their right to write has ended.
    pub(crate) ended_writers: Vec<[u8; 32]>,
}

impl Client {
    /// Creates a bucket.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] for a name that a bucket cannot have.
    pub async fn create_bucket(&self, name: &str, durable: bool) -> Result<Bucket> {
        check_bucket_name(name)?;
        match self.make_bucket(name, durable).await {
            Err(error) if is_stale(&error) => {
                self.renew_keys().await?;
                self.make_bucket(name, durable).await?;
            }
            other => other?,
        }
        self.bucket(name).await
    }

    async fn make_bucket(&self, name: &str, durable: bool) -> Result<()> {
        let (bucket, root, root_key) = (BucketId::random(), InodeId::now(), RootKey::make());
        let keys = self.account_keys();
        let secrets = &keys.secrets;
        let owner_key = secrets.identity.public().signing;
        let sealed_name = seal_bucket_name(&root_key, bucket, name.as_bytes()).map_err(|_| unusable(name))?;
        let wrapped = seal_root_key(&secrets.key, &root_key, bucket, &owner_key, self.account());
        let now = clock::unix_nanoseconds();
        let request = pb::CreateBucketRequest {
            id: bytes_of(bucket),
            root: bytes_of(root),
            name_token: bucket_token(&secrets.key, name)?,
            sealed_name: sealed_name.into(),
            wrapped_root_key: wrapped.into(),
            first_writer: secrets.identity.sign_first_writer(bucket).into(),
            root_attributes: Some(pb::Attributes {
                mode: 0o755,
                mtime_ns: now,
                ctime_ns: now,
                atime_ns: now,
                ..pb::Attributes::default()
            }),
            durable,
            account_key_epoch: keys.epoch,
        };
        match self.meta.create_bucket(request).await {
            Ok(_) => Ok(()),
            // A repeated call whose first answer was lost finds its own bucket.
            Err(error) if error.code() == ErrorCode::AlreadyExists => match self.find_bucket(name).await? {
                Some(row) if row.info.id == bucket => Ok(()),
                _ => Err(Error::AlreadyExists(format!("the bucket {}", shown(name.as_bytes())))),
            },
            Err(error) => Err(error),
        }
    }

    /// Rows as the server keeps them under the account key that is known here, which is renewed first if that is no longer the newest.
    pub(crate) async fn list_rows(&self, name: Option<&str>) -> Result<Vec<pb::Bucket>> {
        for _ in 0..LISTINGS {
            let keys = self.account_keys();
            let name_token = name.map(|name| bucket_token(&keys.secrets.key, name)).transpose()?.unwrap_or_default();
            // Whoever names a bucket is about to open it.
            let request = pb::ListBucketsRequest { with_writers: !name_token.is_empty(), name_token };
            let answer = self.meta.list_buckets(request).await?;
            if self.scope().is_some() || answer.account_key_epoch == keys.epoch {
                return Ok(answer.buckets);
            }
            self.renew_keys().await?;
        }
        Err(IntegrityError::Mismatch("it shows buckets under another key than the account's").into())
    }

    /// The caller's buckets, sorted by name. One whose name or key is not authentic is an error in its place.
    ///
    /// # Errors
    /// As every call of [`crate::meta::MetaClient`].
    pub async fn buckets(&self) -> Result<Vec<Result<BucketInfo>>> {
        let rows = self.list_rows(None).await?;
        self.keep_scope(&rows).await?;
        let mut buckets: Vec<_> = rows.iter().map(|row| self.open_row(row).map(|opened| opened.info)).collect();
        buckets.sort_by(|a, b| match (a, b) {
            (Ok(a), Ok(b)) => a.name.cmp(&b.name),
            (Ok(_), Err(_)) => std::cmp::Ordering::Less,
            (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
            (Err(_), Err(_)) => std::cmp::Ordering::Equal,
        });
        Ok(buckets)
    }

    /// Opens a bucket by name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an integrity error if its name, key, owner or writer list is not what it was.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        check_bucket_name(name)?;
        let opened = self
            .find_bucket(name)
            .await?
            .ok_or_else(|| Error::NotFound(format!("the bucket {}", shown(name.as_bytes()))))?;
        let own = self.owns(&opened);
        let shown = Some(opened.writers.clone()).filter(|shown| !shown.is_empty());
        let mut writers = self.check_writers(shown, opened.info.id, opened.owner_key, own).await?;
        if self.close_ended_writers(&opened).await {
            writers = self.fetch_writers(opened.info.id, opened.owner_key, own).await?;
        }
        self.memory().check_root_epoch(opened.info.id, opened.root_key.epoch())?;
        let root_key = opened.root_key.derive_directory_key();
        let root_key_history = self.fetch_root_history(&opened).await?;
        let open = OpenBucket {
            id: opened.info.id,
            root: opened.root,
            root_keys: Arc::new(RootKeys::new(root_key, root_key_history)),
            owner_key: opened.owner_key,
            own,
            writers: Mutex::new(Arc::new(writers)),
            name: opened.info.name,
            durable: opened.info.durable,
            sequence: opened.sequence,
        };
        Ok(Bucket { client: self.clone(), open: Arc::new(open), directories: Arc::new(DirectoryCache::default()) })
    }

    /// Deletes a bucket; `with_content` also if there is anything in it, without a trash.
    ///
    /// # Errors
    /// [`Error::NotFound`]; `NOT_EMPTY`.
    pub async fn delete_bucket(&self, name: &str, with_content: bool) -> Result<()> {
        check_bucket_name(name)?;
        let missing = || Error::NotFound(format!("the bucket {}", shown(name.as_bytes())));
        let opened = self.find_bucket(name).await?.ok_or_else(missing)?;
        let request = pb::DeleteBucketRequest { id: bytes_of(opened.info.id), with_content };
        match self.meta.delete_bucket(request).await {
            Ok(_) => Ok(()),
            // It was there a moment ago: a repeated call whose first answer was lost, or somebody else deleted it.
            Err(error) if error.code() == ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a bucket belongs to the account, and its keys are within reach.
    pub(crate) fn owns(&self, opened: &Opened) -> bool {
        self.scope().is_none() && opened.info.owner == self.account()
    }

    /// A bucket's writer list, checked from its beginning and against the one seen before. The account's own must be in the hands of its
    /// identity key: one that was not handed over to it is one that somebody holds back.
    ///
    /// # Errors
    /// [`IntegrityError::Writers`], [`IntegrityError::OwnerKey`].
    pub(crate) async fn fetch_writers(&self, bucket: BucketId, owner_key: [u8; 32], own: bool) -> Result<WriterList> {
        self.check_writers(None, bucket, owner_key, own).await
    }

    /// The same; what was shown already is not asked for, unless it does not do.
    async fn check_writers(
        &self,
        mut shown: Option<Vec<Bytes>>,
        bucket: BucketId,
        owner_key: [u8; 32],
        own: bool,
    ) -> Result<WriterList> {
        for _ in 0..LISTINGS {
            let entries = match shown.take() {
                Some(entries) => entries,
                None => self.meta.get_writers(pb::GetWritersRequest { bucket: bytes_of(bucket) }).await?.entries,
            };
            let writers = WriterList::verify(bucket, &owner_key, &entries).map_err(|_| IntegrityError::Writers)?;
            if writers.is_empty() {
                return Err(IntegrityError::Writers.into());
            }
            // A list that is not believed is not remembered either.
            if !own || writers.owner(&owner_key) == self.secrets().identity.public().signing {
                self.memory().check_bucket(owner_key, &writers)?;
                return Ok(writers);
            }
            // The keys may have been replaced before or after the list was asked for.
            self.renew_keys().await?;
        }
        Err(IntegrityError::OwnerKey.into())
    }

    pub(crate) async fn find_bucket(&self, name: &str) -> Result<Option<Opened>> {
        if self.scope().is_some() {
            return self.find_in_scope(name).await;
        }
        let rows = self.list_rows(Some(name)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let opened = self.open_row(row)?;
        if opened.info.name != name || rows.len() != 1 {
            return Err(IntegrityError::Mismatch("it shows another bucket").into());
        }
        Ok(Some(opened))
    }

    /// An API key of one bucket has no account key to look for names with; it is shown its bucket alone.
    async fn find_in_scope(&self, name: &str) -> Result<Option<Opened>> {
        let rows = self.list_rows(None).await?;
        self.keep_scope(&rows).await?;
        for row in &rows {
            let opened = self.open_row(row)?;
            if opened.info.name == name {
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    pub(crate) fn open_row(&self, row: &pb::Bucket) -> Result<Opened> {
        if let Some(scope) = self.scope() {
            return open_scoped(scope, row);
        }
        let secrets = self.secrets();
        let bucket: BucketId = id(&row.id, "bucket.id")?;
        let owner: AccountId = id(&row.owner, "bucket.owner")?;
        let owner_key: [u8; 32] = array(&row.owner_key, "bucket.owner_key")?;
        let Ok(root_key) = open_root_key(&secrets.key, &row.wrapped_root_key, bucket, &owner_key, self.account())
        else {
            let other = self.memory().owner_key(bucket)?.is_some_and(|known| known != owner_key);
            let error = if other { IntegrityError::OwnerKey } else { IntegrityError::Sealed("bucket's root key") };
            return Err(error.into());
        };
        let name = open_bucket_name(&root_key, bucket, &row.sealed_name)
            .map_err(|_| IntegrityError::Sealed("bucket's name"))?;
        if owner == self.account() {
            // The token is how the server finds it; one of another bucket would swap the two.
            let token = EncryptedName::try_from(&row.name_token[..]).ok();
            let found =
                token.and_then(|token| decrypt_bucket_token(&secrets.key.derive_bucket_token_key(), &token).ok());
            if found.as_deref() != Some(&name[..]) {
                return Err(IntegrityError::Mismatch("it shows a bucket under the name of another").into());
            }
        }
        opened(row, name, root_key, owner_key)
    }

    /// One of the caller's buckets, by its id.
    pub(crate) async fn find_bucket_by_id(&self, bucket: BucketId) -> Result<Opened> {
        let rows = self.list_rows(None).await?;
        self.keep_scope(&rows).await?;
        let row = rows.iter().find(|row| row.id[..] == bucket.0);
        self.open_row(row.ok_or_else(|| Error::NotFound(format!("the bucket {bucket}")))?)
    }

    /// An API key of one bucket gets the bucket's newest root key if the server shows the bucket under a newer one.
    async fn keep_scope(&self, rows: &[pb::Bucket]) -> Result<()> {
        let Some(scope) = self.scope() else { return Ok(()) };
        let newer = |row: &pb::Bucket| {
            row.id[..] == scope.bucket.0 && epoch_of(&row.sealed_name).is_ok_and(|epoch| epoch > scope.root().epoch())
        };
        if !rows.iter().any(newer) {
            return Ok(());
        }
        match self.session.fetch_keys_anew().await?.scope {
            Some(fresh) if fresh.bucket == scope.bucket && fresh.owner == scope.owner => {
                scope.set_root(fresh.root());
                Ok(())
            }
            _ => Err(IntegrityError::Mismatch("the API key is for another bucket by now").into()),
        }
    }

    /// The older keys of the root directory. There are none before the first key change.
    pub(crate) async fn fetch_root_history(&self, opened: &Opened) -> Result<Bytes> {
        if opened.root_key.epoch() == FIRST_EPOCH {
            return Ok(Bytes::new());
        }
        let request = pb::GetInodesRequest { bucket: bytes_of(opened.info.id), ids: vec![bytes_of(opened.root)] };
        let inode = self.meta.get_inodes(request).await?.inodes.pop();
        Ok(required(inode, "inode")?.key_history)
    }
}

/// A bucket's name under the account key.
pub(crate) fn bucket_token(account: &AccountKey, name: &str) -> Result<Bytes> {
    let token =
        encrypt_bucket_token(&account.derive_bucket_token_key(), name.as_bytes()).map_err(|_| unusable(name))?;
    Ok(token.into_bytes().into())
}

/// The bucket of an API key. Its root key and its owner are those sealed for the key, whatever the server says.
fn open_scoped(scope: &Scope, row: &pb::Bucket) -> Result<Opened> {
    let bucket: BucketId = id(&row.id, "bucket.id")?;
    let owner_key: [u8; 32] = array(&row.owner_key, "bucket.owner_key")?;
    if bucket != scope.bucket {
        return Err(IntegrityError::Mismatch("it shows another bucket than the API key's").into());
    }
    if owner_key != scope.owner {
        return Err(IntegrityError::OwnerKey.into());
    }
    let root = scope.root();
    let name =
        open_bucket_name(&root, bucket, &row.sealed_name).map_err(|_| IntegrityError::Sealed("bucket's name"))?;
    opened(row, name, root, owner_key)
}

fn opened(row: &pb::Bucket, name: Vec<u8>, root_key: RootKey, owner_key: [u8; 32]) -> Result<Opened> {
    let info = BucketInfo {
        id: id(&row.id, "bucket.id")?,
        name: String::from_utf8(name).map_err(|_| IntegrityError::Sealed("bucket's name"))?,
        owner: id(&row.owner, "bucket.owner")?,
        durable: row.durable,
        used_bytes: row.used_bytes,
        files: row.files,
        created_ns: row.created_ns,
    };
    let ended = row.ended_writers.iter().map(|key| array(key, "bucket.ended_writers"));
    let ended_writers = ended.collect::<std::result::Result<_, _>>()?;
    let root = id(&row.root, "bucket.root")?;
    Ok(Opened { info, root, root_key, owner_key, sequence: row.sequence, writers: row.writers.clone(), ended_writers })
}

/// A bucket's name is that of a directory of the mount, in UTF-8 and without control characters.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_bucket_name(name: &str) -> Result<()> {
    check_name(name.as_bytes())?;
    if name.chars().any(char::is_control) { Err(unusable(name)) } else { Ok(()) }
}

fn unusable(name: &str) -> Error {
    Error::Invalid {
        code: ErrorCode::InvalidArgument,
        message: format!("a bucket cannot be named {}", shown(name.as_bytes())),
        advice: Some(format!("Use at most {NAME_MAX} bytes, without slashes and control characters.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_the_name_of_a_directory() {
        for good in ["photos", "Über uns", "-rf", "a.b"] {
            check_bucket_name(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a\nb", "a\0b", &"x".repeat(256)] {
            assert!(check_bucket_name(bad).is_err(), "{bad:?}");
        }
    }
}
