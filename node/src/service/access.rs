//! May this connection do that? Server keys, grants and possession, all checked without asking anyone.
//!
//! Verifying a signature costs more than anything else about a small request, so grants that were verified once are
//! remembered by their hash. Their time is checked on every use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cyx_core::deletion::{DeletionError, DeletionOrder};
use cyx_core::error::ErrorCode;
use cyx_core::grant::{CLOCK_SKEW_SECONDS, Grant, GrantError, Operations};
use cyx_core::ids::{BucketTag, KeyId, NodeId};
use cyx_core::keeplist::{KeepList, KeepListError};
use cyx_core::sign::{self, Purpose};
use cyx_proto::status::status;
use thiserror::Error;
use tonic::Status;

use super::listen::Connection;

/// Grants remembered.
const REMEMBERED_MAX: usize = 4096;
/// Most bytes of a grant.
const GRANT_LEN_MAX: usize = 8192;

/// Why something is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The grant is not honoured.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The possession of the grant's session key was not proved on this connection.
    #[error("prove possession of the session key on this connection first")]
    NotProven,
    /// The grant does not allow this operation.
    #[error("the grant does not allow this operation")]
    Operation,
    /// The grant does not cover this bucket.
    #[error("the grant does not cover this bucket")]
    Bucket,
    /// The signature over the challenge is wrong.
    #[error("the proof of possession is not valid")]
    BadProof,
}

impl AccessError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Grant(GrantError::OutOfTime) => ErrorCode::TokenExpired,
            Self::Grant(GrantError::Malformed(_)) => ErrorCode::InvalidArgument,
            Self::NotProven | Self::BadProof => ErrorCode::InvalidCredentials,
            Self::Grant(_) | Self::Operation | Self::Bucket => ErrorCode::PermissionDenied,
        }
    }
}

impl From<AccessError> for Status {
    fn from(error: AccessError) -> Self {
        super::count_error(error.code());
        status(error.code(), error.to_string())
    }
}

/// Checks grants, orders and lists for one node.
pub struct Access {
    node: NodeId,
    keys: RwLock<HashMap<KeyId, [u8; 32]>>,
    grants: Mutex<HashMap<[u8; 32], Arc<Grant>>>,
}

impl Access {
    /// For this node, knowing these server keys.
    #[must_use]
    pub fn new(node: NodeId, keys: &[[u8; 32]]) -> Self {
        let access = Self { node, keys: RwLock::default(), grants: Mutex::default() };
        access.set_server_keys(keys);
        access
    }

    /// Replaces the server keys. Grants signed by a key that is no longer listed end at once.
    pub fn set_server_keys(&self, keys: &[[u8; 32]]) {
        let keys: HashMap<_, _> = keys.iter().map(|key| (sign::key_id(key), *key)).collect();
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if *known != keys {
            *known = keys;
            drop(known);
            self.grants.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn server_key(&self, id: KeyId) -> Option<[u8; 32]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// Checks a signature over a connection's challenge and remembers the session key with the connection.
    ///
    /// # Errors
    /// [`AccessError::BadProof`].
    pub fn prove(&self, connection: &Connection, session_key: [u8; 32], signature: &[u8]) -> Result<(), AccessError> {
        let body = sign::possession_body(self.node, connection.challenge());
        sign::verify(&session_key, Purpose::Possession, &body, signature).map_err(|_| AccessError::BadProof)?;
        connection.prove(session_key);
        Ok(())
    }

    /// The grant, if it is honoured on this connection for this operation now.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn grant(
        &self,
        connection: &Connection,
        bytes: &[u8],
        operation: Operations,
        now: u64,
    ) -> Result<Arc<Grant>, AccessError> {
        if bytes.len() > GRANT_LEN_MAX {
            return Err(GrantError::Malformed(cyx_core::wire::DecodeError::Invalid("length")).into());
        }
        let hash = *blake3::hash(bytes).as_bytes();
        let known = self.grants.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        let grant = match known {
            Some(grant) => grant,
            None => {
                let grant = Arc::new(Grant::verify(bytes, |id| self.server_key(id), self.node, now)?);
                self.remember(hash, &grant, now);
                grant
            }
        };
        in_time(&grant, now)?;
        if !connection.has_proven(&grant.session_key) {
            return Err(AccessError::NotProven);
        }
        if !grant.operations.allows(operation) {
            return Err(AccessError::Operation);
        }
        Ok(grant)
    }

    fn remember(&self, hash: [u8; 32], grant: &Arc<Grant>, now: u64) {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= REMEMBERED_MAX {
            grants.retain(|_, grant| now < grant.expires);
        }
        if grants.len() >= REMEMBERED_MAX {
            grants.clear();
        }
        grants.insert(hash, Arc::clone(grant));
    }

    /// A server's order to delete, if it is to be followed.
    ///
    /// # Errors
    /// [`DeletionError`].
    pub fn deletion(&self, bytes: &[u8], now: u64) -> Result<DeletionOrder, DeletionError> {
        DeletionOrder::verify(bytes, |id| self.server_key(id), self.node, now)
    }

    /// A server's keep-list, if it is to be followed.
    ///
    /// # Errors
    /// [`KeepListError`].
    pub fn keep_list(
        &self,
        bytes: &[u8],
        ids: &[u8],
    ) -> Result<(KeepList, Vec<cyx_core::ids::ChunkId>), KeepListError> {
        KeepList::verify(bytes, ids, |id| self.server_key(id), self.node)
    }
}

/// Whether a verified grant is valid now.
///
/// # Errors
/// [`GrantError::OutOfTime`].
pub fn in_time(grant: &Grant, now: u64) -> Result<(), AccessError> {
    if now.saturating_add(CLOCK_SKEW_SECONDS) < grant.not_before || now >= grant.expires {
        return Err(GrantError::OutOfTime.into());
    }
    Ok(())
}

/// Whether a grant covers a bucket.
///
/// # Errors
/// [`AccessError::Bucket`].
pub fn covers(grant: &Grant, tag: BucketTag) -> Result<(), AccessError> {
    if grant.tags.contains(&tag) { Ok(()) } else { Err(AccessError::Bucket) }
}
