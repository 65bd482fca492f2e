//! Answers in parts: directories and the trash.
//!
//! An answer comes from one snapshot as long as its client reads. Only so many answers keep theirs while they wait for a client, and not for
//! long: each takes a connection to the database. The others give it back and go on with a newer one behind what they have said, as
//! the client would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{AccountId, BucketId, InodeId, TrashId};
use cyx_proto::convert;
use cyx_proto::meta::v1 as pb;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{MetaServer, Parts};
use crate::app::AppState;
use crate::auth::Caller;
use crate::db::{DbError, ReadTx};
use crate::error::ApiError;
use crate::tree::model::{EntryRow, InodeRow, Token};
use crate::tree::rekey::require_newest;
use crate::tree::{read, request, trash};

/// How long an answer keeps its snapshot while it waits for its client, in all.
const KEPT: Duration = Duration::from_secs(10);
/// How long an answer may last. The client then goes on with another call, whose token is looked at anew.
const LIFE: Duration = Duration::from_secs(600);
/// Parts that wait for a slow client.
const WAITING: usize = 4;
/// Trash entries that are read at once: those of the largest inodes are 16 MiB.
const TRASH_PAGE: i64 = 100;
/// Bytes of one message, about.
const PART_BYTES: usize = 4 * 1024 * 1024;

type Sender<T> = mpsc::Sender<Result<T, Status>>;

impl MetaServer {
    pub(super) async fn list_directory(
        &self,
        caller: &Caller,
        question: pb::ReadDirectoryRequest,
    ) -> Result<Parts<pb::ReadDirectoryResponse>, ApiError> {
        let directory = Some((convert::id(&question.directory, "directory")?, question.key_epoch));
        let after = question.after.map(|after| request::token(after, "after")).transpose()?;
        let snapshot = self.snapshot(caller, convert::id(&question.bucket, "bucket")?, directory).await?;
        let limit = if question.limit == 0 { u32::MAX } else { question.limit };
        Ok(in_parts(LIFE, move |sender| send_directory(snapshot, after, limit, sender)))
    }

    pub(super) async fn trash(
        &self,
        caller: &Caller,
        question: pb::ListTrashRequest,
    ) -> Result<Parts<pb::ListTrashResponse>, ApiError> {
        let snapshot = self.snapshot(caller, convert::id(&question.bucket, "bucket")?, None).await?;
        Ok(in_parts(LIFE, move |sender| send_trash(snapshot, sender)))
    }

    async fn snapshot(
        &self,
        caller: &Caller,
        bucket: BucketId,
        directory: Option<(InodeId, u32)>,
    ) -> Result<Snapshot, ApiError> {
        let (app, keepers) = (self.app.clone(), Arc::clone(&self.keepers));
        let mut snapshot =
            Snapshot { app, account: caller.account, bucket, directory, keepers, patience: KEPT, opened: None };
        snapshot.open().await?;
        Ok(snapshot)
    }
}

/// What an answer comes from.
struct Snapshot {
    app: AppState,
    account: AccountId,
    bucket: BucketId,
    /// The directory to be listed, and the epoch of its newest key that the client has.
    directory: Option<(InodeId, u32)>,
    keepers: Arc<Semaphore>,
    /// What is left of [`KEPT`].
    patience: Duration,
    opened: Option<Opened>,
}

struct Opened {
    read: ReadTx,
    root: InodeId,
    sequence: u64,
}

impl Snapshot {
    async fn open(&mut self) -> Result<(), ApiError> {
        let (mut read, bucket) = super::open(&self.app, self.account, self.bucket).await?;
        if let Some((directory, key_epoch)) = self.directory {
            let row = read::directory(&mut read, bucket.id, directory).await?;
            if key_epoch != 0 {
                require_newest(&row, key_epoch)?;
            }
        }
        self.opened = Some(Opened { read, root: bucket.root, sequence: bucket.sequence });
        Ok(())
    }

    async fn get(&mut self) -> Result<&mut Opened, ApiError> {
        if self.opened.is_none() {
            // Whatever changed so much meanwhile, the client is told when it asks again.
            self.open().await.map_err(|_| go_on())?;
        }
        self.opened.as_mut().ok_or_else(go_on)
    }

    /// Hands a part to a client that may be slow. Whether it still listens.
    async fn send<T>(&mut self, sender: &Sender<T>, part: T) -> bool {
        if self.opened.is_some()
            && let Ok(_turn) = self.keepers.try_acquire()
        {
            let began = Instant::now();
            let room = tokio::time::timeout(self.patience, sender.reserve()).await;
            self.patience = self.patience.saturating_sub(began.elapsed());
            match room {
                Ok(Ok(room)) => {
                    room.send(Ok(part));
                    return true;
                }
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
        }
        self.opened = None;
        sender.send(Ok(part)).await.is_ok()
    }
}

fn go_on() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "this answer ended early; ask for what follows")
}

/// An answer that a task gives.
fn in_parts<T, F>(life: Duration, answer: impl FnOnce(Sender<T>) -> F) -> Parts<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING + 1);
    // There is always room to say that an answer is not whole.
    let last = sender.clone().try_reserve_owned();
    let answer = answer(sender);
    tokio::spawn(async move {
        let outcome = tokio::time::timeout(life, answer).await.unwrap_or_else(|_| Err(go_on()));
        if let (Err(error), Ok(last)) = (outcome, last) {
            last.send(Err(error.into()));
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

async fn send_directory(
    mut snapshot: Snapshot,
    mut after: Option<Token>,
    limit: u32,
    sender: Sender<pb::ReadDirectoryResponse>,
) -> Result<(), ApiError> {
    let Some((directory, _)) = snapshot.directory else { return Ok(()) };
    let (bucket, mut left) = (snapshot.bucket, limit);
    let opened = snapshot.get().await?;
    let mut sequence = opened.sequence;
    let mut page = read::page(&mut opened.read, bucket, directory, after.as_ref(), left).await?;
    loop {
        left = left.saturating_sub(u32::try_from(page.rows.len()).unwrap_or(u32::MAX));
        let is_last = page.is_last || left == 0;
        if let Some((entry, _)) = page.rows.last() {
            after = Some(entry.token.clone());
        }
        let rows = page.rows;
        let sending = async {
            let rows = rows.iter().map(|(entry, inode)| (EntryRow::to_pb(entry), InodeRow::to_pb(inode))).collect();
            let parts = parts(rows, |(entry, inode)| entry.encoded_len() + inode.encoded_len());
            let part = |part: Vec<_>| {
                let (entries, inodes) = part.into_iter().unzip();
                pb::ReadDirectoryResponse { entries, inodes, sequence }
            };
            send_quickly(&sender, parts.into_iter().map(part).collect())
        };
        if is_last {
            let waiting = sending.await;
            drop(snapshot);
            for part in waiting {
                if sender.send(Ok(part)).await.is_err() {
                    break;
                }
            }
            return Ok(());
        }
        // Asked for first: the database looks for the next page while this one is made ready.
        let opened = snapshot.get().await?;
        let next = read::page(&mut opened.read, bucket, directory, after.as_ref(), left);
        let (next, waiting) = tokio::join!(next, sending);
        page = next?;
        sequence = opened.sequence;
        for part in waiting {
            if !snapshot.send(&sender, part).await {
                return Ok(());
            }
        }
    }
}

async fn send_trash(mut snapshot: Snapshot, sender: Sender<pb::ListTrashResponse>) -> Result<(), ApiError> {
    let bucket = snapshot.bucket;
    let mut after: Option<TrashId> = None;
    loop {
        let Opened { read, root, .. } = snapshot.get().await?;
        let entries = trash::list_pb(read, bucket, *root, after, TRASH_PAGE).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = Some(TrashId::try_from(&last.id[..]).map_err(|_| DbError::Corrupt("trash.id"))?);
        for entries in parts(entries, pb::TrashEntry::encoded_len) {
            if !snapshot.send(&sender, pb::ListTrashResponse { entries }).await {
                return Ok(());
            }
        }
    }
}

/// Hands over parts for which there is room. What is left.
fn send_quickly<T>(sender: &Sender<T>, parts: Vec<T>) -> Vec<T> {
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        if let Err(TrySendError::Full(Ok(part)) | TrySendError::Closed(Ok(part))) = sender.try_send(Ok(part)) {
            return std::iter::once(part).chain(parts).collect();
        }
    }
    Vec::new()
}

/// Cuts rows into parts of about [`PART_BYTES`], at least one.
fn parts<T>(rows: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for row in rows {
        let more = bytes_of(&row);
        match parts.last_mut() {
            Some(part) if part.is_empty() || bytes + more <= PART_BYTES => {
                part.push(row);
                bytes += more;
            }
            _ => {
                parts.push(vec![row]);
                bytes = more;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_ends_early_says_so() {
        let mut parts = in_parts(Duration::from_millis(20), |sender: Sender<u8>| async move {
            while sender.send(Ok(1)).await.is_ok() {}
            Ok(())
        });
        let end = loop {
            match parts.next().await.expect("it does not just stop") {
                Ok(part) => assert_eq!(part, 1),
                Err(end) => break end,
            }
        };
        assert_eq!(cyx_proto::status::error_code(&end), ErrorCode::Unavailable);
        assert!(parts.next().await.is_none());
    }

    #[test]
    fn no_row_is_lost_and_none_is_cut() {
        let rows = vec![PART_BYTES * 2, 1, PART_BYTES - 1, 1, 1];
        assert_eq!(parts(rows, |row| *row), [vec![PART_BYTES * 2], vec![1, PART_BYTES - 1], vec![1, 1]]);
        assert_eq!(parts(Vec::<usize>::new(), |row| *row), [Vec::<usize>::new()]);
    }
}
