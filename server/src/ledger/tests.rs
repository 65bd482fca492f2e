//! The ledger against a real database, with a clock of the test's own.

mod payouts;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cyx_core::earnings::{Rates, Work, overlap};
use cyx_core::ids::{AccountId, GrantId, NodeId, Random as _, SegmentId};
use cyx_core::order::Order;
use cyx_core::scheme::Scheme;
use cyx_core::units::{GB, GIB, NODE_RESERVED};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::close::{held_account, held_balances, operator_account, paid_account};
use super::meter::{Heard, catch_up, measure};
use super::settle::{Exporter, Payout, csv, payouts, settle_due};
use super::*;
use crate::audits::Standing;
use crate::nodes::registry::Leaving;
use crate::nodes::testing::{account, execute, literal, node, number, placement, server_with};
use crate::nodes::{Liveness, NodeRecord};
use crate::orders::rows::NewGrant;
use crate::orders::{Promise, hand_in, promise};
use crate::placement::Placement;
use crate::test_support::TestApp;

const OWNER: AccountId = AccountId([7; 16]);
/// The first second that is paid for: a whole number of epochs since 1970.
const START: u64 = 1_000_000;
const EPOCH: u64 = 1000;
const OPTIONS: PayOptions = PayOptions {
    epoch_seconds: EPOCH,
    rates: Rates { storage: 1_500_000_000, traffic: 2_000_000_000 },
    hold_percent: 10,
};

fn id(number: u8) -> NodeId {
    node(number).id
}

/// A server with three nodes whose ledger begins at [`START`].
async fn server() -> TestApp {
    let test = server_with((1..=3).map(node), |_| {}).await;
    execute(&test, &["DELETE FROM ledger_epoch".to_owned(), "DELETE FROM ledger_meter".to_owned()]).await;
    let begun: Result<(), DbError> = test.app.db.write(|conn| Box::pin(epoch::ensure(conn, OPTIONS, START))).await;
    begun.unwrap();
    account(&test, OWNER, 1 << 40).await;
    test
}

/// Of a node that was always there.
const HEARD: Heard = Heard { registered: 0, last: u64::MAX, ended: None };

fn always() -> HashMap<NodeId, Heard> {
    (1..=3).map(|number| (id(number), HEARD)).collect()
}

async fn meter(test: &TestApp, until: u64) -> u64 {
    catch_up(&test.app.db, OPTIONS, &always(), until, 0).await.unwrap()
}

/// A segment of three copies-and-parity shards (2+1), so long that each shard has `bytes`.
async fn segment(test: &TestApp, place: &Placement, bytes: u64, created: u64, freed: Option<u64>) -> SegmentId {
    let segment = SegmentId::random();
    let ns = |seconds: u64| seconds * 1_000_000_000 + 999;
    let (key, place, none) = (literal(test, &segment.0), literal(test, &place.id.0), literal(test, &[]));
    let (length, created, freed) = (bytes * 2, ns(created), freed.map_or(0, ns));
    let text = format!(
        "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) \
         VALUES ({key}, {none}, 2, 1, {length}, 0, {place}, 7, {none}, 1, {created}, {freed})"
    );
    execute(test, &[text]).await;
    segment
}

async fn place(test: &TestApp) -> Placement {
    placement(test, Scheme::new(2, 1).unwrap(), &[id(1), id(2), id(3)]).await
}

fn session() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

async fn issue(test: &TestApp, node: NodeId, allowance: u64) -> GrantId {
    let grant =
        NewGrant { id: GrantId::random(), node, lease: None, allowance, expires: crate::time::now_seconds() + 60 };
    let written = test.app.db.write(move |conn| {
        Box::pin(async move {
            let session_key = session().verifying_key().to_bytes();
            promise(conn, &Promise { account: OWNER, session_key, grants: vec![grant] }).await
        })
    });
    written.await.unwrap();
    grant.id
}

async fn order(test: &TestApp, node: NodeId, grant: GrantId, traffic: u64) {
    let order: Bytes = Order { node, grant, traffic }.sign(&session()).into();
    let results = hand_in(&test.app.db, node, vec![order]).await.unwrap();
    assert_eq!((results[0].refused.as_str(), results[0].settled_bytes), ("", traffic));
}

async fn findings(test: &TestApp) -> Vec<String> {
    books::check(&mut test.app.db.read().await.unwrap()).await.unwrap()
}

async fn balances(test: &TestApp) -> BTreeMap<String, i128> {
    books::balances(&mut test.app.db.read().await.unwrap()).await.unwrap()
}

async fn statement(test: &TestApp, node: NodeId, epoch: i64) -> view::Statement {
    let all = view::statements(&mut test.app.db.read().await.unwrap(), node, epoch + 1, 1).await.unwrap();
    assert_eq!(all[0].epoch.id, epoch);
    all[0]
}

#[tokio::test]
async fn bytes_count_for_the_seconds_between_commit_and_end() {
    let test = server().await;
    let place = place(&test).await;
    segment(&test, &place, 10, START - 5, None).await;
    segment(&test, &place, 100, START + 20, Some(START + 50)).await;
    segment(&test, &place, 1000, START + 90, None).await;
    assert_eq!(meter(&test, START + 40).await, START + 40);
    assert_eq!(meter(&test, START + 100).await, START + 100);
    let mut read = test.app.db.read().await.unwrap();
    let periods = view::periods(&mut read, id(2), 1).await.unwrap();
    let lines: Vec<_> =
        periods.iter().map(|line| (line.ends - line.begins, line.shards, line.bytes, line.byte_seconds)).collect();
    assert_eq!(lines, [(40, 2, 110, 10 * 40 + 100 * 20), (60, 2, 1010, 10 * 60 + 100 * 10 + 1000 * 10)]);
    assert!(periods.iter().all(|line| line.reserved_seconds == line.ends - line.begins));
}

#[tokio::test]
async fn lost_shards_and_moved_ones_are_paid_to_whoever_has_them() {
    let test = server().await;
    let place = place(&test).await;
    let (lost, moved) = (segment(&test, &place, 10, START, None).await, segment(&test, &place, 100, START, None).await);
    let (lost, moved) = (literal(&test, &lost.0), literal(&test, &moved.0));
    // Shard 0 of node 1 is lost; shard 1 went from node 2 to node 1.
    let to = literal(&test, &id(1).0);
    execute(
        &test,
        &[
            format!("UPDATE segment SET present = 6 WHERE id = {lost}"),
            format!("INSERT INTO segment_override (segment, shard, node) VALUES ({moved}, 1, {to})"),
        ],
    )
    .await;
    let kept = measure(&mut test.app.db.read().await.unwrap(), START, START + 10, &always()).await.unwrap();
    let seconds = |number: u8| kept[&id(number)].byte_seconds;
    assert_eq!([seconds(1), seconds(2), seconds(3)], [2 * 1000, 100, 100 + 1000]);
}

#[tokio::test]
async fn a_node_that_was_not_heard_of_is_not_paid_and_time_before_its_registration_neither() {
    let test = server().await;
    let nodes = HashMap::from([
        (id(1), Heard { last: START + 10, ..HEARD }),
        (id(2), Heard { registered: START + 70, last: START + 90, ..HEARD }),
        (id(3), Heard { last: START - 1, ..HEARD }),
    ]);
    for until in [START + 50, START + 100] {
        catch_up(&test.app.db, OPTIONS, &nodes, until, 0).await.unwrap();
    }
    let mut read = test.app.db.read().await.unwrap();
    let mut seconds = Vec::new();
    for number in 1..=3 {
        let lines = view::periods(&mut read, id(number), 1).await.unwrap();
        seconds.push(lines.iter().map(|line| line.reserved_seconds).collect::<Vec<_>>());
    }
    assert_eq!(seconds, [vec![50], vec![30], vec![]]);
}

/// Says that a shard went to another node, or nowhere, at a Unix second.
async fn change(test: &TestApp, segment: SegmentId, shard: u8, had: Option<NodeId>, has: Option<NodeId>, at: u64) {
    let (key, bit) = (literal(test, &segment.0), 1 << shard);
    let statements = match has {
        None => vec![format!("UPDATE segment SET present = present - {bit} WHERE id = {key}")],
        Some(node) => vec![
            format!("UPDATE segment SET present = present | {bit} WHERE id = {key}"),
            format!(
                "INSERT INTO segment_override (segment, shard, node) VALUES ({key}, {shard}, {}) \
                 ON CONFLICT (segment, shard) DO UPDATE SET node = excluded.node",
                literal(test, &node.0)
            ),
        ],
    };
    execute(test, &statements).await;
    let at = i64::try_from(at * 1_000_000_000 + 500).unwrap();
    let noted = test.app.db.write(move |conn| {
        Box::pin(async move { changes::note(conn, changes::Change { segment, shard, had, has }, at).await })
    });
    noted.await.unwrap();
}

#[tokio::test]
async fn a_shard_counts_for_each_node_that_had_it_from_one_second_to_the_other() {
    let test = server().await;
    let place = place(&test).await;
    let moving = segment(&test, &place, 100, START, None).await;
    // Node 1 loses its shard, node 3 makes it anew and hands it to node 2, before the meter passes and after.
    change(&test, moving, 0, Some(id(1)), None, START + 10).await;
    change(&test, moving, 0, None, Some(id(3)), START + 25).await;
    change(&test, moving, 0, Some(id(3)), Some(id(2)), START + 40).await;
    meter(&test, START + 30).await;
    let mut read = test.app.db.read().await.unwrap();
    let mut lines = Vec::new();
    for number in 1..=3 {
        let periods = view::periods(&mut read, id(number), 1).await.unwrap();
        lines.push((periods[0].shards, periods[0].bytes, periods[0].byte_seconds));
    }
    drop(read);
    assert_eq!(lines, [(0, 0, 1000), (1, 100, 3000), (2, 200, 3500)]);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM shard_change").await, 1, "what it passed goes");
    meter(&test, START + 50).await;
    let mut read = test.app.db.read().await.unwrap();
    let mut lines = Vec::new();
    for number in 1..=3 {
        let periods = view::periods(&mut read, id(number), 1).await.unwrap();
        lines.push((periods[1].shards, periods[1].bytes, periods[1].byte_seconds));
    }
    assert_eq!(lines, [(0, 0, 0), (2, 200, 3000), (1, 100, 3000)]);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM shard_change").await, 0);
}

#[tokio::test]
async fn a_node_that_is_lost_has_left_or_failed_is_paid_until_then() {
    let second = |seconds: u64| i64::try_from(seconds * 1_000_000_000).unwrap();
    let here = NodeRecord { last_heartbeat_ns: second(START + 100), ..node(1) };
    let left = NodeRecord { leaving: Leaving::Exited, ..here.clone() };
    let left = NodeRecord { id: id(2), public_key: node(2).public_key, ..left };
    let failed =
        NodeRecord { id: id(3), public_key: node(3).public_key, standing: Standing::Disqualified, ..here.clone() };
    let lost = NodeRecord { id: id(4), public_key: node(4).public_key, state: Liveness::Lost, ..here.clone() };
    let lost = NodeRecord { last_heartbeat_ns: second(START + 30), ..lost };
    let test = server_with([here, left, failed, lost], |_| {}).await;
    let [left, failed] = [2, 3].map(|number| literal(&test, &id(number).0));
    execute(
        &test,
        &[
            format!("UPDATE node SET leaving = 'exited', leaving_ns = {} WHERE id = {left}", second(START + 60)),
            format!(
                "INSERT INTO node_audit (node, standing, standing_ns, vetted, good, bad, score, passed, lost, corrupt, timed_out, \
                 refused, unreachable, unreachable_ns, alarm_ns, last_ns, last_outcome) \
                 VALUES ({failed}, 'disqualified', {}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '')",
                second(START + 80)
            ),
        ],
    )
    .await;
    let mut read = test.app.db.read().await.unwrap();
    let heard = meter::heard(&mut read, &test.app.network.registry).await.unwrap();
    let ended = [1, 2, 3, 4].map(|number| heard[&id(number)].ended);
    assert_eq!(ended, [None, Some(START + 60), Some(START + 80), Some(START + 30)]);
    drop(read);
    execute(&test, &["DELETE FROM ledger_epoch".to_owned(), "DELETE FROM ledger_meter".to_owned()]).await;
    let begun: Result<(), DbError> = test.app.db.write(|conn| Box::pin(epoch::ensure(conn, OPTIONS, START))).await;
    begun.unwrap();
    let place = placement(&test, Scheme::new(2, 2).unwrap(), &[id(1), id(2), id(3), id(4)]).await;
    let kept = segment(&test, &place, 10, START, None).await;
    execute(&test, &[format!("UPDATE segment SET present = 15, m = 2 WHERE id = {}", literal(&test, &kept.0))]).await;
    catch_up(&test.app.db, OPTIONS, &heard, START + 100, 0).await.unwrap();
    let mut read = test.app.db.read().await.unwrap();
    let mut paid = Vec::new();
    for number in 1..=4 {
        let periods = view::periods(&mut read, id(number), 1).await.unwrap();
        paid.push((periods[0].byte_seconds, periods[0].reserved_seconds, periods[0].shards));
    }
    assert_eq!(paid, [(1000, 100, 1), (600, 60, 0), (800, 80, 0), (300, 30, 0)]);
}

#[tokio::test]
async fn an_epoch_ends_with_statements_that_follow_from_its_facts() {
    let test = server().await;
    let place = place(&test).await;
    segment(&test, &place, GB, START + 100, None).await;
    let grant = issue(&test, id(1), GIB).await;
    order(&test, id(1), grant, 300_000_000).await;
    order(&test, id(1), grant, 500_000_000).await;
    // Over two ends of epochs at once, as after a night without the server.
    assert_eq!(meter(&test, START + 2 * EPOCH + 10).await, START + 2 * EPOCH + 10);
    let first = statement(&test, id(1), 1).await;
    let expected = Work {
        user_byte_seconds: u128::from(GB) * 900,
        reserved_byte_seconds: u128::from(NODE_RESERVED) * 1000,
        traffic_bytes: 500_000_000,
    };
    assert_eq!((first.work, first.settled_ns), (expected, 0));
    let pay = expected.pay(OPTIONS.rates);
    assert_eq!(pay.traffic, 1_000_000_000);
    assert_eq!(first.held, pay.operator / 10);
    // Nothing is paid twice: the order was for the first epoch.
    assert_eq!(statement(&test, id(1), 2).await.work.traffic_bytes, 0);
    order(&test, id(1), grant, 600_000_000).await;
    let (open, so_far) = view::so_far(&mut test.app.db.read().await.unwrap(), id(1)).await.unwrap();
    assert_eq!((open.id, so_far.traffic_bytes), (3, 100_000_000));
    assert_eq!(findings(&test).await, [""; 0]);
    assert_eq!(balances(&test).await.values().sum::<i128>(), 0);
}

#[tokio::test]
async fn payouts_are_exported_and_posted_once() {
    let test = server().await;
    let folder = test.folder().join("payouts");
    let address = format!(
        "UPDATE node SET payout_address = '=1+1,\"x\"', operator = {} WHERE id = {}",
        literal(&test, &OWNER.0),
        literal(&test, &id(1).0)
    );
    execute(&test, &[address]).await;
    meter(&test, START + EPOCH).await;
    let due = payouts(&mut test.app.db.read().await.unwrap(), None).await.unwrap();
    assert_eq!(due.len(), 3);
    let total: u64 = due.iter().map(|payout| payout.micros).sum();
    assert!(total > 0);
    // A file where the folder should be: nothing is paid, and nothing is posted.
    std::fs::write(&folder, "").unwrap();
    let exporter = Exporter::new(folder.clone());
    assert!(settle_due(&test.app.db, &exporter).await.is_err());
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_posting WHERE reason = 'paid'").await, 0);
    std::fs::remove_file(&folder).unwrap();

    assert_eq!(settle_due(&test.app.db, &exporter).await.unwrap(), total);
    assert_eq!(settle_due(&test.app.db, &exporter).await.unwrap(), 0);
    let text = std::fs::read_to_string(folder.join("epoch-00000001.csv")).unwrap();
    assert_eq!(text, csv(&due));
    assert_eq!(text.lines().count(), 4);
    assert!(text.contains(",\"'=1+1,\"\"x\"\"\","), "{text}");
    let json: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("epoch-00000001.json")).unwrap()).unwrap();
    assert_eq!(json.iter().map(|payout| payout["micros"].as_u64().unwrap()).sum::<u64>(), total);
    let paid: Vec<Payout> = payouts(&mut test.app.db.read().await.unwrap(), Some(1)).await.unwrap();
    assert_eq!(paid, due);
    let balances = balances(&test).await;
    assert_eq!(balances[&operator_account(OWNER)], 0);
    let own = due.iter().find(|payout| payout.node == id(1)).unwrap();
    assert_eq!(balances[&paid_account(OWNER)], i128::from(own.micros));
    assert!(statement(&test, id(1), 1).await.settled_ns > 0);
    assert_eq!(findings(&test).await, [""; 0]);
}

#[tokio::test]
async fn held_pay_is_released_by_leaving_and_lost_by_failing() {
    let test = server().await;
    meter(&test, START + EPOCH).await;
    let held = held_balances(&mut test.app.db.read().await.unwrap()).await.unwrap();
    let each = held[&id(1)];
    assert!(each > 0 && held.len() == 3);
    let (left, failed) = (literal(&test, &id(1).0), literal(&test, &id(2).0));
    execute(
        &test,
        &[
            format!("UPDATE node SET leaving = 'exited' WHERE id = {left}"),
            format!(
                "INSERT INTO node_audit (node, standing, standing_ns, vetted, good, bad, score, passed, lost, corrupt, timed_out, \
                 refused, unreachable, unreachable_ns, alarm_ns, last_ns, last_outcome) \
                 VALUES ({failed}, 'disqualified', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '')"
            ),
        ],
    )
    .await;
    // The node that left does nothing any more.
    let others: HashMap<_, _> = always().into_iter().filter(|(node, _)| *node != id(1)).collect();
    catch_up(&test.app.db, OPTIONS, &others, START + 2 * EPOCH, 0).await.unwrap();
    let held = held_balances(&mut test.app.db.read().await.unwrap()).await.unwrap();
    assert_eq!(held, BTreeMap::from([(id(3), 2 * each)]));
    let balances = balances(&test).await;
    assert_eq!([1, 2].map(|node| balances[&held_account(id(node))]), [0, 0]);
    let second = payouts(&mut test.app.db.read().await.unwrap(), Some(2)).await.unwrap();
    assert_eq!(second.iter().find(|payout| payout.node == id(1)).unwrap().micros, each);
    assert_eq!(balances.values().sum::<i128>(), 0);
    assert_eq!(findings(&test).await, [""; 0]);
}

#[tokio::test]
async fn what_does_not_add_up_is_found() {
    let test = server().await;
    let grant = issue(&test, id(1), 1000).await;
    order(&test, id(1), grant, 500).await;
    meter(&test, START + EPOCH).await;
    assert_eq!(findings(&test).await, [""; 0]);
    for (change, back, found) in [
        (
            "UPDATE ledger_statement SET traffic_bytes = traffic_bytes + 1",
            "UPDATE ledger_statement SET traffic_bytes = traffic_bytes - 1",
            "what its facts come to",
        ),
        (
            "UPDATE ledger_statement SET operator_micros = operator_micros + 1",
            "UPDATE ledger_statement SET operator_micros = operator_micros - 1",
            "by the rates",
        ),
        (
            "UPDATE ledger_posting SET micros = micros + 1 WHERE reason = 'fee'",
            "UPDATE ledger_posting SET micros = micros - 1 WHERE reason = 'fee'",
            "its postings",
        ),
        (
            "UPDATE ledger_payout SET micros = micros + 1",
            "UPDATE ledger_payout SET micros = micros - 1",
            "what is paid out",
        ),
        (
            "UPDATE ledger_order SET paid_before = 501",
            "UPDATE ledger_order SET paid_before = 0",
            "pays for what it is not for",
        ),
        (
            "UPDATE ledger_epoch SET begins = begins + 1 WHERE id = 2",
            "UPDATE ledger_epoch SET begins = begins - 1 WHERE id = 2",
            "does not begin where",
        ),
    ] {
        execute(&test, &[change.to_owned()]).await;
        let findings = findings(&test).await;
        assert!(findings.iter().any(|finding| finding.contains(found)), "{change}: {findings:?}");
        execute(&test, &[back.to_owned()]).await;
    }
    assert_eq!(findings(&test).await, [""; 0]);
    // What is forgotten is no contradiction.
    let forgotten: Result<(), DbError> = test.app.db.write(|conn| Box::pin(epoch::forget_lines(conn, i64::MAX))).await;
    forgotten.unwrap();
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_order").await, 0);
    assert_eq!(findings(&test).await, [""; 0]);
}

#[tokio::test]
async fn two_servers_write_each_period_once() {
    let test = server().await;
    let nodes = always();
    let (one, other) = tokio::join!(
        catch_up(&test.app.db, OPTIONS, &nodes, START + 3 * EPOCH, 0),
        catch_up(&test.app.db, OPTIONS, &nodes, START + 3 * EPOCH, 0)
    );
    assert_eq!([one.unwrap(), other.unwrap()], [START + 3 * EPOCH; 2]);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_period").await, 9);
    assert_eq!(number(&test, "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_statement").await, 9);
    assert_eq!(findings(&test).await, [""; 0]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Time goes by and the meter runs.
    Meter(u64),
    /// A segment with shards of so many bytes comes so many seconds after the last run, and goes after so many more.
    Segment(u64, u64, Option<u64>),
    /// Node, grant (of three) and more bytes under it.
    Traffic(u8, usize, u64),
    /// A shard (of the segment with this number, around their count) goes to a node, or nowhere for 0, so many seconds after the last
    /// run or its last change.
    Change(usize, u8, u8, u64),
    PayOut,
}

/// A segment, and which node had each of its shards since when.
struct Kept {
    id: SegmentId,
    bytes: u64,
    freed: Option<u64>,
    had: Vec<Vec<(u64, Option<u8>)>>,
}

impl Kept {
    /// What a node kept of it until a Unix second.
    fn byte_seconds(&self, number: u8, end: u64) -> u128 {
        let mut seconds = 0;
        for history in &self.had {
            for (at, (since, node)) in history.iter().enumerate() {
                let until = history.get(at + 1).map_or(end, |(next, _)| *next).min(self.freed.unwrap_or(end));
                if *node == Some(number) {
                    seconds += overlap(START, end, *since, Some(until));
                }
            }
        }
        u128::from(self.bytes) * u128::from(seconds)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..700_u64).prop_map(Step::Meter),
        (1..5000_u64, 0..300_u64, prop::option::of(0..2000_u64)).prop_map(|(b, c, f)| Step::Segment(b, c, f)),
        (1..4_u8, 0..3_usize, 1..100_000_u64).prop_map(|(n, g, b)| Step::Traffic(n, g, b)),
        (0..20_usize, 0..3_u8, 0..4_u8, 0..200_u64).prop_map(|(s, i, n, t)| Step::Change(s, i, n, t)),
        Just(Step::PayOut),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the books balance to the byte and to the micro.
    #[test]
    fn the_books_balance(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(balance(steps));
    }
}

async fn balance(steps: Vec<Step>) {
    let test = server().await;
    let place = place(&test).await;
    let exporter = Exporter::new(test.folder().join("payouts"));
    let mut grants = Vec::new();
    for number in 1..=3 {
        grants.push([
            issue(&test, id(number), GIB).await,
            issue(&test, id(number), GIB).await,
            issue(&test, id(number), GIB).await,
        ]);
    }
    let mut now = START;
    let mut segments: Vec<Kept> = Vec::new();
    let mut moved = [[0_u64; 3]; 3];
    for step in steps {
        match step {
            Step::Meter(seconds) => {
                now += seconds;
                assert_eq!(meter(&test, now).await, now);
            }
            Step::Segment(bytes, after, life) => {
                let (created, freed) = (now + after, life.map(|life| now + after + life));
                let id = segment(&test, &place, bytes, created, freed).await;
                let had = (1..=3).map(|number| vec![(created, Some(number))]).collect();
                segments.push(Kept { id, bytes, freed, had });
            }
            Step::Change(_, _, _, _) if segments.is_empty() => {}
            Step::Change(segment, shard, to, after) => {
                let count = segments.len();
                let kept = &mut segments[segment % count];
                let history = &mut kept.had[usize::from(shard)];
                let (last, had) = *history.last().unwrap();
                let (at, has) = (now.max(last) + after, Some(to).filter(|to| *to != 0));
                if had != has {
                    change(&test, kept.id, shard, had.map(id), has.map(id), at).await;
                    history.push((at, has));
                }
            }
            Step::Traffic(number, grant, bytes) => {
                let at = usize::from(number - 1);
                moved[at][grant] += bytes;
                order(&test, id(number), grants[at][grant], moved[at][grant]).await;
            }
            Step::PayOut => {
                settle_due(&test.app.db, &exporter).await.unwrap();
            }
        }
    }
    // To the end of the epoch, so that everything is in a statement.
    let end = (now - START) / EPOCH * EPOCH + START + EPOCH;
    meter(&test, end).await;
    settle_due(&test.app.db, &exporter).await.unwrap();
    let kept = |number: u8| -> u128 { segments.iter().map(|segment| segment.byte_seconds(number, end)).sum() };
    let mut read = test.app.db.read().await.unwrap();
    let mut operators = 0;
    for (at, number) in (1..=3).enumerate() {
        let statements = view::statements(&mut read, id(number), i64::MAX, 400).await.unwrap();
        let work = statements.iter().fold(Work::default(), |sum, statement| sum.and(statement.work));
        assert_eq!(work.user_byte_seconds, kept(number));
        assert_eq!(work.reserved_byte_seconds, u128::from(NODE_RESERVED) * u128::from(end - START));
        assert_eq!(work.traffic_bytes, moved[at].iter().sum::<u64>());
        operators +=
            statements.iter().map(|statement| i128::from(statement.work.pay(OPTIONS.rates).operator)).sum::<i128>();
    }
    drop(read);
    let by_account = number(&test, "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM traffic_account").await;
    assert_eq!(u64::try_from(by_account).unwrap(), moved.as_flattened().iter().sum::<u64>());
    let balances = balances(&test).await;
    assert_eq!(balances.values().sum::<i128>(), 0);
    let given = |prefix: &str| {
        balances.iter().filter(|(account, _)| account.starts_with(prefix)).map(|(_, micros)| micros).sum::<i128>()
    };
    assert_eq!(given("paid:") + given("held:"), operators);
    assert_eq!(given("operator:"), 0);
    assert_eq!(findings(&test).await, [""; 0]);
}
