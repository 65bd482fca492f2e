//! What handlers take out of a request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::app::{App, AppState};
use crate::auth::{self, Caller, Machine, Member};
use crate::error::ApiError;

/// The other end of the connection, put into every request by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The caller's address: the peer's, or what the proxy in front says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl FromRequestParts<AppState> for ClientIp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        Ok(Self(client_ip(app, &parts.headers, &parts.extensions)))
    }
}

/// Where a request comes from.
pub(super) fn client_ip(app: &App, headers: &http::HeaderMap, extensions: &http::Extensions) -> IpAddr {
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    if !app.config.trusts_forwarded() {
        return peer;
    }
    forwarded(headers).unwrap_or(peer)
}

/// The last entry is the one that our own proxy wrote; earlier ones come from the caller.
fn forwarded(headers: &http::HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// Parameters in the path. What cannot be one names nothing there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, app).await;
        let axum::extract::Path(found) = found.map_err(|_| ApiError::not_found("there is nothing at this path"))?;
        Ok(Self(found))
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        // The rule of the path has looked already.
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(caller.clone()),
            None => auth::authenticate(app, auth::bearer(&parts.headers)?).await,
        }
    }
}

impl FromRequestParts<AppState> for Member {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(member) => Ok(member.clone()),
            None => auth::authenticate_member(app, auth::bearer(&parts.headers)?).await,
        }
    }
}

impl FromRequestParts<AppState> for Machine {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(machine) => Ok(machine.clone()),
            None => auth::authenticate_machine(app, auth::bearer(&parts.headers)?).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxys_own_entry_counts() {
        let mut headers = http::HeaderMap::new();
        assert_eq!(forwarded(&headers), None);
        headers.append("x-forwarded-for", "203.0.113.9, 198.51.100.7".parse().unwrap());
        assert_eq!(forwarded(&headers), Some("198.51.100.7".parse().unwrap()));
        headers.append("x-forwarded-for", "2001:db8::1".parse().unwrap());
        assert_eq!(forwarded(&headers), Some("2001:db8::1".parse().unwrap()));
        headers.append("x-forwarded-for", "unknown".parse().unwrap());
        assert_eq!(forwarded(&headers), None);
    }
}
