//! Bodies of the identity part's REST calls. Binary fields are standard base64 with padding.

use cyx_core::auth::StretchParams;
use cyx_core::ids::{AccountId, SessionId};
use cyx_crypto::account::PasswordSecrets;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::{Secret32, base64_bytes};

#[derive(Serialize)]
pub(super) struct RegisterRequest<'a> {
    pub(super) username: &'a str,
    pub(super) email: &'a str,
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) salt: &'a [u8],
    pub(super) params: StretchParams,
    pub(super) auth_key: Secret32,
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) wrapped_account_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) recovery_wrapped_account_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) signing_public_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) exchange_public_key: &'a [u8],
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) wrapped_private_keys: &'a [u8],
}

#[derive(Serialize)]
pub(super) struct PreloginRequest<'a> {
    pub(super) email: &'a str,
}

#[derive(Deserialize)]
pub(super) struct PreloginResponse {
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(super) salt: Vec<u8>,
    pub(super) params: StretchParams,
}

#[derive(Serialize)]
pub(super) struct LoginRequest<'a> {
    pub(super) email: &'a str,
    pub(super) auth_key: Secret32,
    pub(super) device_name: &'a str,
}

#[derive(Deserialize)]
pub(super) struct LoginResponse {
    pub(super) session_id: String,
    pub(super) otp_method: String,
    pub(super) otp_expires_at: u64,
}

#[derive(Serialize)]
pub(super) struct VerifyRequest<'a> {
    pub(super) session_id: &'a str,
    pub(super) otp: &'a str,
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) session_public_key: &'a [u8],
}

#[derive(Deserialize)]
pub(super) struct VerifyResponse {
    #[serde(deserialize_with = "crate::secret::text")]
    pub(super) access_token: Zeroizing<String>,
    pub(super) access_expires_at: u64,
    #[serde(deserialize_with = "crate::secret::text")]
    pub(super) refresh_token: Zeroizing<String>,
    pub(super) session_id: SessionId,
    pub(super) account: Identity,
    pub(super) incarnation: String,
    #[serde(flatten)]
    pub(super) keys: WrappedKeys,
}

/// The account's keys as the server keeps them for one device (or, at login, under the password).
#[derive(Deserialize)]
pub(crate) struct WrappedKeys {
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) wrapped_account_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) signing_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) exchange_public_key: Vec<u8>,
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) wrapped_private_keys: Vec<u8>,
    #[serde(default)]
    pub(crate) account_key_epoch: u32,
    #[serde(default, deserialize_with = "base64_bytes::deserialize")]
    pub(crate) account_key_history: Vec<u8>,
}

#[derive(Serialize)]
pub(super) struct DeviceKeyRequest<'a> {
    #[serde(serialize_with = "base64_bytes::serialize")]
    pub(super) wrapped_account_key: &'a [u8],
}

#[derive(Serialize)]
pub(crate) struct RefreshRequest<'a> {
    pub(crate) refresh_token: &'a str,
}

#[derive(Deserialize)]
pub(crate) struct RefreshResponse {
    #[serde(deserialize_with = "crate::secret::text")]
    pub(crate) access_token: Zeroizing<String>,
    pub(crate) access_expires_at: u64,
    #[serde(deserialize_with = "crate::secret::text")]
    pub(crate) refresh_token: Zeroizing<String>,
}

/// The current password, proved.
#[derive(Serialize)]
pub(crate) struct AuthKeyRequest {
    pub(crate) auth_key: Secret32,
}

/// A new password: how it is stretched, and what the server may have of it.
#[derive(Serialize)]
pub(crate) struct NewPassword {
    #[serde(serialize_with = "base64_bytes::serialize")]
    salt: Vec<u8>,
    params: StretchParams,
    auth_key: Secret32,
    #[serde(serialize_with = "base64_bytes::serialize")]
    wrapped_account_key: Vec<u8>,
}

impl From<&PasswordSecrets> for NewPassword {
    fn from(password: &PasswordSecrets) -> Self {
        Self {
            salt: password.salt.to_vec(),
            params: password.params,
            auth_key: Secret32::new(*password.auth_key),
            wrapped_account_key: password.wrapped_account_key.clone(),
        }
    }
}

/// Who the caller is, as `GET /api/identity` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The account.
    pub id: AccountId,
    /// User name.
    pub username: String,
    /// Email address.
    pub email: String,
    /// Name of the plan.
    pub plan: String,
    /// `basic`, `premium` or `admin`.
    pub role: String,
    /// What the session may do, for example `storage:read`.
    pub permissions: Vec<String>,
    /// Space.
    pub quota: QuotaSummary,
    /// When the account was made, as the server says it (RFC 3339).
    pub created_at: serde_json::Value,
    /// When the account will be deleted, Unix seconds, if its owner wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<u64>,
}

/// Space of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSummary {
    /// Bytes that the plan has.
    pub limit_bytes: u64,
    /// Bytes that are used.
    pub used_bytes: u64,
}
