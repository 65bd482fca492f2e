//! Who may call which path: one rule per line of the table in [`super::router`], enforced in front of the handler.
//!
//! The table's type has no default, so a path without a rule does not compile. What a handler needs beyond it, for example that a
//! bucket is the caller's, it checks itself; a test walks every path with every kind of caller.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use cyx_core::error::ErrorCode;

use crate::app::AppState;
use crate::auth::{self, Permission};
use crate::error::ApiError;

use super::extract::client_ip;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: it is about the server alone. Limited per address, so that whoever watches the server does not notice.
    Public,
    /// Anybody, because the body or query holds the secret, or there is none yet. Limited per address.
    Anyone,
    /// A person's device, a program with a key, or somebody whom a service that shares the secret vouches for.
    Member,
    /// As before, if it has this permission.
    MemberWith(Permission),
    /// A person's own device.
    Person,
    /// As before, with a fresh password and code of the chosen factor in the body ([`super::body::Confirmed`]): a stolen session must not
    /// be able to do this.
    Confirmed,
    /// An administrator's own device.
    Admin,
    /// A storage node's machine.
    Machine,
}

/// What [`enforce`] needs.
#[derive(Clone)]
pub(super) struct Rule(pub(super) AppState, pub(super) Access);

/// Lets through who may call; handlers find the caller in the request. Whoever cannot say who they are counts as their address, and everybody
/// else before it is asked whether they may.
pub(super) async fn enforce(
    State(Rule(app, access)): State<Rule>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let ip = client_ip(&app, request.headers(), request.extensions());
    match access {
        Access::Public => app.throttle.public(ip)?,
        Access::Anyone => app.throttle.address(ip)?,
        Access::Machine => {
            let machine = counted(&app, ip, auth::machine_calling(&app, request.headers()).await)?;
            request.extensions_mut().insert(machine);
        }
        Access::Member | Access::MemberWith(_) => {
            let member = match auth::bearer(request.headers()) {
                Ok(token) => auth::authenticate_member(&app, token).await,
                Err(error) => Err(error),
            };
            let member = counted(&app, ip, member)?;
            app.throttle.account(member.account)?;
            if let Access::MemberWith(permission) = access {
                member.require(permission)?;
            }
            request.extensions_mut().insert(member);
        }
        Access::Person | Access::Confirmed | Access::Admin => {
            let caller = match auth::bearer(request.headers()) {
                Ok(token) => auth::authenticate(&app, token).await,
                Err(error) => Err(error),
            };
            let caller = counted(&app, ip, caller)?;
            app.throttle.account(caller.account)?;
            match access {
                Access::Admin => caller.require_admin()?,
                _ => caller.require_person()?,
            }
            request.extensions_mut().insert(caller);
        }
    }
    Ok(next.run(request).await)
}

/// Counts requests whose token is not good, apart from those that need none.
fn counted<T>(app: &AppState, ip: IpAddr, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
    use ErrorCode::{InvalidCredentials, PermissionDenied, TokenExpired};
    if outcome.as_ref().is_err_and(|error| matches!(error.code, InvalidCredentials | PermissionDenied | TokenExpired)) {
        app.throttle.refused(ip)?;
    }
    outcome
}
