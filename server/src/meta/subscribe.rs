//! The stream of changes.
//!
//! It ends with the token it was begun with, or when the session is revoked; a client begins anew with a fresh token and the
//! positions it has, and misses nothing.

use std::collections::HashMap;
use std::time::Duration;

use cyx_core::ids::{AccountId, BucketId};
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{MetaServer, Parts, too_many};
use crate::app::AppState;
use crate::auth::{Caller, authenticate};
use crate::changes::feed::Feed;
use crate::error::ApiError;

/// How often the client learns that it has everything. Logs are looked into as often, because other servers may have changed something
/// that this one's bus does not tell.
const BEAT: Duration = Duration::from_secs(5);
/// Events that wait for a slow client.
const WAITING: usize = 64;
const POSITIONS_MAX: usize = 10_000;

impl MetaServer {
    pub(super) async fn watch(
        &self,
        caller: &Caller,
        token: String,
        request: pb::SubscribeRequest,
    ) -> Result<Parts<pb::Event>, ApiError> {
        if request.from.len() > POSITIONS_MAX {
            return Err(too_many("positions", POSITIONS_MAX));
        }
        let mut from: HashMap<BucketId, u64> = HashMap::with_capacity(request.from.len());
        for position in &request.from {
            from.insert(convert::id(&position.bucket, "bucket")?, position.sequence);
        }
        let feed =
            Feed::begin(self.app.db.clone(), &self.app.changes, caller.account, &from).await?.within(caller.scope);
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(serve(self.app.clone(), feed, (caller.account, token), sender));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

async fn serve(
    app: AppState,
    mut feed: Feed,
    (account, token): (AccountId, String),
    sender: mpsc::Sender<Result<pb::Event, Status>>,
) {
    let end = tokio::select! {
        end = pump(&app, &mut feed, (account, &token), &sender) => end,
        () = sender.closed() => return,
        () = app.shutdown.cancelled() => Err(ApiError::new(cyx_core::error::ErrorCode::Unavailable, "the server is stopping")),
    };
    if let Err(error) = end {
        let _ = sender.try_send(Err(error.into()));
    }
}

/// Passes events on until something ends it. `Ok`: the client is gone.
async fn pump(
    app: &AppState,
    feed: &mut Feed,
    (account, token): (AccountId, &str),
    sender: &mpsc::Sender<Result<pb::Event, Status>>,
) -> Result<(), ApiError> {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut revocations = app.sessions.revocations();
    loop {
        let next = tokio::select! {
            biased;
            () = revocations.of(account) => {
                authenticate(app, token).await?;
                continue;
            }
            _ = beat.tick() => {
                authenticate(app, token).await?;
                feed.ask_for_beat().await?;
                continue;
            }
            next = feed.next() => next?,
        };
        if sender.send(Ok(next)).await.is_err() {
            return Ok(());
        }
    }
}
