//! A fake gateway in the test's own process: the identity part over REST and the metadata service over gRPC on one port.
//!
//! It is honest as long as nobody changes its [`State`]; a test makes it lie by changing what it stored.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "test support; each test file uses a part of it"
)]

mod meta;
mod storage;
pub mod world;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cyx_client::{Client, Config, identity};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, Random as _, SessionId};
use cyx_core::writers::WriterEntry;
use cyx_proto::meta::v1 as pb;
use serde_json::{Value, json};

pub const EMAIL: &str = "ada@example.org";
pub const PASSWORD: &str = "Violet-Tramway-29-Okra";
pub const CODE: &str = "123456";

/// What the gateway stores and how it behaves.
pub struct State {
    pub account: AccountId,
    pub registration: Value,
    /// Overrides the stretching parameters that prelogin answers.
    pub params: Option<Value>,
    pub session: Option<SessionId>,
    pub device_key: Option<String>,
    pub incarnation: String,
    pub access_seconds: u64,
    pub access: Vec<String>,
    pub refresh: String,
    pub refreshes: u32,
    /// Refresh tokens that were used: one that comes again ends the session.
    pub used: Vec<String>,
    pub ended: bool,
    /// Logins that were begun.
    pub logins: u32,
    pub calls: HashMap<&'static str, u32>,
    /// What was looked up, each once: a client that waits for long asks again.
    pub lookups: HashSet<Vec<u8>>,
    /// So many calls of the metadata service fail before one works.
    pub unavailable: u32,
    /// So many calls are done, but their answers are lost.
    pub lost_answers: u32,
    /// Most bytes of an answer about names.
    pub answer_max: Option<usize>,
    /// Calls are refused with TOKEN_EXPIRED until a token is refreshed.
    pub expire: bool,
    /// What is kept of the one API key; absent: it is refused.
    pub api_key: Option<Value>,
    /// Changes of the tree are refused.
    pub refuse_apply: bool,
    /// So many calls change the tree; all others are refused.
    pub applies_left: Option<u32>,
    /// How often the account key was replaced, and what was said of those of before.
    pub account_epoch: u32,
    pub account_history: String,
    /// So many calls that replace the account key are done, but their answers are lost.
    pub lost_replacements: u32,
    /// After so many calls of any kind the client is stopped: it gets nothing more.
    pub stop_after: Option<u32>,
    /// What came to exchange API keys.
    pub exchanges: Vec<Value>,

    pub buckets: Vec<pb::Bucket>,
    pub writers: HashMap<Bytes, Vec<Bytes>>,
    pub inodes: HashMap<Bytes, pb::Inode>,
    pub entries: Vec<pb::Entry>,
    pub versions: HashMap<Bytes, pb::VersionRecord>,
    pub pages: HashMap<Bytes, pb::Page>,
    pub done: HashMap<Bytes, pb::MutationResult>,
    pub trash: Vec<pb::TrashEntry>,
    /// Entries of directory listings that are sent before the stream breaks; then it is reset.
    pub break_listing_after: Option<usize>,
    pub events: Vec<pb::Event>,
    pub subscriptions: Vec<Vec<pb::Position>>,
    /// What the next stream of events ends with.
    pub end_of_subscription: Option<ErrorCode>,
    /// What comes over the next stream behind its events, one for each that is sent here, until the sender is dropped.
    pub more_events: Option<tokio::sync::mpsc::UnboundedReceiver<pb::Event>>,
    /// How long it takes until a subscription is answered.
    pub way_of_subscriptions: std::time::Duration,
    pub storage: storage::Storage,
    /// Of each question for access to read, whether nothing was to be read.
    pub asked_only: Vec<bool>,
}

type Shared = Arc<Mutex<State>>;

pub struct Gateway {
    pub address: SocketAddr,
    pub state: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            account: AccountId::random(),
            registration: Value::Null,
            params: None,
            session: None,
            device_key: None,
            incarnation: "aa01".into(),
            access_seconds: 3600,
            access: Vec::new(),
            refresh: String::new(),
            refreshes: 0,
            used: Vec::new(),
            ended: false,
            logins: 0,
            calls: HashMap::new(),
            lookups: HashSet::new(),
            unavailable: 0,
            lost_answers: 0,
            answer_max: None,
            expire: false,
            api_key: None,
            refuse_apply: false,
            applies_left: None,
            account_epoch: 0,
            account_history: String::new(),
            lost_replacements: 0,
            stop_after: None,
            exchanges: Vec::new(),
            buckets: Vec::new(),
            writers: HashMap::new(),
            inodes: HashMap::new(),
            entries: Vec::new(),
            versions: HashMap::new(),
            pages: HashMap::new(),
            done: HashMap::new(),
            trash: Vec::new(),
            break_listing_after: None,
            events: Vec::new(),
            subscriptions: Vec::new(),
            end_of_subscription: None,
            more_events: None,
            way_of_subscriptions: std::time::Duration::ZERO,
            storage: storage::Storage::default(),
            asked_only: Vec::new(),
        }));
        let rest = Router::new()
            .route("/api/auth/register", post(register))
            .route("/api/auth/prelogin", post(prelogin))
            .route("/api/auth/login", post(login))
            .route("/api/auth/login/verify", post(verify))
            .route("/api/auth/device-key", put(put_device_key).get(get_device_key))
            .route("/api/auth/refresh", post(refresh))
            .route("/api/auth/logout", post(logout))
            .route("/api/auth/api-keys/token", post(exchange))
            .route("/api/auth/api-keys/buckets/{bucket}", get(|| async { Json(json!({"api_keys": []})) }))
            .route("/api/auth/account-key", post(replace_account_key))
            .route("/api/auth/sessions", get(|| async { Json(json!({"sessions": []})) }))
            .route("/api/auth/api-keys", get(|| async { Json(json!({"api_keys": []})) }))
            .route("/api/identity", get(whoami))
            .with_state(Arc::clone(&state));
        let grpc = tonic::service::Routes::new(meta::service(Arc::clone(&state))).into_axum_router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, rest.merge(grpc)).await.unwrap() });
        Self { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn config(&self, home: &Path) -> Config {
        let gateway = Some(self.url().parse().unwrap());
        Config { home: home.to_owned(), gateway, email: None, ca_file: None, token: None }
    }

    pub async fn register(&self, home: &Path) {
        identity::register(&self.config(home), "ada", EMAIL, PASSWORD).await.unwrap();
    }

    pub async fn log_in(&self, home: &Path, accept_changes: bool) -> cyx_client::Result<identity::Identity> {
        let config = self.config(home);
        let pending = identity::begin_login(&config, EMAIL, PASSWORD, accept_changes).await?;
        identity::finish_login(&config, &pending.session_id, CODE, false).await
    }

    pub async fn client(&self, home: &Path) -> Client {
        self.register(home).await;
        self.log_in(home, false).await.unwrap();
        Client::open(&self.config(home)).await.unwrap()
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl State {
    fn issue(&mut self) -> Value {
        let access = format!("access-{}", self.refreshes);
        self.access = vec![access.clone()];
        self.refresh = format!("refresh-{}", self.refreshes);
        json!({
            "access_token": access,
            "access_expires_at": now() + self.access_seconds,
            "refresh_token": self.refresh,
        })
    }

    fn identity(&self) -> Value {
        json!({
            "id": self.account, "username": "ada", "email": EMAIL, "plan": "free", "role": "basic",
            "permissions": ["storage:read", "storage:write"],
            "quota": { "limit_bytes": 5_000_000_000_u64, "used_bytes": 0 },
            "created_at": "2026-01-01T00:00:00Z",
        })
    }

    fn add_lineage(&self, answer: &mut Value) {
        answer["account_key_epoch"] = json!(self.account_epoch);
        answer["account_key_history"] = json!(self.account_history);
    }

    pub fn authorised(&mut self, bearer: Option<&str>) -> Result<(), ErrorCode> {
        match &mut self.stop_after {
            Some(0) => return Err(ErrorCode::InvalidArgument),
            Some(left) => *left -= 1,
            None => {}
        }
        let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if self.ended {
            return Err(ErrorCode::InvalidCredentials);
        }
        if self.expire || !self.access.iter().any(|access| access == token) {
            return Err(ErrorCode::TokenExpired);
        }
        Ok(())
    }
}

fn refuse(code: ErrorCode) -> Response {
    let body =
        json!({ "error": { "code": code.as_str(), "message": code.as_str().to_lowercase(), "request_id": "r" } });
    (StatusCode::from_u16(code.http_status()).unwrap(), Json(body)).into_response()
}

fn authorised(state: &mut State, headers: &HeaderMap) -> Result<(), Response> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    state.authorised(bearer).map_err(refuse)
}

async fn register(Extract(state): Extract<Shared>, Json(body): Json<Value>) -> Response {
    state.lock().unwrap().registration = body;
    (StatusCode::ACCEPTED, Json(json!({ "message": "check your mail" }))).into_response()
}

async fn prelogin(Extract(state): Extract<Shared>) -> Response {
    let state = state.lock().unwrap();
    let params = state.params.clone().unwrap_or_else(|| state.registration["params"].clone());
    Json(json!({ "salt": state.registration["salt"], "params": params })).into_response()
}

async fn login(Extract(state): Extract<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    if body["auth_key"] != state.registration["auth_key"] || body["email"] != EMAIL {
        return refuse(ErrorCode::InvalidCredentials);
    }
    state.logins += 1;
    let answer = json!({ "session_id": format!("pending-{}", state.logins), "otp_method": "email", "otp_expires_at": now() + 300 });
    Json(answer).into_response()
}

async fn verify(Extract(state): Extract<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    if body["otp"] != CODE || !body["session_id"].as_str().unwrap().starts_with("pending-") {
        return refuse(ErrorCode::OtpInvalid);
    }
    let session = SessionId::random();
    (state.session, state.ended) = (Some(session), false);
    state.refreshes += 1;
    let mut answer = state.issue();
    answer["session_id"] = json!(session);
    answer["account"] = state.identity();
    answer["incarnation"] = json!(state.incarnation);
    for field in ["wrapped_account_key", "signing_public_key", "exchange_public_key", "wrapped_private_keys"] {
        answer[field] = state.registration[field].clone();
    }
    state.add_lineage(&mut answer);
    Json(answer).into_response()
}

async fn put_device_key(Extract(state): Extract<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = authorised(&mut state, &headers) {
        return refused;
    }
    state.device_key = body["wrapped_account_key"].as_str().map(str::to_owned);
    StatusCode::NO_CONTENT.into_response()
}

async fn get_device_key(Extract(state): Extract<Shared>, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = authorised(&mut state, &headers) {
        return refused;
    }
    let Some(key) = &state.device_key else { return refuse(ErrorCode::NotFound) };
    let mut answer = json!({ "wrapped_account_key": key });
    for field in ["signing_public_key", "exchange_public_key", "wrapped_private_keys"] {
        answer[field] = state.registration[field].clone();
    }
    state.add_lineage(&mut answer);
    Json(answer).into_response()
}

async fn refresh(Extract(state): Extract<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    let token = body["refresh_token"].as_str().unwrap_or_default().to_owned();
    if token != state.refresh || state.ended {
        state.ended |= state.used.contains(&token);
        return refuse(ErrorCode::InvalidCredentials);
    }
    state.used.push(token);
    state.refreshes += 1;
    state.expire = false;
    let answer = state.issue();
    Json(answer).into_response()
}

async fn logout(Extract(state): Extract<Shared>, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = authorised(&mut state, &headers) {
        return refused;
    }
    state.ended = true;
    state.device_key = None;
    StatusCode::NO_CONTENT.into_response()
}

async fn exchange(Extract(state): Extract<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    state.exchanges.push(body);
    let Some(mut answer) = state.api_key.clone() else { return refuse(ErrorCode::InvalidCredentials) };
    let access = format!("api-key-{}", state.exchanges.len());
    state.access = vec![access.clone()];
    state.expire = false;
    answer["access_token"] = json!(access);
    answer["access_expires_at"] = json!(now() + state.access_seconds);
    answer["session_id"] = json!(SessionId::random());
    answer["account"] = state.identity();
    answer["incarnation"] = json!(state.incarnation);
    for field in ["signing_public_key", "exchange_public_key", "wrapped_private_keys"] {
        answer[field] = state.registration[field].clone();
    }
    state.add_lineage(&mut answer);
    Json(answer).into_response()
}

async fn whoami(Extract(state): Extract<Shared>, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    if let Err(refused) = authorised(&mut state, &headers) {
        return refused;
    }
    Json(state.identity()).into_response()
}

/// Replaces everything under the account key, if the client has seen what is there.
async fn replace_account_key(Extract(state): Extract<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    *state.calls.entry("replace_account_key").or_default() += 1;
    if let Err(refused) = authorised(&mut state, &headers) {
        return refused;
    }
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let bytes = |value: &Value| Bytes::from(STANDARD.decode(value.as_str().unwrap()).unwrap());
    let expected = u32::try_from(body["expected_epoch"].as_u64().unwrap()).unwrap();
    let repeated = state.account_epoch == expected + 1 && state.account_history == text("account_key_history");
    if !repeated {
        if state.account_epoch != expected {
            return refuse(ErrorCode::StaleKey);
        }
        if body["auth_key"] != state.registration["auth_key"] || body["otp"] != CODE {
            return refuse(ErrorCode::OtpInvalid);
        }
        let given = body["buckets"].as_array().unwrap();
        let seen = |row: &pb::Bucket| {
            given.iter().any(|given| {
                let entry = WriterEntry::read_unchecked(&bytes(&given["hand_over"])).unwrap();
                bytes(&given["replaces"]) == row.wrapped_root_key && entry.sequence == row.sequence
            })
        };
        if given.len() != state.buckets.len() || !state.buckets.iter().all(seen) {
            return refuse(ErrorCode::Retry);
        }
        for given in given {
            let id: BucketId = given["id"].as_str().unwrap().parse().unwrap();
            let row = state.buckets.iter_mut().find(|row| row.id[..] == id.0).unwrap();
            (row.name_token, row.wrapped_root_key) = (bytes(&given["name_token"]), bytes(&given["wrapped_root_key"]));
            row.sequence += 1;
            state.writers.get_mut(&id.0[..]).unwrap().push(bytes(&given["hand_over"]));
        }
        for field in ["salt", "params", "auth_key", "wrapped_account_key"] {
            state.registration[field] = body["new"][field].clone();
        }
        for field in
            ["recovery_wrapped_account_key", "signing_public_key", "exchange_public_key", "wrapped_private_keys"]
        {
            state.registration[field] = body[field].clone();
        }
        (state.account_epoch, state.account_history) = (expected + 1, text("account_key_history"));
        state.device_key = Some(text("device_wrapped_account_key"));
    }
    if state.lost_replacements > 0 {
        state.lost_replacements -= 1;
        return refuse(ErrorCode::Unavailable);
    }
    Json(json!({ "account_key_epoch": state.account_epoch })).into_response()
}
