//! Holds every answer over REST that any test of this crate gets to the published description: its status, and its code if it is a
//! refusal, must stand there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use cyx_core::error::ErrorCode;
use serde_json::Value;

/// What a status may mean: the codes that it may carry; none if it is no refusal.
pub(super) type Statuses = BTreeMap<u16, BTreeSet<String>>;

/// What the description promises, by method and path.
pub(super) fn promised() -> &'static BTreeMap<(String, String), Statuses> {
    static PROMISED: OnceLock<BTreeMap<(String, String), Statuses>> = OnceLock::new();
    PROMISED.get_or_init(|| {
        let document: Value = serde_json::from_str(crate::http::rest::system::OPENAPI).unwrap();
        let mut promised = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                let statuses = responses.iter().map(|(status, response)| (status.parse().unwrap(), codes(response)));
                promised.insert((method.clone(), path.clone()), statuses.collect());
            }
        }
        promised
    })
}

/// The codes that the description of a refusal lists.
fn codes(response: &Value) -> BTreeSet<String> {
    match response["$ref"].as_str() {
        Some(_) => response["description"].as_str().unwrap().split(", ").map(str::to_owned).collect(),
        None => BTreeSet::new(),
    }
}

/// A layer around all routes of REST.
pub(crate) async fn documented(request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_lowercase();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    // A wrong method is answered alike everywhere.
    if let Some(path) = path
        && response.status() != http::StatusCode::METHOD_NOT_ALLOWED
        && let Some(statuses) = promised().get(&(method.clone(), path.clone()))
    {
        let status = response.status().as_u16();
        let codes = statuses.get(&status).unwrap_or_else(|| panic!("{method} {path} answered {status}, undocumented"));
        if let Some(code) = response.extensions().get::<ErrorCode>() {
            assert!(codes.contains(code.as_str()), "{method} {path} answered {status} {code}, undocumented");
        }
    }
    response
}
