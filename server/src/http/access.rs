//! Who may call which path: one rule per line of the table in [`super::router`], enforced in front of the handler.
//!
//! The table's type has no default, so a path without a rule does not compile. What a handler needs beyond it, for example that a
//! bucket is the caller's, it checks itself; a test walks every path with every kind of caller.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::AppState;
use crate::auth::{self, Permission};
use crate::error::ApiError;

use super::extract::client_ip;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, as often as they like: it is about the server alone.
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

/// Lets through who may call; handlers find the caller in the request.
pub(super) async fn enforce(
    State(Rule(app, access)): State<Rule>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match access {
        Access::Public => {}
        Access::Anyone => app.throttle.address(client_ip(&app, request.headers(), request.extensions()))?,
        Access::Machine => {
            let machine = auth::authenticate_machine(&app, auth::bearer(request.headers())?).await?;
            request.extensions_mut().insert(machine);
        }
        Access::Member | Access::MemberWith(_) => {
            let member = auth::authenticate_member(&app, auth::bearer(request.headers())?).await?;
            if let Access::MemberWith(permission) = access {
                member.require(permission)?;
            }
            app.throttle.account(member.account)?;
            request.extensions_mut().insert(member);
        }
        Access::Person | Access::Confirmed | Access::Admin => {
            let caller = auth::authenticate(&app, auth::bearer(request.headers())?).await?;
            match access {
                Access::Admin => caller.require_admin()?,
                _ => caller.require_person()?,
            }
            app.throttle.account(caller.account)?;
            request.extensions_mut().insert(caller);
        }
    }
    Ok(next.run(request).await)
}
