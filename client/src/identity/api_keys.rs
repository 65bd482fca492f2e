//! API keys: for scripts and machines, of the whole account or of one bucket.
//!
//! A key of the whole account holds what a device holds. A key of one bucket holds that bucket's root key and an identity of its
//! own, which its owner puts on the bucket's writer list if it may write; the account key is out of its reach.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, SessionId};
use cyx_core::writers::WriterAction;
use cyx_crypto::apikey::ApiToken;
use cyx_crypto::keys::RootKey;
use cyx_crypto::wrap::{AccountKek, BucketAccess, seal_account_key};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::buckets::Opened;
use crate::client::Client;
use crate::error::{Error, IntegrityError, Result};
use crate::identity::factors::Proof;
use crate::identity::rest::{Ignored, Repeat};
use crate::secret::base64_bytes;
use crate::session::Session;
use crate::tree::path::shown;

/// Lets a key read.
pub const STORAGE_READ: &str = "storage:read";
/// Lets a key change and store.
pub const STORAGE_WRITE: &str = "storage:write";
/// How often an entry of a writer list is made again because somebody else was faster.
const TRIES: u32 = 5;

/// What a new API key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Tells people what it is for.
    pub name: String,
    /// Any of [`STORAGE_READ`] and [`STORAGE_WRITE`].
    pub permissions: Vec<String>,
    /// The only bucket it sees; `None`: all.
    pub bucket: Option<String>,
    /// When it ends, Unix seconds; `None`: as late as the server chooses, a year.
    pub expires_at: Option<u64>,
}

impl NewApiKey {
    fn check(&self) -> Result<()> {
        let known = |permission: &String| [STORAGE_READ, STORAGE_WRITE].contains(&permission.as_str());
        if !self.permissions.is_empty() && self.permissions.iter().all(known) {
            return Ok(());
        }
        Err(Error::invalid(format!("an API key has the permissions {STORAGE_READ}, {STORAGE_WRITE} or both")))
    }
}

fn no_bucket(name: &str) -> Error {
    Error::NotFound(format!("the bucket {}", shown(name.as_bytes())))
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names it.
    pub id: SessionId,
    /// Tells people what it is for.
    pub name: String,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The only bucket it sees, if there is only one.
    pub bucket: Option<BucketId>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it ends, Unix seconds.
    pub expires_at: u64,
    /// When it was last used, RFC 3339.
    pub last_used_at: Option<String>,
    /// From where; empty if it was never used.
    #[serde(default)]
    pub last_address: String,
    /// With which key it signs its own commits, in base64.
    #[serde(default, skip_serializing)]
    signing_public_key: Option<String>,
}

/// A new API key and its token, which is shown once.
pub struct CreatedApiKey {
    /// The key.
    pub key: ApiKey,
    /// The whole token.
    pub token: Zeroizing<String>,
}

#[derive(Serialize)]
struct CreateRequest<'a> {
    id: SessionId,
    name: &'a str,
    permissions: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<BucketId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(serialize_with = "base64_bytes::serialize")]
    auth_hash: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    wrapped_keys: &'a [u8],
    #[serde(serialize_with = "optional_bytes", skip_serializing_if = "Option::is_none")]
    owner_wrapped_kek: Option<&'a [u8]>,
    #[serde(serialize_with = "optional_bytes", skip_serializing_if = "Option::is_none")]
    signing_public_key: Option<[u8; 32]>,
    account_key_epoch: u32,
    #[serde(flatten)]
    proof: Proof<'a>,
}

fn optional_bytes<S: serde::Serializer, B: AsRef<[u8]>>(bytes: &Option<B>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => base64_bytes::serialize(bytes.as_ref(), serializer),
        None => serializer.serialize_none(),
    }
}

#[derive(Deserialize)]
struct ApiKeys {
    api_keys: Vec<ApiKey>,
}

#[derive(Deserialize)]
struct BucketKeys {
    api_keys: Vec<BucketKey>,
}

/// An API key that is for one bucket, with what lets its owner renew what it may open.
#[derive(Deserialize)]
struct BucketKey {
    id: SessionId,
    name: String,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    wrapped_keys: Vec<u8>,
    owner_wrapped_kek: Option<String>,
}

/// What the server gets of a new key beside its name and rights.
struct Sealed {
    bucket: Option<BucketId>,
    keys: Vec<u8>,
    owner_kek: Option<Vec<u8>>,
    signer: Option<[u8; 32]>,
}

impl Session {
    /// The account's API keys that are still good.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`], network errors.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        Ok(self.get::<ApiKeys>("/api/auth/api-keys").await?.api_keys)
    }

    /// What opens the API keys of one bucket for their owner, of those that have it.
    pub(crate) async fn api_key_keks(&self, bucket: BucketId) -> Result<Vec<(SessionId, Vec<u8>)>> {
        let keys = self.get::<BucketKeys>(&format!("/api/auth/api-keys/buckets/{bucket}")).await?.api_keys;
        let broken = || IntegrityError::Sealed("keys of an API key").into();
        let kek = |key: BucketKey| Some(decode(&key.owner_wrapped_kek?).map(|kek| (key.id, kek)).ok_or_else(broken));
        keys.into_iter().filter_map(kek).collect()
    }
}

impl Client {
    /// Checks that an API key can be made at all, before anybody is asked for a password and a code.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the bucket; [`Error::Invalid`] for permissions that do not exist; `PERMISSION_DENIED` if an API key asks.
    pub async fn check_new_api_key(&self, new: &NewApiKey) -> Result<()> {
        // Only a person's own session may see the list.
        self.session.api_keys().await?;
        new.check()?;
        match &new.bucket {
            None => Ok(()),
            Some(name) => self.find_bucket(name).await?.map(drop).ok_or_else(|| no_bucket(name)),
        }
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// As [`Self::check_new_api_key`]; `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`; what else the server refuses.
    pub async fn create_api_key(&self, new: &NewApiKey, proof: Proof<'_>) -> Result<CreatedApiKey> {
        new.check()?;
        let may_write = new.permissions.iter().any(|permission| permission == STORAGE_WRITE);
        let token = ApiToken::make();
        let account = self.account_keys();
        let (sealed, opened) = match &new.bucket {
            None => {
                let device = token.device_key();
                let keys = seal_account_key(AccountKek::Device(&device), &account.secrets.key);
                (Sealed { bucket: None, keys, owner_kek: None, signer: None }, None)
            }
            Some(name) => {
                let opened = self.find_bucket(name).await?.ok_or_else(|| no_bucket(name))?;
                let access = BucketAccess::make(opened.info.id, opened.owner_key, opened.root_key.clone());
                let signer = may_write.then(|| access.secrets.identity.public().signing);
                let device = token.device_key();
                let keys = access.seal(&device, token.id());
                let owner_kek = Some(BucketAccess::seal_kek_for_owner(&account.secrets.key, &device, token.id()));
                (Sealed { bucket: Some(opened.info.id), keys, owner_kek, signer }, Some(opened))
            }
        };
        let request = CreateRequest {
            id: token.id(),
            name: &new.name,
            permissions: &new.permissions,
            bucket: sealed.bucket,
            expires_at: new.expires_at,
            auth_hash: &token.auth_hash(),
            wrapped_keys: &sealed.keys,
            owner_wrapped_kek: sealed.owner_kek.as_deref(),
            signing_public_key: sealed.signer,
            account_key_epoch: account.epoch,
            proof,
        };
        let key: ApiKey =
            self.session.send_proof(Method::POST, "/api/auth/api-keys", Some(&request), Repeat::IfNotSent).await?;
        // Nobody has the token yet, so the key never finds itself unable to write. First the key, because a mistyped code must not leave
        // traces in the writer list.
        if let (Some(signer), Some(opened)) = (sealed.signer, &opened)
            && let Err(error) = self.append_writer(opened, WriterAction::Add, signer).await
        {
            if let Err(error) = self.revoke_api_key(key.id).await {
                tracing::warn!(%error, "an API key that was made in part was not revoked");
            }
            return Err(error);
        }
        Ok(CreatedApiKey { key, token: token.to_text() })
    }

    /// Revokes an API key: its tokens end, the server forgets the keys it kept for it, and its signatures count no longer.
    ///
    /// # Errors
    /// `NOT_FOUND` if the account has no such key.
    pub async fn revoke_api_key(&self, id: SessionId) -> Result<()> {
        let key = self.session.api_keys().await?.into_iter().find(|key| key.id == id);
        let path = format!("/api/auth/api-keys/{id}");
        let _: Ignored = self.session.send(Method::DELETE, &path, None::<&()>, Repeat::IfNotSent).await?;
        let Some((bucket, signer)) = key.and_then(|key| key.bucket.zip(key.signing_public_key)) else { return Ok(()) };
        let signer: [u8; 32] = decode_key(&signer)?;
        let rows = self.list_rows(None).await?;
        let Some(row) = rows.iter().find(|row| row.id[..] == bucket.0) else { return Ok(()) };
        let opened = self.open_row(row)?;
        self.append_writer(&opened, WriterAction::Remove, signer).await
    }

    /// What the API keys of a bucket may open, with another root key in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for keys that were made by programs which kept nothing for this; an integrity error if the server changed
    /// what it keeps.
    pub(crate) async fn rewrap_api_keys(&self, opened: &Opened, root: &RootKey) -> Result<Vec<pb::RotatedApiKey>> {
        let path = format!("/api/auth/api-keys/buckets/{}", opened.info.id);
        let keys = self.session.get::<BucketKeys>(&path).await?.api_keys;
        let mut rewrapped = Vec::with_capacity(keys.len());
        let mut in_the_way = Vec::new();
        for key in keys {
            let Some(owner_kek) = &key.owner_wrapped_kek else {
                in_the_way.push(key.name);
                continue;
            };
            let broken = || IntegrityError::Sealed("keys of an API key");
            let owner_kek = decode(owner_kek).ok_or_else(broken)?;
            let account = self.secrets();
            let opened_key = BucketAccess::open_as_owner(&account.key, key.id, &owner_kek, &key.wrapped_keys);
            let (mut access, kek) = opened_key.map_err(|_| broken())?;
            if access.bucket != opened.info.id || access.owner != opened.owner_key {
                return Err(IntegrityError::Mismatch("an API key is for another bucket").into());
            }
            access.root = root.clone();
            let wrapped_keys = access.seal_under(&kek, key.id).into();
            rewrapped.push(pb::RotatedApiKey { id: bytes_of(key.id), wrapped_keys });
        }
        if in_the_way.is_empty() {
            return Ok(rewrapped);
        }
        Err(Error::Invalid {
            code: ErrorCode::Conflict,
            message: format!("the API keys {} cannot be given the bucket's next key", in_the_way.join(", ")),
            advice: Some("Revoke them with `cyx apikey revoke` and make new ones, then try again.".to_owned()),
        })
    }

    /// Takes the writers off a bucket's list whose right to write has ended, such as those of API keys that expired. Whether that
    /// changed the list; what does not work now is done on another visit.
    pub(crate) async fn close_ended_writers(&self, opened: &Opened) -> bool {
        let mut closed = false;
        if self.scope().is_some() || opened.info.owner != self.account() {
            return closed;
        }
        for writer in &opened.ended_writers {
            // A server could name any key; the owner's own stays.
            if *writer == self.secrets().identity.public().signing {
                continue;
            }
            match self.append_writer(opened, WriterAction::Remove, *writer).await {
                Ok(()) => closed = true,
                Err(error) => tracing::debug!(%error, "a writer whose right has ended stays on its bucket's list"),
            }
        }
        closed
    }

    /// Adds a key to a bucket's writer list or removes it, unless that is done already.
    async fn append_writer(&self, opened: &Opened, action: WriterAction, key: [u8; 32]) -> Result<()> {
        let bucket = opened.info.id;
        for _ in 0..TRIES {
            let writers = self.fetch_writers(bucket, opened.owner_key, self.owns(opened)).await?;
            let listed = writers.may_sign_now(cyx_core::sign::key_id(&key)).is_some();
            if listed == (action == WriterAction::Add) {
                return Ok(());
            }
            let sequence = self.sequence_of(bucket).await?.unwrap_or(opened.sequence);
            let entry = self.secrets().identity.sign_writer(&writers.next(action, key, sequence));
            let request = pb::AppendWriterRequest { bucket: bytes_of(bucket), entry: entry.into() };
            match self.meta.append_writer(request).await {
                Ok(_) => return self.fetch_writers(bucket, opened.owner_key, self.owns(opened)).await.map(drop),
                Err(error) if error.code() == ErrorCode::Retry => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict("the bucket's writer list".into()))
    }

    /// The number of a bucket's newest change.
    async fn sequence_of(&self, bucket: BucketId) -> Result<Option<u64>> {
        let answer = self.meta.list_buckets(pb::ListBucketsRequest::default()).await?;
        Ok(answer.buckets.iter().find(|row| row.id[..] == bucket.0).map(|row| row.sequence))
    }
}

fn decode_key(text: &str) -> Result<[u8; 32]> {
    let key = decode(text).and_then(|bytes| bytes.try_into().ok());
    Ok(key.ok_or(IntegrityError::Mismatch("the writer key of an API key is none"))?)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
