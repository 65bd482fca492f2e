//! What every request passes: its id, a span for the log, metrics, headers, a limit of time; gRPC also one of calls per address.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use cyx_core::error::ErrorCode;
use cyx_proto::status::{INCARNATION_KEY, REQUEST_ID_KEY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tonic::Status;
use tracing::Instrument as _;

use super::extract::client_ip;
use super::{calls, request_id};
use crate::app::AppState;
use crate::error::ApiError;

/// Longest time of a REST request.
const REST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time until a gRPC call is answered: a batch of a thousand files over a slow line has time to come in.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Requests slower than this are worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// Headers that keep browsers from doing anything with an answer but showing it to who asked.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The outermost layer.
pub async fn observe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let method = method_label(request.method());
    let grpc = is_grpc(&request);
    // Never the query: it may hold a token.
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", id = %id, method, path = %path);
    let begun = Instant::now();
    let mut response = request_id::scope(id.clone(), next.run(request)).instrument(span.clone()).await;
    let (elapsed, status) = (begun.elapsed(), response.status());

    let path = path_label(&path, matched);
    let labels = [("path", path), ("method", method.to_owned()), ("status", status_label(status, response.headers()))];
    metrics::counter!("cyx_requests_total", &labels).increment(1);
    metrics::histogram!("cyx_request_seconds", &labels[..1]).record(elapsed);
    let code = response.extensions().get::<ErrorCode>().copied().map(ErrorCode::as_str);
    span.in_scope(|| {
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if status.is_server_error() || elapsed > SLOW {
            tracing::info!(status = status.as_u16(), code, milliseconds, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), code, milliseconds, "answered");
        }
    });

    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID_KEY, value);
    }
    if let Ok(value) = HeaderValue::from_str(&incarnation(&app)) {
        headers.insert(INCARNATION_KEY, value);
    }
    if !grpc {
        for (name, value) in SECURITY_HEADERS {
            headers.entry(name).or_insert(value);
        }
        if app.config.tls.is_some() {
            let value = HeaderValue::from_static("max-age=31536000");
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
    }
    response
}

/// A label with few values: what routes match, and of gRPC the methods that exist. Each value stays in memory for good, and nobody needs a
/// login to send another path.
fn path_label(path: &str, matched: Option<String>) -> String {
    match matched {
        Some(_) if calls::rule(path).is_some() => path.to_owned(),
        Some(matched) => matched,
        None => "other".to_owned(),
    }
}

/// The status; of a gRPC call that was refused at once `grpc-` and its code, because the status is always 200 then.
fn status_label(status: StatusCode, headers: &HeaderMap) -> String {
    let refused = headers.get("grpc-status").and_then(|code| code.to_str().ok()).filter(|code| *code != "0");
    refused.map_or_else(|| status.as_str().to_owned(), |code| format!("grpc-{code}"))
}

/// A label with few values, as [`path_label`]: HTTP lets callers make up methods.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Whether a request is gRPC.
#[must_use]
pub fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn incarnation(app: &AppState) -> String {
    hex::encode(app.network.keys.incarnation().to_bytes())
}

/// What every gRPC call passes: a limit per address before any token is looked at, whether it is meant for this incarnation of the
/// database, and a limit of time until the answer, or the stream, begins.
pub async fn limit_calls(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let address = client_ip(&app, request.headers(), request.extensions());
    if let Err(error) = app.throttle.calls_from(address) {
        return Status::from(error).into_http();
    }
    if let Some(known) = request.headers().get(INCARNATION_KEY)
        && known.as_bytes() != incarnation(&app).as_bytes()
    {
        // What the caller asks for or sends goes by what it saw of the other one. The answer names this one.
        let reason = "the database was restored from a backup since you last asked";
        return Status::from(ApiError::new(ErrorCode::Conflict, reason)).into_http();
    }
    match tokio::time::timeout(CALL_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::from(took_too_long()).into_http(),
    }
}

fn took_too_long() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the server took too long; try again")
}

/// Ends REST requests that take too long.
pub async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => took_too_long().into_response(),
    }
}
