//! A server as far as a node sees it: the identity API and `NodeService`, with switches for everything that can go wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cyx_core::auth::{self, StretchParams};
use cyx_core::enrol;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{ChunkId, MachineId, NodeId, Random as _};
use cyx_core::keeplist::Incarnation;
use cyx_core::sign::{self, Purpose};
use cyx_node::store::Clock;
use cyx_proto::node::v1::node_service_server::{NodeService, NodeServiceServer};
use cyx_proto::node::v1::{
    ConfirmKeepListRequest, ConfirmKeepListResponse, ExitRequest, ExitResponse, FetchKeepListsRequest,
    FetchTasksRequest, FetchTasksResponse, HandInOrdersRequest, HandInOrdersResponse, HeartbeatRequest,
    HeartbeatResponse, KeepListPart, OrderResult, RegisterNodeRequest, RegisterNodeResponse, ReportDamageRequest,
    ReportDamageResponse, ReportTaskRequest, ReportTaskResponse, ServerKey,
};
use cyx_proto::status::status;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tonic::{Request, Response, Status};

pub(crate) const ENROLMENT: &str = "enrolment-token";
pub(crate) const EMAIL: &str = "operator@example.org";
pub(crate) const PASSWORD: &str = "Correct-Horse-9";
pub(crate) const CODE: &str = "123456";
const SALT: [u8; 16] = [4; 16];

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

/// Shows who the server is.
pub(crate) fn identity() -> SigningKey {
    SigningKey::from_bytes(&[78; 32])
}

/// What the server saw and what it shall do.
pub(crate) struct Book {
    pub(crate) machines: HashMap<MachineId, String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) logouts: u32,
    pub(crate) machine_heartbeats: Vec<Value>,
    pub(crate) registrations: Vec<RegisterNodeRequest>,
    pub(crate) heartbeats: Vec<HeartbeatRequest>,
    pub(crate) known: bool,
    pub(crate) refuse_registration: Option<ErrorCode>,
    pub(crate) exits: Vec<i32>,
    pub(crate) incarnation: Incarnation,
    pub(crate) sequence: u64,
    pub(crate) lists: Vec<KeepListPart>,
    pub(crate) confirmed: Vec<ConfirmKeepListRequest>,
    /// What it takes for the time, if not the time.
    pub(crate) clock: Option<Clock>,
    pub(crate) damaged: Vec<ChunkId>,
    /// Reports of damage fail.
    pub(crate) refuse_damage: bool,
    /// What is handed out, and what was reported.
    pub(crate) tasks: FetchTasksResponse,
    pub(crate) reports: Vec<ReportTaskRequest>,
    /// Orders that were handed in, and what is answered about each; empty: it counts.
    pub(crate) orders: Vec<Bytes>,
    pub(crate) refuse_orders: &'static str,
    /// Tokens that enrol one machine each.
    pub(crate) single: Vec<String>,
    /// Those that were used: by which attempt, and the machine that it made.
    pub(crate) used: HashMap<String, (String, MachineId)>,
    /// So many answers to registrations are lost.
    pub(crate) lose_answers: u32,
    /// Answers challenges.
    pub(crate) answering: SigningKey,
    /// Vouches for the keys that are announced.
    pub(crate) vouching: SigningKey,
}

#[derive(Clone)]
pub(crate) struct Server {
    book: Arc<Mutex<Book>>,
    pub(crate) rest: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn refusal(code: ErrorCode) -> (StatusCode, Json<Value>) {
    let status = StatusCode::from_u16(code.http_status()).unwrap();
    (status, Json(json!({ "error": { "code": code.as_str(), "message": "no", "request_id": "1" } })))
}

fn bearer(headers: &HeaderMap) -> &str {
    headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")).unwrap_or("")
}

impl Server {
    /// Takes two ports, on which nobody is reached before [`Self::open`].
    pub(crate) fn bind() -> (Self, [TcpSocket; 2]) {
        let sockets = [(); 2].map(|()| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket
        });
        let book = Book {
            machines: HashMap::new(),
            tokens: Vec::new(),
            logouts: 0,
            machine_heartbeats: Vec::new(),
            registrations: Vec::new(),
            heartbeats: Vec::new(),
            known: false,
            refuse_registration: None,
            exits: Vec::new(),
            incarnation: Incarnation { time: 5, random: 6 },
            sequence: 0,
            lists: Vec::new(),
            confirmed: Vec::new(),
            clock: None,
            damaged: Vec::new(),
            refuse_damage: false,
            tasks: FetchTasksResponse::default(),
            reports: Vec::new(),
            orders: Vec::new(),
            refuse_orders: "",
            single: Vec::new(),
            used: HashMap::new(),
            lose_answers: 0,
            answering: identity(),
            vouching: identity(),
        };
        let [rest, grpc] = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
        (Self { book: Arc::new(Mutex::new(book)), rest, grpc }, sockets)
    }

    pub(crate) fn open(&self, sockets: [TcpSocket; 2]) {
        let [rest, grpc] = sockets.map(|socket| socket.listen(64).unwrap());
        let router = axum::Router::new()
            .route("/api/auth/prelogin", post(prelogin))
            .route("/api/auth/login", post(login))
            .route("/api/auth/login/verify", post(verify))
            .route("/api/auth/logout", post(logout))
            .route("/api/machines/register", post(register))
            .route("/api/machines/server-key", get(server_key))
            .route("/api/machines/token", post(token))
            .route("/api/machines/{id}/heartbeat", post(heartbeat))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(rest, router).await.unwrap() });
        let service = NodeServiceServer::new(self.clone());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(grpc);
        tokio::spawn(async move {
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    }

    pub(crate) fn start() -> Self {
        let (server, sockets) = Self::bind();
        server.open(sockets);
        server
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Waits until the book says so.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Book) -> bool) {
        for _ in 0..3000 {
            if done(&self.book()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} did not happen");
    }

    fn new_token(&self) -> String {
        let token = hex::encode(MachineId::random().0);
        self.book().tokens.push(token.clone());
        token
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token =
            request.metadata().get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match token.is_some_and(|token| self.book().tokens.iter().any(|known| known == token)) {
            true => Ok(()),
            false => Err(status(ErrorCode::InvalidCredentials, "who is this?")),
        }
    }
}

async fn prelogin(Json(body): Json<Value>) -> Answer {
    assert_eq!(body["email"], EMAIL);
    Ok(Json(json!({ "salt": STANDARD.encode(SALT), "params": StretchParams::DEFAULT })))
}

async fn login(Json(body): Json<Value>) -> Answer {
    let stretched = auth::stretch(PASSWORD.as_bytes(), &SALT, StretchParams::DEFAULT).unwrap();
    match body["auth_key"] == STANDARD.encode(auth::derive_auth_key(&stretched)) {
        true => Ok(Json(json!({ "session_id": "s1", "otp_method": "email", "otp_expires_at": 1 }))),
        false => Err(refusal(ErrorCode::InvalidCredentials)),
    }
}

async fn verify(Json(body): Json<Value>) -> Answer {
    assert_eq!(STANDARD.decode(body["session_public_key"].as_str().unwrap()).unwrap().len(), 32);
    match body["otp"] == CODE && body["session_id"] == "s1" {
        true => Ok(Json(json!({ "access_token": "person", "access_expires_at": 1, "refresh_token": "r" }))),
        false => Err(refusal(ErrorCode::OtpInvalid)),
    }
}

async fn logout(State(server): State<Server>, headers: HeaderMap) -> Answer {
    assert_eq!(bearer(&headers), "person");
    server.book().logouts += 1;
    Ok(Json(json!({})))
}

async fn register(State(server): State<Server>, headers: HeaderMap, Json(body): Json<Value>) -> Answer {
    let (id, lost) = {
        let (token, mut book) = (bearer(&headers), server.book());
        let attempt = body["attempt"].as_str().filter(|attempt| attempt.len() >= 32).unwrap().to_owned();
        let single = book.single.iter().position(|single| single == token);
        let id = match (single, book.used.get(token)) {
            (Some(at), _) => {
                let (token, id) = (book.single.remove(at), MachineId::random());
                book.used.insert(token, (attempt, id));
                id
            }
            (None, Some((by, id))) if *by == attempt => *id,
            (None, None) if [ENROLMENT, "person"].contains(&token) => MachineId::random(),
            _ => return Err(refusal(ErrorCode::InvalidCredentials)),
        };
        let lost = book.lose_answers > 0;
        book.lose_answers = book.lose_answers.saturating_sub(1);
        (id, lost)
    };
    assert!(body["hardware"]["ram_mb"].as_u64().unwrap() > 0 && body["hardware"]["cpus"].as_u64().unwrap() > 0);
    let api_key = hex::encode(MachineId::random().0);
    server.book().machines.insert(id, api_key.clone());
    if lost {
        return Err(refusal(ErrorCode::Unavailable));
    }
    let token = server.new_token();
    Ok(Json(json!({ "machine_id": id, "api_key": api_key, "access_token": token, "expires_at": u64::MAX / 2 })))
}

async fn server_key(State(server): State<Server>, Query(asked): Query<HashMap<String, String>>) -> Answer {
    let challenge: [u8; 32] = hex::decode(&asked["challenge"]).unwrap().try_into().unwrap();
    let signature = sign::sign(&server.book().answering, Purpose::ServerIdentity, &enrol::challenge_body(&challenge));
    let public = identity().verifying_key().to_bytes();
    Ok(Json(json!({ "public_key": STANDARD.encode(public), "signature": STANDARD.encode(signature) })))
}

async fn token(State(server): State<Server>, Json(body): Json<Value>) -> Answer {
    let id: MachineId = serde_json::from_value(body["machine_id"].clone()).unwrap();
    if server.book().machines.get(&id).is_none_or(|known| body["api_key"] != *known) {
        return Err(refusal(ErrorCode::InvalidCredentials));
    }
    Ok(Json(json!({ "access_token": server.new_token(), "expires_at": u64::MAX / 2 })))
}

async fn heartbeat(
    State(server): State<Server>,
    Path(id): Path<MachineId>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let mut book = server.book();
    if !book.tokens.iter().any(|known| known == bearer(&headers)) {
        return Err(refusal(ErrorCode::TokenExpired));
    }
    assert!(book.machines.contains_key(&id));
    book.machine_heartbeats.push(body);
    Ok(Json(json!({})))
}

fn server_keys() -> Vec<ServerKey> {
    let public = key().verifying_key().to_bytes();
    vec![ServerKey { key_id: sign::key_id(&public).to_vec().into(), public_key: Bytes::copy_from_slice(&public) }]
}

#[tonic::async_trait]
impl NodeService for Server {
    async fn register_node(
        &self,
        request: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let public: [u8; 32] = request.public_key[..].try_into().unwrap();
        let node = NodeId::from_public_key(&public);
        let body = [&node.0[..], &request.issued_at.to_le_bytes(), request.address.as_bytes()].concat();
        sign::verify(&public, Purpose::Possession, &body, &request.signature).unwrap();
        let mut book = self.book();
        if let Some(code) = book.refuse_registration {
            return Err(status(code, "not here"));
        }
        let issued_at = request.issued_at;
        book.registrations.push(request);
        book.known = true;
        Ok(Response::new(RegisterNodeResponse {
            node_id: node.to_vec().into(),
            server_keys: server_keys(),
            incarnation: Bytes::copy_from_slice(&book.incarnation.to_bytes()),
            heartbeat_seconds: 1,
            reserved_bytes: 0,
            allocatable_bytes: 0,
            reservations: Vec::new(),
            identity_key: Bytes::copy_from_slice(&identity().verifying_key().to_bytes()),
            identity_signature: Bytes::copy_from_slice(&sign::sign(
                &book.vouching,
                Purpose::ServerIdentity,
                &enrol::announcement_body(node, issued_at, [&key().verifying_key().to_bytes()]),
            )),
        }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        self.check(&request)?;
        let mut book = self.book();
        if !book.known {
            return Err(status(ErrorCode::NotFound, "this node is not registered"));
        }
        book.heartbeats.push(request.into_inner());
        Ok(Response::new(HeartbeatResponse {
            server_keys: server_keys(),
            incarnation: Bytes::copy_from_slice(&book.incarnation.to_bytes()),
            keep_list_sequence: book.sequence,
            heartbeat_seconds: 1,
            server_time: book.clock.as_ref().map_or_else(|| Clock::system().now(), Clock::now),
            tasks_wait: !book.tasks.tasks.is_empty(),
        }))
    }

    type FetchKeepListsStream = tokio_stream::Iter<std::vec::IntoIter<Result<KeepListPart, Status>>>;

    async fn fetch_keep_lists(
        &self,
        request: Request<FetchKeepListsRequest>,
    ) -> Result<Response<Self::FetchKeepListsStream>, Status> {
        self.check(&request)?;
        let parts: Vec<_> = self.book().lists.iter().cloned().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn confirm_keep_list(
        &self,
        request: Request<ConfirmKeepListRequest>,
    ) -> Result<Response<ConfirmKeepListResponse>, Status> {
        self.check(&request)?;
        self.book().confirmed.push(request.into_inner());
        Ok(Response::new(ConfirmKeepListResponse {}))
    }

    async fn hand_in_orders(
        &self,
        request: Request<HandInOrdersRequest>,
    ) -> Result<Response<HandInOrdersResponse>, Status> {
        self.check(&request)?;
        let mut book = self.book();
        let orders = request.into_inner().orders;
        let result = OrderResult { refused: book.refuse_orders.to_owned(), settled_bytes: 0 };
        let results = vec![result; orders.len()];
        book.orders.extend(orders);
        Ok(Response::new(HandInOrdersResponse { results }))
    }

    async fn report_damage(
        &self,
        request: Request<ReportDamageRequest>,
    ) -> Result<Response<ReportDamageResponse>, Status> {
        self.check(&request)?;
        if self.book().refuse_damage {
            return Err(status(ErrorCode::Unavailable, "busy"));
        }
        let ids = request.into_inner().chunk_ids;
        self.book().damaged.extend(ids.iter().map(|id| ChunkId::try_from(&id[..]).unwrap()));
        Ok(Response::new(ReportDamageResponse {}))
    }

    async fn fetch_tasks(&self, request: Request<FetchTasksRequest>) -> Result<Response<FetchTasksResponse>, Status> {
        self.check(&request)?;
        let mut book = self.book();
        let most = book.tasks.tasks.len().min(usize::try_from(request.get_ref().most).unwrap());
        let tasks = book.tasks.tasks.drain(..most).collect();
        Ok(Response::new(FetchTasksResponse { tasks, peers: book.tasks.peers.clone() }))
    }

    async fn report_task(&self, request: Request<ReportTaskRequest>) -> Result<Response<ReportTaskResponse>, Status> {
        self.check(&request)?;
        let mut book = self.book();
        book.reports.push(request.into_inner());
        Ok(Response::new(ReportTaskResponse { counts: true, tasks_wait: !book.tasks.tasks.is_empty() }))
    }

    async fn exit(&self, request: Request<ExitRequest>) -> Result<Response<ExitResponse>, Status> {
        self.check(&request)?;
        self.book().exits.push(request.get_ref().action);
        Ok(Response::new(ExitResponse { leaving: "none".to_owned(), ..ExitResponse::default() }))
    }
}
