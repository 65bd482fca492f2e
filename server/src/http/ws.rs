//! `GET /ws`: events as JSON, for browsers, dashboards and scripts.
//!
//! Each event is one text message `{"type": …, "data": {…}}`. The caller says who it is by the `Authorization` header, by the parameter
//! `token`, or by a first message `{"token": "…"}`; a later message of that form renews the token. `topics` chooses (`file`,
//! `cluster`, `replication`, `job`; none means all) and `since` says where each bucket was left. Every 30 seconds a `Heartbeat` shows that
//! the connection lives. Then, and whenever a session was revoked, the token is looked at again: a revoked session hears nothing more.

mod events;

use std::collections::HashMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use cyx_core::error::ErrorCode;
use cyx_core::ids::BucketId;
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::app::AppState;
use crate::auth::{self, Permission};
use crate::changes::feed::Feed;
use crate::db::Backend;
use crate::error::ApiError;
use crate::http::connections::ConnectionPermit;
use crate::nodes::ClusterEvent;
use crate::time::now_seconds;

use self::events::{Outgoing, Topics};

/// How often a sign of life is sent.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long the first message may take.
const HELLO: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const SEND: Duration = Duration::from_secs(30);
/// Most bytes of a message from a client.
const MESSAGE_MAX: usize = 16 * 1024;
/// Most buckets in `since`.
const POSITIONS_MAX: usize = 10_000;

/// Parameters of `GET /ws`.
#[derive(Deserialize)]
pub struct Parameters {
    #[serde(default)]
    topics: String,
    #[serde(default)]
    since: String,
    token: Option<String>,
}

/// `GET /ws`
pub async fn events(
    State(app): State<AppState>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    permit: Option<Extension<ConnectionPermit>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Query(parameters) = parameters.map_err(|_| ApiError::invalid("the parameters are topics, since and token"))?;
    let upgrade = upgrade.map_err(|_| ApiError::invalid("this path speaks WebSocket"))?;
    let topics = parameters.topics.parse::<Topics>().map_err(ApiError::invalid)?;
    let since = positions(&parameters.since)?;
    let token = match (auth::bearer(&headers), parameters.token) {
        (Ok(token), _) => Some(token.to_owned()),
        (Err(_), token) => token,
    };
    // A bad token is refused before the connection changes its protocol, where callers see it best.
    if let Some(token) = &token {
        auth::authenticate_member(&app, token).await?.require(Permission::StorageRead)?;
    }
    let upgrade = upgrade.max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        serve(app, Connection { socket, topics }, token, since).await;
        drop(permit);
    }))
}

/// `<bucket>:<sequence>,…`
fn positions(text: &str) -> Result<HashMap<BucketId, u64>, ApiError> {
    let parse = |part: &str| {
        let (bucket, sequence) = part.split_once(':')?;
        Some((bucket.parse::<BucketId>().ok()?, sequence.parse::<u64>().ok()?))
    };
    let parts = text.split(',').filter(|part| !part.is_empty()).take(POSITIONS_MAX + 1);
    let found: Option<HashMap<_, _>> = parts.map(parse).collect();
    let found = found.ok_or_else(|| ApiError::invalid("since has the form <bucket>:<sequence>,…"))?;
    if found.len() > POSITIONS_MAX {
        return Err(ApiError::invalid("since names too many buckets"));
    }
    Ok(found)
}

struct Connection {
    socket: WebSocket,
    topics: Topics,
}

impl Connection {
    /// Sends an event if its topic is wanted. `false`: the client is gone.
    async fn send(&mut self, event: Outgoing) -> bool {
        if !self.topics.want(event.topic()) {
            return true;
        }
        let message = Message::text(event.into_text());
        matches!(tokio::time::timeout(SEND, self.socket.send(message)).await, Ok(Ok(())))
    }

    /// The next text from the client; `None` when it is gone.
    async fn receive(&mut self) -> Option<String> {
        loop {
            match self.socket.recv().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
            }
        }
    }

    async fn refuse(mut self, error: ApiError) {
        let _ = self.send(Outgoing::error(&error)).await;
        let _ = self.socket.send(Message::Close(None)).await;
    }
}

#[derive(Deserialize)]
struct Hello {
    token: String,
}

fn token_in(text: &str) -> Option<String> {
    serde_json::from_str::<Hello>(text).ok().map(|hello| hello.token)
}

async fn serve(app: AppState, mut connection: Connection, token: Option<String>, since: HashMap<BucketId, u64>) {
    let token = match token {
        Some(token) => Some(token),
        None => match tokio::time::timeout(HELLO, connection.receive()).await {
            Ok(Some(text)) => token_in(&text),
            Ok(None) => return,
            Err(_) => None,
        },
    };
    let Some(token) = token else {
        let error = ApiError::new(ErrorCode::InvalidCredentials, "a token is needed, for example as first message");
        return connection.refuse(error).await;
    };
    if let Err(error) = watch(&app, &mut connection, token, &since).await {
        connection.refuse(error).await;
    }
}

/// Passes events on. `Ok`: the client is gone.
async fn watch(
    app: &AppState,
    connection: &mut Connection,
    mut token: String,
    since: &HashMap<BucketId, u64>,
) -> Result<(), ApiError> {
    let mut revocations = app.sessions.revocations();
    let caller = auth::authenticate_member(app, &token).await?;
    caller.require(Permission::StorageRead)?;
    let mut cluster = app.network.registry.subscribe();
    let mut feed = Feed::begin(app.db.clone(), &app.changes, caller.account, since).await?.within(caller.scope);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let alive = tokio::select! {
            () = app.shutdown.cancelled() => {
                return Err(ApiError::new(ErrorCode::Unavailable, "the server is stopping"));
            }
            _ = heartbeat.tick() => {
                auth::authenticate_member(app, &token).await?;
                if app.db.backend() == Backend::Postgres {
                    // Other servers may have changed something that this one's bus does not tell.
                    feed.look_everywhere().await?;
                }
                connection.send(Outgoing::heartbeat(now_seconds())).await
            }
            () = revocations.of(caller.account) => {
                auth::authenticate_member(app, &token).await?;
                true
            }
            text = connection.receive() => match text {
                None => false,
                Some(text) => {
                    if let Some(renewed) = token_in(&text) {
                        let renewed_by = auth::authenticate_member(app, &renewed).await?;
                        if (renewed_by.account, renewed_by.scope) != (caller.account, caller.scope) {
                            return Err(ApiError::denied("the new token belongs to another account or key"));
                        }
                        token = renewed;
                    }
                    true
                }
            },
            event = feed.next() => match Outgoing::of_feed(event?) {
                Some(event) => connection.send(event).await,
                None => true,
            },
            event = next(&mut cluster) => connection.send(Outgoing::of_cluster(&event)).await,
        };
        if !alive {
            return Ok(());
        }
    }
}

/// The next event of the network. Those that a slow client missed are not repeated: it can ask for the present state.
async fn next(cluster: &mut broadcast::Receiver<ClusterEvent>) -> ClusterEvent {
    loop {
        match cluster.recv().await {
            Ok(event) => return event,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_one_form() {
        let bucket = "0123456789abcdef0123456789abcdef";
        let found = positions(&format!("{bucket}:7,")).unwrap();
        assert_eq!(found.get(&bucket.parse().unwrap()), Some(&7));
        assert!(positions("").unwrap().is_empty());
        for bad in ["x:1", bucket, &format!("{bucket}:-1"), &format!("{bucket}:1;{bucket}:2")] {
            assert!(positions(bad).is_err(), "{bad}");
        }
    }
}
