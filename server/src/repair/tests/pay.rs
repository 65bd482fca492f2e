//! What nodes have to be paid while everything goes wrong, added up beside the ledger from where shards lie after each step.

use cyx_core::earnings::{Rates, overlap};

use super::*;
use crate::db::DbError;
use crate::ledger::{PayOptions, books, epoch, meter, view};

const DAY: u64 = 24 * 3600;
const OPTIONS: PayOptions =
    PayOptions { epoch_seconds: DAY, rates: Rates { storage: u64::MAX >> 16, traffic: 1 }, hold_percent: 10 };

/// The bytes that each node has.
type Holdings = BTreeMap<NodeId, u64>;

/// The sums.
pub(super) struct Pay {
    /// Until when the ledger has written down what nodes kept, Unix seconds.
    metered: u64,
    /// What they had since then: from, until, bytes.
    stretches: Vec<(u64, u64, Holdings)>,
    /// Since when they have what they have now.
    since: u64,
    now: Holdings,
    expected: BTreeMap<NodeId, u128>,
}

impl Pay {
    /// The ledger begins on the world's clock.
    pub(super) async fn begin(world: &World) -> Self {
        execute(&world.test, &["DELETE FROM ledger_epoch".to_owned(), "DELETE FROM ledger_meter".to_owned()]).await;
        let start = to_seconds(world.now());
        let db = &world.test.app.db;
        let begun: Result<(), DbError> = db.write(move |conn| Box::pin(epoch::ensure(conn, OPTIONS, start))).await;
        begun.unwrap();
        let expected = BTreeMap::new();
        Self { metered: start, stretches: Vec::new(), since: start, now: Holdings::new(), expected }
    }

    /// Looks where shards lie, after something may have changed. Everything changed at this moment.
    pub(super) async fn look(&mut self, world: &World) {
        self.pass(to_seconds(world.now()));
        self.now.clear();
        for upload in &world.uploads {
            let segment = world.segment(upload.id).await;
            for node in segment.shards().filter_map(|shard| segment.holder(shard)) {
                *self.now.entry(node).or_default() += segment.shard_len();
            }
        }
    }

    fn pass(&mut self, until: u64) {
        if until > self.since {
            self.stretches.push((self.since, until, self.now.clone()));
            self.since = until;
        }
    }

    /// The ledger writes down what nodes kept until now.
    pub(super) async fn meter(&mut self, world: &World) {
        self.meter_until(world, to_seconds(world.now())).await;
    }

    async fn meter_until(&mut self, world: &World, until: u64) {
        self.pass(until);
        let app = &world.test.app;
        let heard = meter::heard(&mut app.db.read().await.unwrap(), &app.network.registry).await.unwrap();
        while self.metered < until {
            let to = until.min((self.metered / DAY + 1) * DAY);
            for (node, heard) in heard.iter().filter(|(_, heard)| heard.last >= self.metered) {
                let of = |(from, until, had): &(u64, u64, Holdings)| {
                    let until = (*until).min(heard.ended.unwrap_or(u64::MAX));
                    let bytes = had.get(node).copied().unwrap_or(0);
                    u128::from(overlap(self.metered, to, *from, Some(until))) * u128::from(bytes)
                };
                *self.expected.entry(*node).or_default() += self.stretches.iter().map(of).sum::<u128>();
            }
            self.metered = to;
        }
        self.stretches.clear();
        assert_eq!(meter::catch_up(&app.db, OPTIONS, &heard, until, 0).await.unwrap(), until);
    }

    /// The day ends, and everything that was paid is what nodes had, to the byte and the second.
    pub(super) async fn check(mut self, world: &World) {
        self.meter_until(world, (self.since / DAY + 1) * DAY).await;
        let mut read = world.test.app.db.read().await.unwrap();
        for node in world.nodes.keys() {
            let statements = view::statements(&mut read, *node, i64::MAX, 400).await.unwrap();
            let paid: u128 = statements.iter().map(|statement| statement.work.user_byte_seconds).sum();
            assert_eq!(paid, self.expected.get(node).copied().unwrap_or(0), "{node}");
        }
        assert!(self.expected.values().filter(|bytes| **bytes > 0).count() > 20);
        assert_eq!(books::check(&mut read).await.unwrap(), [""; 0]);
        let balances = books::balances(&mut read).await.unwrap();
        assert!(balances.len() > 20 && balances.values().sum::<i128>() == 0, "{balances:?}");
        assert_eq!(world.count("shard_change").await, 0, "what the ledger has passed is forgotten");
    }
}
