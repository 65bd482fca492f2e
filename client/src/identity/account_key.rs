//! A new account key, in place of one that somebody may have kept: on a device that was lost, in an API key for all buckets.
//!
//! ```text
//! account key, identity keys, recovery words: new
//!   ├─ under the new key: identity keys, bucket names, root keys, what opens API keys of one bucket for their owner
//!   ├─ the new key under: the password, the new words, this device's secret
//!   ├─ the old key under the new one: what this machine sealed under it stays readable
//!   └─ each bucket's writer list: handed over to the new identity key, signed by the old one
//! ```
//! Everything goes to the server in one call, which does all of it or nothing. If something of the account changed meanwhile the server
//! says so, and the call is made again from what is there now, with the same keys. A lost answer does no harm: the call can be
//! repeated, and if this program ends before it hears, the next one finds the new key through this device's secret.
//!
//! The root keys themselves stay. Who had the old account key may have read them: [`Client::rotate_bucket`] replaces those.

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, SessionId};
use cyx_core::writers::WriterAction;
use cyx_crypto::account::{AccountSecrets, PasswordSecrets, make_password, make_recovery};
use cyx_crypto::identity::IdentityKeys;
use cyx_crypto::keys::AccountKey;
use cyx_crypto::wrap::{AccountKek, BucketAccess, extend_account_history, seal_account_key, seal_root_key};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::backoff::Backoff;
use crate::buckets::bucket_token;
use crate::client::Client;
use crate::error::{Error, IntegrityError, Result};
use crate::identity::factors::Proof;
use crate::identity::messages::NewPassword;
use crate::identity::rest::Repeat;
use crate::identity::{blocking, stretch_error, stretch_for};
use crate::keys::AccountKeys;
use crate::memory::StretchMemory;
use crate::secret::{Secret32, base64_bytes};

const PATH: &str = "/api/auth/account-key";
/// Times that the call is made again because something changed meanwhile: a mount may be writing.
const TRIES: u32 = 20;
/// Times that it is made without an answer.
const ATTEMPTS: u32 = 4;

/// A new account key that does not count yet.
pub struct NewAccountKey {
    secrets: AccountSecrets,
    words: Zeroizing<String>,
    by_words: Vec<u8>,
    history: Vec<u8>,
    /// The epoch that it replaces.
    replaces: u32,
}

/// An account key that was replaced.
#[derive(Debug)]
pub struct ReplacedKey {
    /// The new key's epoch.
    pub epoch: u32,
    /// What this machine could not keep or get of it. The new key counts all the same, and the next program gets it.
    pub unkept: Option<Error>,
}

#[derive(Serialize)]
struct BucketBody {
    id: BucketId,
    #[serde(serialize_with = "base64_bytes::serialize")]
    replaces: Vec<u8>,
    #[serde(serialize_with = "base64_bytes::serialize")]
    name_token: Vec<u8>,
    #[serde(serialize_with = "base64_bytes::serialize")]
    wrapped_root_key: Vec<u8>,
    #[serde(serialize_with = "optional", skip_serializing_if = "Option::is_none")]
    hand_over: Option<Vec<u8>>,
}

fn optional<S: serde::Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    base64_bytes::serialize(bytes.as_deref().unwrap_or_default(), serializer)
}

#[derive(Serialize)]
struct ApiKeyBody {
    id: SessionId,
    #[serde(serialize_with = "base64_bytes::serialize")]
    owner_wrapped_kek: Vec<u8>,
}

#[derive(Serialize)]
struct Request<'a> {
    /// Of the password, which stays.
    auth_key: Secret32,
    expected_epoch: u32,
    #[serde(serialize_with = "base64_bytes::serialize")]
    account_key_history: &'a [u8],
    new: NewPassword,
    #[serde(serialize_with = "base64_bytes::serialize")]
    recovery_wrapped_account_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    device_wrapped_account_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    signing_public_key: Vec<u8>,
    #[serde(serialize_with = "base64_bytes::serialize")]
    exchange_public_key: Vec<u8>,
    #[serde(serialize_with = "base64_bytes::serialize")]
    wrapped_private_keys: Vec<u8>,
    buckets: Vec<BucketBody>,
    api_keys: Vec<ApiKeyBody>,
    #[serde(flatten)]
    proof: Proof<'a>,
}

#[derive(Deserialize)]
struct Response {
    account_key_epoch: u32,
}

/// What is sent again from try to try: stretching a password is slow.
struct Wrapped {
    auth_key: Secret32,
    password: PasswordSecrets,
    by_device: Vec<u8>,
}

impl NewAccountKey {
    /// The new recovery words: to be shown once, and before the key counts, so that they are noted by then.
    #[must_use]
    pub fn words(&self) -> &Zeroizing<String> {
        &self.words
    }
}

impl Client {
    /// Makes an account key, identity keys and recovery words. Nothing changes yet.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for an API key; integrity errors; network errors.
    pub async fn make_account_key(&self) -> Result<NewAccountKey> {
        // Only a person's own session may see the list.
        self.session.devices().await?;
        self.renew_keys().await?;
        let present = self.account_keys();
        let secrets = AccountSecrets { key: AccountKey::make(), identity: IdentityKeys::make() };
        let history =
            extend_account_history(&present.history, self.account(), &present.secrets.key, present.epoch, &secrets.key)
                .map_err(|_| IntegrityError::Sealed("account keys of before"))?;
        let recovery = make_recovery(&secrets.key);
        let (words, by_words) = (recovery.words, recovery.wrapped_account_key);
        Ok(NewAccountKey { secrets, words, by_words, history, replaces: present.epoch })
    }

    /// Replaces the account key. All other sessions end, and API keys for all buckets.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS` if the password is wrong; `OTP_INVALID` (the confirmation can be tried again), `OTP_EXPIRED`;
    /// [`Error::Conflict`] if the account's buckets change faster than they are wrapped anew, or if somebody else replaced the key.
    /// The key was not replaced, unless [`Error::leaves_open`] says that nobody knows.
    pub async fn replace_account_key(
        &self,
        new: &NewAccountKey,
        password: &str,
        proof: Proof<'_>,
    ) -> Result<ReplacedKey> {
        let present = self.account_keys();
        if present.epoch != new.replaces {
            return Err(Error::Conflict("the account key".into()));
        }
        let email = self.identity().await?.email;
        let (login, _) = stretch_for(self.session.rest(), self.session.home(), &email, password).await?;
        let (secret, key) = (Zeroizing::new(password.as_bytes().to_vec()), new.secrets.key.clone());
        let made = blocking(move || make_password(&secret, &key)).await?.map_err(|error| stretch_error(&error))?;
        let params = made.params;
        let device = self.session.device_key()?;
        let wrapped = Wrapped {
            auth_key: Secret32::new(*login.auth_key),
            password: made,
            by_device: seal_account_key(AccountKek::Device(&device), &new.secrets.key),
        };
        let epoch = self.send_account_key(new, &present, &wrapped, proof).await?;
        // From here on nothing takes it back, so nothing that fails may look as if the key had not been replaced.
        let kept = StretchMemory::new(self.session.home()).remember(self.gateway().as_str(), &email, params);
        let renewed = self.renew_keys().await.map(drop);
        Ok(ReplacedKey { epoch, unkept: renewed.and(kept).err() })
    }

    async fn send_account_key(
        &self,
        new: &NewAccountKey,
        present: &AccountKeys,
        wrapped: &Wrapped,
        proof: Proof<'_>,
    ) -> Result<u32> {
        let mut unheard = None;
        let error = match self.try_account_key(new, present, wrapped, proof, &mut unheard).await {
            Ok(epoch) => return Ok(epoch),
            Err(error) => error,
        };
        if unheard.is_none() && !error.leaves_open() {
            return Err(error);
        }
        // It may have arrived all the same, whatever was said of a repetition.
        match self.session.fetch_keys().await {
            Ok(keys) if keys.account().history == new.history => Ok(keys.account().epoch),
            Ok(_) => Err(error),
            Err(_) => Err(unheard.unwrap_or(error)),
        }
    }

    /// Makes the call until it is answered. The last time that it was not is `unheard`.
    async fn try_account_key(
        &self,
        new: &NewAccountKey,
        present: &AccountKeys,
        wrapped: &Wrapped,
        proof: Proof<'_>,
        unheard: &mut Option<Error>,
    ) -> Result<u32> {
        let mut backoff = Backoff::new(ATTEMPTS);
        for _ in 0..TRIES {
            let request = self.rewrap(new, present, wrapped, proof).await?;
            let sent: Result<Response> = loop {
                match self.session.send_proof(Method::POST, PATH, Some(&request), Repeat::IfNotSent).await {
                    Err(error) if error.is_transient() => {
                        let again = backoff.wait().await;
                        let error = unheard.insert(error);
                        if !again {
                            break Err(error.repeated());
                        }
                    }
                    sent => break sent,
                }
            };
            match sent {
                Ok(answer) => return Ok(answer.account_key_epoch),
                Err(error) if error.code() == ErrorCode::Retry => {}
                Err(error) if error.code() == ErrorCode::StaleKey => break,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict("the account's buckets".into()))
    }

    /// What is under the old key now, under the new one.
    async fn rewrap<'a>(
        &self,
        new: &'a NewAccountKey,
        present: &AccountKeys,
        wrapped: &'a Wrapped,
        proof: Proof<'a>,
    ) -> Result<Request<'a>> {
        let identity = new.secrets.identity.public();
        let mut buckets = Vec::new();
        for row in self.list_rows(None).await? {
            let opened = self.open_row(&row)?;
            let (bucket, owner) = (opened.info.id, opened.owner_key);
            let hand_over = if self.owns(&opened) {
                let writers = self.fetch_writers(bucket, owner, true).await?;
                let entry = writers.next(WriterAction::HandOver, identity.signing, opened.sequence);
                Some(present.secrets.identity.sign_writer(&entry))
            } else {
                None
            };
            buckets.push(BucketBody {
                id: bucket,
                replaces: row.wrapped_root_key.to_vec(),
                name_token: bucket_token(&new.secrets.key, &opened.info.name)?.to_vec(),
                wrapped_root_key: seal_root_key(&new.secrets.key, &opened.root_key, bucket, &owner, self.account()),
                hand_over,
            });
        }
        Ok(Request {
            auth_key: wrapped.auth_key.clone(),
            expected_epoch: new.replaces,
            account_key_history: &new.history,
            new: NewPassword::from(&wrapped.password),
            recovery_wrapped_account_key: &new.by_words,
            device_wrapped_account_key: &wrapped.by_device,
            wrapped_private_keys: new.secrets.identity.seal(&new.secrets.key),
            api_keys: self.rewrap_api_key_keks(&present.secrets.key, &new.secrets.key, &buckets).await?,
            signing_public_key: identity.signing.to_vec(),
            exchange_public_key: identity.exchange.to_vec(),
            buckets,
            proof,
        })
    }

    /// What opens the API keys of single buckets for their owner. Keys of programs that kept nothing for this go on without.
    async fn rewrap_api_key_keks(
        &self,
        older: &AccountKey,
        newer: &AccountKey,
        buckets: &[BucketBody],
    ) -> Result<Vec<ApiKeyBody>> {
        let mut with_keys: Vec<BucketId> = self.session.api_keys().await?.iter().filter_map(|key| key.bucket).collect();
        with_keys.sort_unstable();
        with_keys.dedup();
        let mut rewrapped = Vec::new();
        for bucket in with_keys.into_iter().filter(|id| buckets.iter().any(|bucket| bucket.id == *id)) {
            for (id, kek) in self.session.api_key_keks(bucket).await? {
                let owner_wrapped_kek = BucketAccess::reseal_kek_for_owner(older, newer, id, &kek)
                    .map_err(|_| IntegrityError::Sealed("keys of an API key"))?;
                rewrapped.push(ApiKeyBody { id, owner_wrapped_kek });
            }
        }
        Ok(rewrapped)
    }
}
