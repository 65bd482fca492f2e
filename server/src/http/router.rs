//! Which path leads where.
//!
//! REST and WebSocket stand in one table, so that a test can compare it with the published description; gRPC services bring their
//! own paths and share the port, and [`calls`] has their table.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use cyx_core::error::ErrorCode;
use http::Method;
use tonic::service::Routes;

use super::access::{Access, Rule, enforce};
use super::calls;
use super::middleware::{is_grpc, limit_calls, limit_time, observe};
use super::rest::{
    account, account_key, admin, admin_nodes, api_keys, audit_log, auth, credentials, devices, factors, identity,
    leaving, machines, nodes, reinstate, system, wallets,
};
use super::ws;
use crate::app::AppState;
use crate::auth::Permission;
use crate::error::ApiError;

/// Most bytes of a REST body.
const BODY_MAX: usize = 256 * 1024;

/// A line of the table.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path, with parameters in braces.
    pub path: &'static str,
    /// Who may call.
    pub access: Access,
    handler: MethodRouter<AppState>,
}

macro_rules! routes {
    ($($verb:ident $method:ident $path:literal, $access:expr => $handler:expr;)*) => {
        vec![$(Route { method: Method::$method, path: $path, access: $access, handler: $verb($handler) }),*]
    };
}

/// All of REST.
#[must_use]
pub fn routes() -> Vec<Route> {
    use Access::{Admin, Anyone, Confirmed, Machine, Member, MemberWith, Person, Public};
    const READ: Access = MemberWith(Permission::StorageRead);
    routes! {
        post POST "/api/auth/register", Anyone => auth::register;
        post POST "/api/auth/prelogin", Anyone => auth::prelogin;
        post POST "/api/auth/login", Anyone => auth::login;
        post POST "/api/auth/login/verify", Anyone => auth::verify;
        put PUT "/api/auth/device-key", Person => auth::put_device_key;
        get GET "/api/auth/device-key", Person => auth::device_key;
        post POST "/api/auth/refresh", Anyone => auth::refresh;
        post POST "/api/auth/logout", Person => auth::logout;
        post POST "/api/auth/validate", Anyone => auth::validate;
        post POST "/api/auth/confirm", Person => factors::confirm;
        get GET "/api/auth/factors", Person => factors::list;
        post POST "/api/auth/factors/totp", Confirmed => factors::enrol;
        post POST "/api/auth/factors/totp/confirm", Person => factors::confirm_app;
        post POST "/api/auth/factors/totp/remove", Confirmed => factors::remove_app;
        post POST "/api/auth/factors/backup-codes", Confirmed => factors::backup_codes;
        post POST "/api/v1/auth/challenge", Anyone => wallets::challenge;
        post POST "/api/v1/auth/wallet", Anyone => wallets::log_in;
        post POST "/api/auth/keys", Person => wallets::keys;
        get GET "/api/auth/wallets", Person => wallets::list;
        post POST "/api/auth/wallets", Confirmed => wallets::link;
        post POST "/api/auth/wallets/challenge", Person => wallets::link_challenge;
        post POST "/api/auth/wallets/remove", Confirmed => wallets::unlink;
        post POST "/api/auth/account-key", Confirmed => account_key::replace;
        post POST "/api/auth/password", Confirmed => credentials::password;
        put PUT "/api/auth/recovery", Confirmed => credentials::words;
        post POST "/api/auth/recover", Anyone => credentials::recover;
        post POST "/api/auth/recover/verify", Anyone => credentials::recover_verify;
        post POST "/api/auth/recover/finish", Anyone => credentials::recover_finish;
        post POST "/api/auth/email", Confirmed => credentials::email;
        post POST "/api/auth/email/confirm", Person => credentials::email_confirm;
        get GET "/api/auth/sessions", Person => devices::list;
        delete DELETE "/api/auth/sessions", Person => devices::end_all;
        delete DELETE "/api/auth/sessions/{id}", Person => devices::end;
        get GET "/api/auth/api-keys", Person => api_keys::list;
        post POST "/api/auth/api-keys", Confirmed => api_keys::create;
        get GET "/api/auth/api-keys/buckets/{bucket}", Person => api_keys::of_bucket;
        delete DELETE "/api/auth/api-keys/{id}", Person => api_keys::revoke;
        post POST "/api/auth/api-keys/token", Anyone => api_keys::exchange;
        get GET "/api/identity", Member => identity::identity;
        get GET "/api/v1/identity", Member => identity::identity;
        get GET "/api/v1/quota", Member => identity::quota;
        get GET "/api/v1/buckets", READ => identity::buckets;
        get GET "/api/v1/nodes", Member => nodes::all;
        get GET "/api/v1/nodes/own", Person => nodes::own;
        get GET "/api/v1/nodes/{id}/earnings", Person => nodes::earnings;
        get GET "/api/v1/nodes/{id}/earnings/{epoch}", Person => nodes::lines;
        get GET "/api/v1/audit", Person => audit_log::own;
        get GET "/api/v1/account/export", Person => account::export;
        post POST "/api/v1/account/delete", Confirmed => account::delete;
        post POST "/api/v1/account/delete/cancel", Person => account::cancel;
        get GET "/api/v1/admin/users", Admin => admin::users;
        get GET "/api/v1/admin/users/{user}", Admin => admin::user;
        put PUT "/api/v1/admin/users/{user}/plan", Admin => admin::plan;
        put PUT "/api/v1/admin/users/{user}/role", Admin => admin::role;
        put PUT "/api/v1/admin/users/{user}/disabled", Admin => admin::disabled;
        get GET "/api/v1/admin/audit", Admin => admin::audit_log;
        get GET "/api/v1/admin/audit/check", Admin => admin::audit_check;
        get GET "/api/v1/admin/nodes", Admin => admin_nodes::all;
        get GET "/api/v1/admin/nodes/{node}", Admin => admin_nodes::one;
        post POST "/api/v1/admin/nodes/{node}/reinstate", Admin => reinstate::reinstate;
        put PUT "/api/v1/admin/nodes/{node}/drain", Admin => leaving::drain;
        get GET "/api/v1/admin/nodes/{node}/drain", Admin => leaving::drained;
        put PUT "/api/v1/nodes/{node}/exit", Person => leaving::exit;
        get GET "/api/v1/nodes/{node}/exit", Person => leaving::exited;
        // The token may come as the first message.
        get GET "/ws", Anyone => ws::events;
        // The bearer is a person's token or an enrolment token.
        post POST "/api/machines/register", Anyone => machines::register;
        post POST "/api/machines/enrolments", Person => machines::create_enrolment;
        get GET "/api/machines/enrolments", Person => machines::enrolments;
        get GET "/api/machines/server-key", Anyone => machines::server_key;
        post POST "/api/machines/token", Anyone => machines::token;
        post POST "/api/machines/{id}/heartbeat", Machine => machines::heartbeat;
        get GET "/health", Public => system::health;
        get GET "/version", Public => system::version;
        get GET "/metrics", Public => system::metrics;
        get GET "/openapi.json", Public => system::openapi;
    }
}

/// The router of the users' address: REST and the given gRPC services.
pub fn users(app: &AppState, grpc: Routes) -> Router {
    finish(app, rest(app, |_| true).merge(services(app, grpc)))
}

/// The router of the identity address: accounts, machines, and the server itself.
pub fn identity(app: &AppState) -> Router {
    const SERVED: [&str; 8] = [
        "/api/auth/",
        "/api/v1/auth/",
        "/api/machines/",
        "/api/identity",
        "/api/v1/identity",
        "/health",
        "/version",
        "/metrics",
    ];
    finish(app, rest(app, |path| SERVED.iter().any(|prefix| path.starts_with(prefix))))
}

/// The router of a process that only works: about itself.
pub fn status(app: &AppState) -> Router {
    finish(app, rest(app, |path| ["/health", "/version", "/metrics"].contains(&path)))
}

fn rest(app: &AppState, serves: impl Fn(&str) -> bool) -> Router {
    let routes = routes().into_iter().filter(|route| serves(route.path));
    let router = routes
        .fold(Router::new(), |router, route| {
            let rule = from_fn_with_state(Rule(app.clone(), route.access), enforce);
            // The one body that grows with what the account has.
            let large = route.path == "/api/auth/account-key";
            let most = if large { account_key::BODY_MAX } else { BODY_MAX };
            router.route(route.path, route.handler.layer(DefaultBodyLimit::max(most)).route_layer(rule))
        })
        .layer(from_fn(limit_time));
    // Tests hold every answer to the published description.
    #[cfg(test)]
    let router = router.layer(from_fn(super::tests::documented::documented));
    router.method_not_allowed_fallback(wrong_method).with_state(app.clone())
}

/// The router of the nodes' address: the given gRPC services.
pub fn nodes(app: &AppState, grpc: Routes) -> Router {
    finish(app, services(app, grpc))
}

fn services(app: &AppState, grpc: Routes) -> Router {
    let rules = from_fn_with_state(app.clone(), calls::enforce);
    grpc.into_axum_router().reset_fallback().layer(rules).layer(from_fn_with_state(app.clone(), limit_calls))
}

fn finish(app: &AppState, router: Router) -> Router {
    router.fallback(unknown).layer(from_fn_with_state(app.clone(), observe))
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
