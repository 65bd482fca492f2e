//! Changes of the caller's buckets, pushed as they are committed.
//!
//! A subscription goes on where it was after a broken connection. If the server no longer has what was missed, or cannot say,
//! it sends a resync: then the bucket has to be read again.

use std::collections::HashMap;
use std::time::Duration;

use cyx_core::ids::BucketId;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::event::Event as Kind;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::Result;
use crate::meta::MetaStream;

/// The server sends something every ten seconds. After three missed beats it is called again.
const SILENCE: Duration = Duration::from_secs(35);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A change. Each sequence number of a bucket comes once and in order.
    Change(Box<pb::Change>),
    /// Changes of this bucket were missed: read it again.
    Resync(BucketId),
    /// Somebody else wants to write in this bucket: finish and give the write lease back.
    LeaseRecall(BucketId),
    /// The connection stands (again). What was known by then is still true unless a resync follows.
    Connected,
}

/// A subscription. It never ends by itself.
pub struct Subscription {
    client: Client,
    positions: HashMap<BucketId, u64>,
    stream: Option<MetaStream<pb::Event>>,
    backoff: Backoff,
}

impl Client {
    /// Subscribes to changes, for the named buckets from behind these sequence numbers on, for others from now on.
    #[must_use]
    pub fn subscribe(&self, from: impl IntoIterator<Item = (BucketId, u64)>) -> Subscription {
        Subscription {
            client: self.clone(),
            positions: from.into_iter().collect(),
            stream: None,
            backoff: Backoff::endless(),
        }
    }
}

impl Subscription {
    /// The newest sequence number seen of a bucket.
    #[must_use]
    pub fn position(&self, bucket: BucketId) -> Option<u64> {
        self.positions.get(&bucket).copied()
    }

    /// A connection stands. While it does not, nothing that is remembered may be believed for long.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Waits for the next notice. May be dropped and called again without losing any.
    ///
    /// # Errors
    /// What cannot be mended by calling again: the session has ended, the server was restored from a backup, an answer is
    /// nonsense.
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                return Ok(Notice::Connected);
            };
            let received = match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Err(error)) if !error.is_transient() => {
                    self.stream = None;
                    return Err(error);
                }
                // It ended, broke, or fell silent.
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.stream = None;
                    continue;
                }
            };
            self.backoff.reset();
            if let Some(notice) = self.take(received)? {
                return Ok(notice);
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        loop {
            let from = self
                .positions
                .iter()
                .map(|(bucket, sequence)| pb::Position { bucket: bytes_of(*bucket), sequence: *sequence })
                .collect();
            match self.client.meta.subscribe(pb::SubscribeRequest { from }).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "subscribing again");
                    self.backoff.wait().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, event: pb::Event) -> Result<Option<Notice>> {
        match event.event {
            Some(Kind::Change(change)) => {
                let position = self.positions.entry(id(&change.bucket, "change.bucket")?).or_default();
                // What was delivered just before a connection broke comes again after it.
                if change.sequence <= *position {
                    return Ok(None);
                }
                *position = change.sequence;
                Ok(Some(Notice::Change(Box::new(change))))
            }
            Some(Kind::Resync(resync)) => {
                let bucket = id(&resync.bucket, "resync.bucket")?;
                self.positions.insert(bucket, resync.sequence);
                Ok(Some(Notice::Resync(bucket)))
            }
            Some(Kind::Recall(recall)) => Ok(Some(Notice::LeaseRecall(id(&recall.bucket, "recall.bucket")?))),
            Some(Kind::Beat(_)) | None => Ok(None),
        }
    }
}
