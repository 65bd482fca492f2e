//! `/api/v1/auth/challenge`, `/api/v1/auth/wallet`, `/api/auth/keys`: logging in with a wallet; `/api/auth/wallets/*`: the caller's
//! wallets.

use axum::extract::State;
use cyx_core::ids::SessionId;
use serde::{Deserialize, Serialize};

use super::auth::{KeysBody, auth_key};
use super::identity::{AccountBody, account_body};
use super::{Answer, Empty};
use crate::accounts::wallet::{self, Offer, Signed};
use crate::app::AppState;
use crate::auth::{self, Caller};
use crate::http::body::{Base64, Confirmed, Json};
use crate::http::extract::ClientIp;
use crate::time::rfc3339;

/// Body of `POST /api/v1/auth/challenge` and of `POST /api/auth/wallets/challenge`.
#[derive(Deserialize)]
pub struct ChallengeRequest {
    wallet: String,
}

/// A text to sign.
#[derive(Serialize)]
pub struct ChallengeResponse {
    challenge_id: SessionId,
    nonce: SessionId,
    message: String,
    domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    issued_at: u64,
    expires_at: u64,
}

impl From<Offer> for ChallengeResponse {
    fn from(offer: Offer) -> Self {
        let Offer { id, message, domain, username, issued_at, expires_at } = offer;
        Self { challenge_id: id, nonce: id, message, domain, username, issued_at, expires_at }
    }
}

/// `POST /api/v1/auth/challenge`
pub async fn challenge(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<ChallengeRequest>,
) -> Answer<ChallengeResponse> {
    Ok(axum::Json(wallet::challenge(&app, &body.wallet, ip).await?.into()))
}

/// Body of `POST /api/v1/auth/wallet`.
#[derive(Deserialize)]
pub struct LoginRequest {
    challenge_id: String,
    signature: String,
    session_public_key: Base64,
    #[serde(default)]
    device_name: String,
}

/// Answer of `POST /api/v1/auth/wallet`.
#[derive(Serialize)]
pub struct LoginResponse {
    access_token: String,
    access_expires_at: u64,
    refresh_token: String,
    session_id: SessionId,
    account: AccountBody,
    incarnation: String,
}

/// `POST /api/v1/auth/wallet`
pub async fn log_in(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    Json(body): Json<LoginRequest>,
) -> Answer<LoginResponse> {
    let login = wallet::Login {
        signed: Signed::parse(&body.challenge_id, &body.signature)?,
        public_key: body.session_public_key.to_vec(),
        device: body.device_name,
    };
    let logged_in = wallet::log_in(&app, login, ip).await?;
    let member = auth::authenticate_member(&app, &logged_in.access.token).await?;
    Ok(axum::Json(LoginResponse {
        access_token: logged_in.access.token,
        access_expires_at: logged_in.access.expires_at,
        refresh_token: logged_in.refresh_token,
        session_id: logged_in.session,
        account: account_body(&app, &member).await?,
        incarnation: hex::encode(app.network.keys.incarnation().to_bytes()),
    }))
}

/// Body of `POST /api/auth/keys`.
#[derive(Deserialize)]
pub struct KeysRequest {
    auth_key: Base64,
}

/// `POST /api/auth/keys`
pub async fn keys(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Json(body): Json<KeysRequest>,
) -> Answer<KeysBody> {
    Ok(axum::Json(wallet::keys(&app, &caller, auth_key(&body.auth_key)?, ip).await?.into()))
}

/// `POST /api/auth/wallets/challenge`
pub async fn link_challenge(
    State(app): State<AppState>,
    caller: Caller,
    Json(body): Json<ChallengeRequest>,
) -> Answer<ChallengeResponse> {
    Ok(axum::Json(wallet::link_challenge(&app, &caller, &body.wallet).await?.into()))
}

/// Body of `POST /api/auth/wallets`.
#[derive(Deserialize)]
pub struct LinkRequest {
    challenge_id: String,
    signature: String,
}

/// Answer of `POST /api/auth/wallets`.
#[derive(Serialize)]
pub struct LinkResponse {
    wallet: String,
}

/// `POST /api/auth/wallets`
pub async fn link(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<LinkRequest>,
) -> Answer<LinkResponse> {
    let signed = Signed::parse(&body.challenge_id, &body.signature)?;
    let wallet = wallet::link(&app, &caller, signed, confirmation, ip).await?;
    Ok(axum::Json(LinkResponse { wallet: wallet.to_string() }))
}

/// A wallet.
#[derive(Serialize)]
pub struct WalletBody {
    wallet: String,
    created_at: String,
    last_used_at: Option<String>,
    last_address: String,
}

/// Answer of `GET /api/auth/wallets`.
#[derive(Serialize)]
pub struct WalletsResponse {
    wallets: Vec<WalletBody>,
}

/// `GET /api/auth/wallets`
pub async fn list(State(app): State<AppState>, caller: Caller) -> Answer<WalletsResponse> {
    let wallets = wallet::list(&app, caller.account).await?.into_iter().map(|wallet| WalletBody {
        wallet: wallet.address,
        created_at: rfc3339(wallet.created_ns),
        last_used_at: wallet.last_used_ns.map(rfc3339),
        last_address: wallet.last_address,
    });
    Ok(axum::Json(WalletsResponse { wallets: wallets.collect() }))
}

/// Body of `POST /api/auth/wallets/remove`.
#[derive(Deserialize)]
pub struct UnlinkRequest {
    wallet: String,
}

/// `POST /api/auth/wallets/remove`
pub async fn unlink(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body }: Confirmed<UnlinkRequest>,
) -> Answer<Empty> {
    let address = wallet::address(&body.wallet)?;
    wallet::unlink(&app, &caller, address, confirmation, ip).await?;
    Ok(axum::Json(Empty {}))
}
