//! A subscriber's stream without gaps.
//!
//! The subscriber watches the bus *before* its positions are read, so nothing falls in between. What comes over the bus is passed on if it is
//! the very next change of its bucket, dropped if it was passed on already, and otherwise a reason to read the log. Transactions
//! may be announced out of order and a slow subscriber may lose notices: the log has everything in order.
//!
//! A beat comes after a look at every log: what was committed by then has been passed on before it.

use std::collections::{HashMap, HashSet, VecDeque};

use cyx_core::ids::{AccountId, BucketId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::event::Event as Pb;
use tokio::sync::broadcast::{self, error::RecvError};

use super::log::{self, Since};
use super::{Bus, Notice};
use crate::auth::Scope;
use crate::db::{Db, DbError};
use crate::time::now_seconds;
use crate::tree::buckets;
use crate::tree::write_lease::{self, Recalled};

/// Changes per statement.
const PAGE: i64 = 1000;

/// The changes of an account's buckets.
pub struct Feed {
    db: Db,
    account: AccountId,
    /// Of these buckets, those that the caller may see.
    scope: Scope,
    bus: broadcast::Receiver<Notice>,
    positions: HashMap<BucketId, u64>,
    /// Buckets whose log has to be looked at.
    behind: Vec<BucketId>,
    /// Found, but not passed on yet.
    ready: VecDeque<pb::Event>,
    /// The newest lease of each bucket whose recall was passed on.
    recalled: HashMap<BucketId, u64>,
    /// A beat is due as soon as nothing is left to be passed on.
    beat: bool,
    /// What the beats so far have told.
    told: HashMap<BucketId, u64>,
}

impl Feed {
    /// Begins at the given positions, and now where none is given. Buckets that the account may not see are left out.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(db: Db, bus: &Bus, account: AccountId, from: &HashMap<BucketId, u64>) -> Result<Self, DbError> {
        let bus = bus.watch();
        let mut read = db.read().await?;
        let mut positions = HashMap::new();
        for (bucket, newest) in buckets::positions(&mut read, account).await? {
            positions.insert(bucket, from.get(&bucket).copied().unwrap_or(newest));
        }
        drop(read);
        let behind = positions.keys().copied().collect();
        let (ready, recalled, told) = (VecDeque::new(), HashMap::new(), HashMap::new());
        Ok(Self { db, account, scope: Scope::Account, bus, positions, behind, ready, recalled, beat: false, told })
    }

    /// Leaves out what the caller's key is not for.
    #[must_use]
    pub fn within(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self.positions.retain(|bucket, _| scope.has(*bucket));
        self.behind.retain(|bucket| scope.has(*bucket));
        self
    }

    /// The next event. Waits until there is one; may be dropped while it waits without losing any.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn next(&mut self) -> Result<pb::Event, DbError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(bucket) = self.behind.last().copied() {
                self.read_log(bucket).await?;
                continue;
            }
            if std::mem::take(&mut self.beat) {
                return Ok(self.beat());
            }
            match self.bus.recv().await {
                Ok(notice) => self.hear(&notice),
                // The bus lives as long as the server; should it end, only the log is left.
                Err(RecvError::Lagged(_)) => self.look_everywhere().await?,
                Err(RecvError::Closed) => return Err(DbError::Closed),
            }
        }
    }

    /// Asks for a beat. It comes after everything that is committed by now.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn ask_for_beat(&mut self) -> Result<(), DbError> {
        self.look_everywhere().await?;
        self.beat = true;
        Ok(())
    }

    fn beat(&mut self) -> pb::Event {
        let moved = self.positions.iter().filter(|(bucket, sequence)| self.told.get(*bucket) != Some(*sequence));
        let positions =
            moved.map(|(bucket, sequence)| pb::Position { bucket: bytes_of(*bucket), sequence: *sequence }).collect();
        self.told.clone_from(&self.positions);
        event(Pb::Beat(pb::Beat { server_time: now_seconds(), positions }))
    }

    /// Looks at every bucket: for servers that do not hear each other's buses, and after notices were lost.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn look_everywhere(&mut self) -> Result<(), DbError> {
        let mut read = self.db.read().await?;
        let newest = buckets::positions(&mut read, self.account).await?;
        let recalled = write_lease::recalled(&mut read, self.account, now_seconds()).await?;
        drop(read);
        let mut behind = Vec::new();
        let mut gone: HashSet<BucketId> = self.positions.keys().copied().collect();
        for (bucket, newest) in newest.into_iter().filter(|(bucket, _)| self.scope.has(*bucket)) {
            gone.remove(&bucket);
            // A bucket that is new is read from its beginning.
            if *self.positions.entry(bucket).or_insert(0) != newest {
                behind.push(bucket);
            }
        }
        for bucket in gone {
            self.positions.remove(&bucket);
        }
        self.behind = behind;
        for (bucket, recalled) in recalled {
            self.hear_recall(bucket, recalled);
        }
        Ok(())
    }

    fn hear_recall(&mut self, bucket: BucketId, Recalled { fencing, expires_at }: Recalled) {
        let news = self.recalled.get(&bucket).is_none_or(|told| *told < fencing);
        if news && self.positions.contains_key(&bucket) {
            self.recalled.insert(bucket, fencing);
            let recall = pb::LeaseRecall { bucket: bytes_of(bucket), fencing, expires_at };
            self.ready.push_back(event(Pb::Recall(recall)));
        }
    }

    fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::Changes { bucket, changes } => {
                let Some(position) = self.positions.get_mut(bucket) else { return };
                for change in changes.iter() {
                    if change.sequence == *position + 1 {
                        *position += 1;
                        self.ready.push_back(event(Pb::Change(change.clone())));
                    } else if change.sequence > *position {
                        self.behind.push(*bucket);
                        return;
                    }
                }
            }
            Notice::Recall { bucket, recalled } => self.hear_recall(*bucket, *recalled),
            Notice::Joined { account, bucket } if *account == self.account && self.scope.has(*bucket) => {
                self.positions.entry(*bucket).or_insert(0);
                self.behind.push(*bucket);
            }
            Notice::Deleted { bucket } => {
                self.positions.remove(bucket);
            }
            Notice::Joined { .. } | Notice::Released { .. } => {}
        }
    }

    async fn read_log(&mut self, bucket: BucketId) -> Result<(), DbError> {
        let Some(after) = self.positions.get(&bucket).copied() else {
            self.behind.retain(|other| *other != bucket);
            return Ok(());
        };
        let mut read = self.db.read().await?;
        let member = buckets::is_member(&mut read, bucket, self.account).await?;
        let since = if member { log::since(&mut read, bucket, after, PAGE).await? } else { Since::Gone };
        drop(read);
        match since {
            Since::Gone => {
                self.positions.remove(&bucket);
                self.behind.retain(|other| *other != bucket);
            }
            Since::Gap(sequence) => {
                self.positions.insert(bucket, sequence);
                self.ready.push_back(event(Pb::Resync(pb::Resync { bucket: bytes_of(bucket), sequence })));
            }
            Since::Changes(changes) => {
                if changes.is_empty() {
                    self.behind.retain(|other| *other != bucket);
                }
                if let Some(last) = changes.last() {
                    self.positions.insert(bucket, last.sequence);
                }
                self.ready.extend(changes.into_iter().map(|change| event(Pb::Change(change))));
            }
        }
        Ok(())
    }
}

/// Wraps an event.
#[must_use]
pub fn event(event: Pb) -> pb::Event {
    pb::Event { event: Some(event) }
}
