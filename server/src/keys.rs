//! Who the server is to its nodes: the key that signs grants and keep-lists, the secret behind bucket tags, the incarnation.
//!
//! The private signing keys are files in the data folder (see [`file`]); their public halves stand in the table `server_key`, so that
//! several servers of one database announce each other's. The tag secret and the incarnation stand in the one row of the table
//! `network`: losing the tag secret would make every stored chunk unreadable, so it shares the fate of the tree.
//!
//! A new key is announced for [`ANNOUNCE_SECONDS`] before it signs anything, because nodes learn of it with a heartbeat. Older keys stay
//! announced until [`ANNOUNCED_MAX`] newer ones are there: what they signed is still on its way. A server that runs sees to it that its own
//! are not among those ([`stay_announced`]).

pub mod file;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cyx_core::exit::ExitReceipt;
use cyx_core::grant::Grant;
use cyx_core::ids::{BucketId, BucketTag, ChunkId, GrantId, ID_LEN, KeyId, LeaseId, NodeId, random_bytes};
use cyx_core::keeplist::{Incarnation, KeepList};
use ed25519_dalek::SigningKey;
use sqlx::Row as _;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::file::KeyFile;
use crate::db::{Conn, Db, DbError};
use crate::time::now_seconds;

/// A key signs nothing before it is this old, unless there is no older one.
pub const ANNOUNCE_SECONDS: u64 = 3600;

const GRANT_ID_CONTEXT: &str = "cyx v1 server grant ids";
/// Most keys that are announced: the newest.
const ANNOUNCED_MAX: usize = 16;
/// How often a server looks whether its keys are still among the newer half of those. So many servers are not started in between.
const STAY_EVERY: Duration = Duration::from_secs(60);

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key file cannot be read or written.
    #[error("the signing key {path}: {error}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// A key file is not one.
    #[error("the signing key {0} is damaged; restore it from a backup, or remove it and let nodes learn a new one")]
    Damaged(std::path::PathBuf),
    /// A folder in which a server has never been started.
    #[error("{}: there is no signing key; only starting the server makes the first one", .0.display())]
    Missing(std::path::PathBuf),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A public key that nodes are told to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub public: [u8; 32],
}

/// The server's keys and its identity.
pub struct ServerKeys {
    /// Never empty, the oldest first.
    signing: Vec<KeyFile>,
    announced: RwLock<Arc<[AnnouncedKey]>>,
    tag_secret: Zeroizing<[u8; 32]>,
    grant_ids: Zeroizing<[u8; 32]>,
    incarnation: Incarnation,
}

impl ServerKeys {
    /// Loads keys and identity, making what is not there yet.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load(db: &Db, data_dir: &Path) -> Result<Self, KeyError> {
        let files = file::load_or_create(data_dir, now_seconds())?;
        let public = files.iter().map(|file| (file.id(), file.key.verifying_key().to_bytes(), file.created)).collect();
        Ok(Self::open(db, files, public).await?)
    }

    /// Loads the identity for a process that signs nothing for nodes: its key is in memory alone, and nobody is told to believe it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn load_silent(db: &Db) -> Result<Self, KeyError> {
        Ok(Self::open(db, vec![KeyFile::random(now_seconds())], Vec::new()).await?)
    }

    async fn open(db: &Db, signing: Vec<KeyFile>, public: Vec<(KeyId, [u8; 32], u64)>) -> Result<Self, DbError> {
        let now = now_seconds();
        let (incarnation, tag_secret, announced) = db
            .write(move |conn| {
                let public = public.clone();
                Box::pin(async move {
                    announce(conn, &public).await?;
                    let (incarnation, tag_secret) = identity(conn, now).await?;
                    Ok::<_, DbError>((incarnation, tag_secret, announced_keys(conn).await?))
                })
            })
            .await?;
        let grant_ids = Zeroizing::new(blake3::derive_key(GRANT_ID_CONTEXT, &tag_secret[..]));
        Ok(Self { signing, announced: RwLock::new(announced.into()), tag_secret, grant_ids, incarnation })
    }

    /// Looks for keys that other servers of the same database announce.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn refresh(&self, conn: &mut Conn) -> Result<(), DbError> {
        let keys = announced_keys(conn).await?;
        *self.announced.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// Makes the keys that sign something, or will, the newest again if others are about to take their place: each server that is started
    /// with an empty folder adds one.
    ///
    /// # Errors
    /// [`DbError`].
    async fn renew(&self, db: &Db) -> Result<(), DbError> {
        let newest = announced_keys(&mut *db.read().await?).await?;
        let (current, safe) = (self.id(), newest.iter().take(ANNOUNCED_MAX / 2));
        let safe: Vec<KeyId> = safe.map(|key| key.id).collect();
        let used = self.signing.iter().map(KeyFile::id).skip_while(|id| *id != current);
        let fading: Vec<KeyId> = used.filter(|id| !safe.contains(id)).collect();
        if fading.is_empty() {
            return Ok(());
        }
        db.write(move |conn| {
            let fading = fading.clone();
            Box::pin(async move {
                let newest: Option<i64> =
                    sqlx::query_scalar("SELECT MAX(created) FROM server_key").fetch_one(&mut *conn).await?;
                // Later than any, whatever clocks say.
                let now = i64::try_from(now_seconds()).unwrap_or(i64::MAX).max(newest.unwrap_or(0).saturating_add(1));
                for id in fading {
                    // Not made anew: whoever deleted it wants it believed no more.
                    sqlx::query("UPDATE server_key SET created = $2 WHERE id = $1")
                        .bind(&id.0[..])
                        .bind(now)
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Id of the key that signs now.
    #[must_use]
    pub fn id(&self) -> KeyId {
        file::current(&self.signing, now_seconds()).id()
    }

    /// The key that something names as its signer; the present one if it names none of ours.
    fn signer(&self, id: KeyId) -> &SigningKey {
        let named = self.signing.iter().find(|file| file.id() == id);
        &named.unwrap_or_else(|| file::current(&self.signing, now_seconds())).key
    }

    /// The keys that nodes are to believe.
    #[must_use]
    pub fn announced(&self) -> Arc<[AnnouncedKey]> {
        Arc::clone(&self.announced.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which life of the database this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What `node` knows `bucket` by: `BLAKE3-keyed(tag secret, node ‖ bucket)[..16]`.
    #[must_use]
    pub fn tag(&self, node: NodeId, bucket: BucketId) -> BucketTag {
        BucketTag(keyed(&self.tag_secret, &node.0, &bucket.0))
    }

    /// The id of the store grant that a lease gave for a node, so that a receipt can be held against the lease without keeping grants.
    #[must_use]
    pub fn store_grant_id(&self, lease: LeaseId, node: NodeId) -> GrantId {
        GrantId(keyed(&self.grant_ids, &lease.0, &node.0))
    }

    /// Signs a grant with the key it names, which was [`Self::id`] a moment ago.
    #[must_use]
    pub fn sign_grant(&self, grant: &Grant) -> Vec<u8> {
        grant.sign(self.signer(grant.key))
    }

    /// Signs an exit receipt with the key it names, which was [`Self::id`] a moment ago.
    #[must_use]
    pub fn sign_exit(&self, receipt: &ExitReceipt) -> Vec<u8> {
        receipt.sign(self.signer(receipt.key))
    }

    /// Signs a keep-list with the key it names, which was [`Self::id`] a moment ago.
    #[must_use]
    pub fn sign_keep_list(&self, list: &KeepList, ids: &[ChunkId]) -> Vec<u8> {
        list.sign(ids, self.signer(list.key))
    }
}

/// Keeps a server's keys announced until it is to stop.
pub async fn stay_announced(db: Db, keys: Arc<ServerKeys>, stop: CancellationToken) {
    loop {
        if let Err(error) = keys.renew(&db).await {
            tracing::warn!(%error, "cannot see whether nodes are told of this server's keys");
        }
        if tokio::time::timeout(STAY_EVERY, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

fn keyed(key: &[u8; 32], first: &[u8; ID_LEN], second: &[u8; ID_LEN]) -> [u8; ID_LEN] {
    let mut input = [0; 2 * ID_LEN];
    input[..ID_LEN].copy_from_slice(first);
    input[ID_LEN..].copy_from_slice(second);
    let mut out = [0; ID_LEN];
    out.copy_from_slice(&blake3::keyed_hash(key, &input).as_bytes()[..ID_LEN]);
    out
}

/// Draws a new incarnation and holds keep-lists back until an administrator resumes them: what a restored database does not know may
/// still be somebody's acknowledged data.
///
/// # Errors
/// [`DbError`].
pub async fn new_incarnation(conn: &mut Conn) -> Result<Incarnation, DbError> {
    let (old, _) = identity(conn, now_seconds()).await?;
    // Later than any before it even if the clock went back, because nodes and clients take the later one for the newer.
    let time = now_seconds().max(old.time + 1);
    let incarnation = Incarnation { time, random: u64::from_le_bytes(random_bytes()) };
    sqlx::query("UPDATE network SET incarnation = $1, held = 1 WHERE id = 1")
        .bind(&incarnation.to_bytes()[..])
        .execute(conn)
        .await?;
    Ok(incarnation)
}

/// Reads the row of the network, making it in a new database.
async fn identity(conn: &mut Conn, now: u64) -> Result<(Incarnation, Zeroizing<[u8; 32]>), DbError> {
    let first = Incarnation { time: now, random: u64::from_le_bytes(random_bytes()) };
    let secret: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes());
    sqlx::query(
        "INSERT INTO network (id, incarnation, tag_secret, keep_list_sequence, held) VALUES (1, $1, $2, 0, 0) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&first.to_bytes()[..])
    .bind(&secret[..])
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query("SELECT incarnation, tag_secret FROM network WHERE id = 1").fetch_one(conn).await?;
    let incarnation = row.try_get::<Vec<u8>, _>(0)?;
    let incarnation = incarnation.try_into().map_err(|_| DbError::Corrupt("network.incarnation"))?;
    let stored = Zeroizing::new(row.try_get::<Vec<u8>, _>(1)?);
    let mut secret = Zeroizing::new([0; 32]);
    if stored.len() != secret.len() {
        return Err(DbError::Corrupt("network.tag_secret"));
    }
    secret.copy_from_slice(&stored);
    Ok((Incarnation::from_bytes(incarnation), secret))
}

async fn announce(conn: &mut Conn, keys: &[(KeyId, [u8; 32], u64)]) -> Result<(), DbError> {
    for (id, public, created) in keys {
        sqlx::query("INSERT INTO server_key (id, public_key, created) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
            .bind(&id.0[..])
            .bind(&public[..])
            .bind(i64::try_from(*created).unwrap_or(i64::MAX))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn announced_keys(conn: &mut Conn) -> Result<Vec<AnnouncedKey>, DbError> {
    let rows = sqlx::query("SELECT public_key FROM server_key ORDER BY created DESC, id LIMIT $1")
        .bind(i64::try_from(ANNOUNCED_MAX).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let public: [u8; 32] =
                row.try_get::<Vec<u8>, _>(0)?.try_into().map_err(|_| DbError::Corrupt("server_key.public_key"))?;
            Ok(AnnouncedKey { id: cyx_core::sign::key_id(&public), public })
        })
        .collect()
}

#[cfg(test)]
mod tests;
