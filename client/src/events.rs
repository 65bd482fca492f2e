//! Changes of the caller's buckets, pushed as they are committed.
//!
//! A subscription goes on where it was after a broken connection. If the server no longer has what was missed, or cannot say,
//! it sends a resync: then the bucket has to be read again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use cyx_core::ids::BucketId;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::event::Event as Kind;
use futures_util::future::BoxFuture;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::Result;
use crate::meta::MetaStream;

/// The server sends something every five seconds. After three missed beats it is called again, and what is remembered counts as doubtful.
pub const SILENCE: Duration = Duration::from_secs(16);

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
    /// Every change that was committed before has been passed on, see [`Subscription::position`].
    Beat,
    /// The connection broke, ended or fell silent. The next call makes another one.
    Disconnected,
}

/// A connection that is being made, and how long the next one has to wait.
type Connecting = BoxFuture<'static, (Result<MetaStream<pb::Event>>, Backoff)>;

/// A subscription. It never ends by itself.
pub struct Subscription {
    client: Client,
    positions: HashMap<BucketId, u64>,
    stream: Option<MetaStream<pb::Event>>,
    /// Kept from call to call of [`Self::next`]: whoever looks after other things in between would begin it anew each time, and on a
    /// long way never end it.
    connecting: Option<Connecting>,
    backoff: Backoff,
    heard: Option<Instant>,
    recalled: HashMap<BucketId, u64>,
    waiting: VecDeque<Notice>,
}

impl Client {
    /// Subscribes to changes, for the named buckets from behind these sequence numbers on, for others from now on.
    #[must_use]
    pub fn subscribe(&self, from: impl IntoIterator<Item = (BucketId, u64)>) -> Subscription {
        Subscription {
            client: self.clone(),
            positions: from.into_iter().collect(),
            stream: None,
            connecting: None,
            backoff: Backoff::endless(),
            heard: None,
            recalled: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }
}

/// Calls until the server answers.
async fn connect(
    client: Client,
    request: pb::SubscribeRequest,
    mut backoff: Backoff,
) -> (Result<MetaStream<pb::Event>>, Backoff) {
    loop {
        match client.meta.subscribe(request.clone()).await {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "subscribing again");
                backoff.wait().await;
            }
            connected => return (connected, backoff),
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

    /// When something came over the present connection for the last time. Nothing for [`SILENCE`]: what is remembered may be old.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard.filter(|_| self.is_connected())
    }

    /// Fencing number of the newest write lease of a bucket that was recalled, as far as it was told.
    #[must_use]
    pub fn recalled(&self, bucket: BucketId) -> Option<u64> {
        self.recalled.get(&bucket).copied()
    }

    /// Gives up the present connection, and goes on over another one from where this one was.
    pub fn restart(&mut self) {
        (self.stream, self.connecting) = (None, None);
    }

    /// Waits for the next notice. May be dropped and called again without losing any.
    ///
    /// # Errors
    /// What cannot be mended by calling again: the session has ended, the server was restored from a backup, an answer is
    /// nonsense.
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            if let Some(notice) = self.waiting.pop_front() {
                return Ok(notice);
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                return Ok(Notice::Connected);
            };
            // Counted from what was heard last: a call that is dropped and made again does not begin anew.
            let until = self.heard.unwrap_or_else(Instant::now) + SILENCE;
            let received = match tokio::time::timeout_at(until.into(), stream.next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Err(error)) if !error.is_transient() => {
                    self.stream = None;
                    return Err(error);
                }
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.stream = None;
                    return Ok(Notice::Disconnected);
                }
            };
            self.backoff.reset();
            self.heard = Some(Instant::now());
            if let Some(notice) = self.take(received)? {
                return Ok(notice);
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let connecting = match &mut self.connecting {
            Some(connecting) => connecting,
            none => {
                let positions = self.positions.iter();
                let from = positions
                    .map(|(bucket, sequence)| pb::Position { bucket: bytes_of(*bucket), sequence: *sequence })
                    .collect();
                let backoff = std::mem::replace(&mut self.backoff, Backoff::endless());
                none.insert(Box::pin(connect(self.client.clone(), pb::SubscribeRequest { from }, backoff)))
            }
        };
        let (connected, backoff) = connecting.await;
        (self.connecting, self.backoff) = (None, backoff);
        self.stream = Some(connected?);
        self.heard = Some(Instant::now());
        Ok(())
    }

    /// The server says that it has sent everything up to these numbers. A subscription that begins now learns where it stands, so
    /// that it goes on from there after a broken connection.
    fn beat(&mut self, beat: &pb::Beat) -> Result<()> {
        for position in &beat.positions {
            let bucket = id(&position.bucket, "beat.bucket")?;
            let known = self.positions.entry(bucket).or_insert(position.sequence);
            if *known < position.sequence {
                *known = position.sequence;
                // Something was left out of the stream.
                self.waiting.push_back(Notice::Resync(bucket));
            }
        }
        self.waiting.push_back(Notice::Beat);
        Ok(())
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
            Some(Kind::Recall(recall)) => {
                let bucket = id(&recall.bucket, "recall.bucket")?;
                self.recalled.insert(bucket, recall.fencing);
                Ok(Some(Notice::LeaseRecall(bucket)))
            }
            Some(Kind::Beat(beat)) => {
                self.beat(&beat)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}
