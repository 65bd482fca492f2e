//! `/api/v1/account/*`: everything about the caller, and leaving.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::{Answer, Empty};
use crate::accounts::closing;
use crate::accounts::export::{self, Export};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::body::{Confirmed, Nothing};
use crate::http::extract::ClientIp;

/// `GET /api/v1/account/export`
pub async fn export(State(app): State<AppState>, ClientIp(ip): ClientIp, caller: Caller) -> Result<Response, ApiError> {
    export::begin(&app, &caller, ip).await?;
    let begun = Export::new(caller.account);
    let stream = futures_util::stream::try_unfold((app, begun), |(app, mut export)| async move {
        let lines = export.next(&app).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(lines.map(|lines| (Bytes::from(lines), (app, export))))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// Answer of `POST /api/v1/account/delete`.
#[derive(Serialize)]
pub struct DeleteResponse {
    delete_at: u64,
}

/// `POST /api/v1/account/delete`
pub async fn delete(
    State(app): State<AppState>,
    ClientIp(ip): ClientIp,
    caller: Caller,
    Confirmed { confirmation, body: Nothing {} }: Confirmed<Nothing>,
) -> Answer<DeleteResponse> {
    let delete_at = closing::ask(&app, &caller, confirmation, ip).await?;
    Ok(axum::Json(DeleteResponse { delete_at }))
}

/// `POST /api/v1/account/delete/cancel`
pub async fn cancel(State(app): State<AppState>, ClientIp(ip): ClientIp, caller: Caller) -> Answer<Empty> {
    closing::cancel(&app, &caller, ip).await?;
    Ok(axum::Json(Empty {}))
}
