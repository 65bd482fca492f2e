//! Which path leads where.
//!
//! REST and WebSocket stand in one table, so that a test can compare it with the published description; gRPC services bring their
//! own paths and share the port.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post, put};
use cyx_core::error::ErrorCode;
use http::Method;
use tonic::service::Routes;

use super::middleware::{is_grpc, limit_time, observe};
use super::rest::{account, auth, machines, system};
use super::ws;
use crate::app::AppState;
use crate::error::ApiError;

/// Most bytes of a REST body.
const BODY_MAX: usize = 256 * 1024;

/// A line of the table.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path, with parameters in braces.
    pub path: &'static str,
    handler: MethodRouter<AppState>,
}

macro_rules! routes {
    ($($verb:ident $method:ident $path:literal => $handler:expr;)*) => {
        vec![$(Route { method: Method::$method, path: $path, handler: $verb($handler) }),*]
    };
}

/// All of REST.
#[must_use]
pub fn routes() -> Vec<Route> {
    routes! {
        post POST "/api/auth/register" => auth::register;
        post POST "/api/auth/prelogin" => auth::prelogin;
        post POST "/api/auth/login" => auth::login;
        post POST "/api/auth/login/verify" => auth::verify;
        put PUT "/api/auth/device-key" => auth::put_device_key;
        get GET "/api/auth/device-key" => auth::device_key;
        post POST "/api/auth/refresh" => auth::refresh;
        post POST "/api/auth/logout" => auth::logout;
        post POST "/api/auth/validate" => auth::validate;
        get GET "/api/identity" => account::identity;
        get GET "/api/v1/identity" => account::identity;
        get GET "/api/v1/quota" => account::quota;
        get GET "/api/v1/buckets" => account::buckets;
        get GET "/api/v1/nodes" => account::nodes;
        get GET "/ws" => ws::events;
        post POST "/api/machines/register" => machines::register;
        post POST "/api/machines/token" => machines::token;
        post POST "/api/machines/{id}/heartbeat" => machines::heartbeat;
        get GET "/health" => system::health;
        get GET "/version" => system::version;
        get GET "/metrics" => system::metrics;
        get GET "/openapi.json" => system::openapi;
    }
}

/// The router of the users' address: REST and the given gRPC services.
pub fn users(app: &AppState, grpc: Routes) -> Router {
    finish(app, rest(app, |_| true).merge(grpc.into_axum_router().reset_fallback()))
}

/// The router of the identity address: accounts, machines, and the server itself.
pub fn identity(app: &AppState) -> Router {
    const SERVED: [&str; 6] = ["/api/auth/", "/api/machines/", "/api/identity", "/health", "/version", "/metrics"];
    finish(app, rest(app, |path| SERVED.iter().any(|prefix| path.starts_with(prefix))))
}

fn rest(app: &AppState, serves: impl Fn(&str) -> bool) -> Router {
    let routes = routes().into_iter().filter(|route| serves(route.path));
    routes
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::from_fn(limit_time))
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone())
}

/// The router of the nodes' address: the given gRPC services.
pub fn nodes(app: &AppState, grpc: Routes) -> Router {
    finish(app, grpc.into_axum_router().reset_fallback())
}

fn finish(app: &AppState, router: Router) -> Router {
    router.fallback(unknown).layer(axum::middleware::from_fn_with_state(app.clone(), observe))
}

async fn unknown(request: Request) -> Response {
    if is_grpc(&request) {
        return tonic::Status::unimplemented("there is no such service").into_http::<axum::body::Body>();
    }
    ApiError::not_found("there is nothing at this path").into_response()
}

async fn wrong_method() -> Response {
    let error = ApiError::new(ErrorCode::InvalidArgument, "this path does not take this method");
    let mut response = error.into_response();
    *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    response
}
