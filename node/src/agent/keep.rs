//! Following keep-lists: fetching a round, applying it range by range, confirming what was done.
//!
//! This runs beside the heartbeats, because a round over millions of chunks takes longer than a server waits for a sign of life.

use std::time::Duration;

use bytes::Bytes;
use cyx_core::ids::ChunkId;
use cyx_proto::convert;
use cyx_proto::node::v1::{ConfirmKeepListRequest, FetchKeepListsRequest};
use tokio::sync::watch;

use super::error::Error;
use super::link::Caller;
use crate::store::{KeepOutcome, StoreError};

/// Where every round begins.
const FIRST: ChunkId = ChunkId([0; 16]);
/// A round may take this long.
const ROUND_TIMEOUT: Duration = Duration::from_secs(3600);

/// Follows keep-lists.
pub(crate) struct Follower {
    caller: Caller,
    /// The newest round that is done.
    kept: u64,
    /// The newest round of which this run of the node applied the first range, and when it began with it.
    begun: Option<(u64, u64)>,
    /// When a round began that this run of the node applied from the first range to the last.
    applied: watch::Sender<Option<u64>>,
}

impl Follower {
    /// Follows over a caller's connection. `applied` is told when the trash is as the server wants it, and since which Unix second.
    pub(crate) fn new(caller: Caller, applied: watch::Sender<Option<u64>>) -> Self {
        Self { caller, kept: 0, begun: None, applied }
    }

    /// Follows every round that is announced, until nobody announces any more. A round that failed is taken up again when it is
    /// announced again, as every heartbeat does.
    pub(crate) async fn run(mut self, mut announced: watch::Receiver<u64>) {
        while announced.changed().await.is_ok() {
            let sequence = *announced.borrow_and_update();
            if let Err(error) = self.follow(sequence).await {
                tracing::warn!(%error, sequence, "a round of keep-lists was not finished");
            }
        }
    }

    /// Fetches and applies the round of keep-lists that the server announced, unless it is done already.
    ///
    /// # Errors
    /// [`Error`]; what was applied and confirmed until then stays so.
    async fn follow(&mut self, sequence: u64) -> Result<(), Error> {
        if sequence == 0 || sequence == self.kept {
            return Ok(());
        }
        let what = "keep-lists";
        let now = self.caller.node.clock.now();
        let node_id = convert::bytes_of(self.caller.node.identity.id());
        let message = FetchKeepListsRequest { node_id: node_id.clone(), sequence, after: Bytes::new() };
        let mut request = self.caller.with_token(message).await?;
        request.set_timeout(ROUND_TIMEOUT);
        let mut parts = match self.caller.rpc.fetch_keep_lists(request).await {
            Ok(parts) => parts.into_inner(),
            Err(status) => return Err(self.caller.refused(what, status).await),
        };
        loop {
            let part = match parts.message().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(status) => return Err(self.caller.refused(what, status).await),
            };
            let nonsense = |reason: String| Error::Nonsense { what, reason };
            let (list, keep) = self
                .caller
                .node
                .access
                .keep_list(&part.signed, &part.ids)
                .map_err(|error| nonsense(error.to_string()))?;
            if list.sequence != sequence {
                return Err(nonsense("another round than the one announced".to_owned()));
            }
            let (first, last) = (list.first, list.last);
            let outcome = match self.caller.node.store.apply_keep_list(list, keep).await {
                Ok(outcome) => {
                    if first == FIRST {
                        self.begun = Some((sequence, now));
                    }
                    outcome
                }
                // Applied before a confirmation that got lost.
                Err(StoreError::StaleKeepList) => KeepOutcome::default(),
                Err(error) => return Err(error.into()),
            };
            if outcome.trashed_chunks > 0 || outcome.restored_chunks > 0 || !outcome.missing.is_empty() {
                let (trashed, restored) = (outcome.trashed_chunks, outcome.restored_chunks);
                tracing::info!(sequence, trashed, restored, missing = outcome.missing.len(), "a keep-list was applied");
            }
            let message = ConfirmKeepListRequest {
                node_id: node_id.clone(),
                sequence,
                last: convert::bytes_of(last),
                trashed_chunks: outcome.trashed_chunks,
                trashed_bytes: outcome.trashed_bytes,
                missing: outcome.missing.into_iter().map(convert::bytes_of).collect(),
            };
            let request = self.caller.with_token(message).await?;
            if let Err(status) = self.caller.rpc.confirm_keep_list(request).await {
                return Err(self.caller.refused(what, status).await);
            }
        }
        self.kept = sequence;
        // A round that an earlier run began may be of days ago, and say less about that part than the server knows by now.
        if let Some((_, since)) = self.begun.filter(|(begun, _)| *begun == sequence) {
            self.applied.send_replace(Some(since));
        }
        Ok(())
    }
}
