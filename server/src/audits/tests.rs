//! Rounds of audits over nodes that lie, on a clock that the tests move.

mod evasive;
mod hinted;
mod liar;

use std::time::{Duration, Instant};

use cyx_core::chunk;
use cyx_core::ids::{AccountId, BucketId, NodeId, Random as _, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::segment::shard_len;

use self::liar::{Behaviour, Liar};
use super::probe::{Auditor, Outcome};
use super::round::{Summary, round};
use super::score::Standing;
use super::{AuditOptions, appeal, rows};
use crate::collect::holdings::Held;
use crate::nodes::testing::{account, add, execute, literal, node, number, placement, server_with};
use crate::nodes::{ClusterEvent, NodeRecord};
use crate::placement::Placement;
use crate::test_support::TestApp;

const SECOND: i64 = 1_000_000_000;
const BUCKET: BucketId = BucketId([9; 16]);
/// Not a multiple of anything: the last group of a chunk is short.
const LENGTH: u64 = 2 * 70_000 + 1;

/// A server, three nodes and some segments of 2+1 on them.
struct Network {
    test: TestApp,
    nodes: Vec<Liar>,
    placement: Placement,
    segments: Vec<SegmentId>,
    auditor: Auditor,
    options: AuditOptions,
    now: i64,
}

impl Network {
    async fn new(segments: usize) -> Self {
        let test = server_with([], |config| config.allow_colocated = true).await;
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let liar = Liar::start(number, &test.app.network.keys).await;
            add(&test, liar.record()).await;
            nodes.push(liar);
        }
        let ids: Vec<NodeId> = nodes.iter().map(|liar| liar.record().id).collect();
        let placement = placement(&test, Scheme::new(2, 1).unwrap(), &ids).await;
        let options = AuditOptions { patience: Duration::from_secs(60), ..AuditOptions::default() };
        let mut network =
            Self { test, nodes, placement, segments: Vec::new(), auditor: Auditor::default(), options, now: 1 };
        for _ in 0..segments {
            network.store().await;
        }
        network
    }

    /// A segment with real chunks.
    async fn store(&mut self) {
        let id = SegmentId::random();
        let length = usize::try_from(shard_len(self.placement.scheme, LENGTH)).unwrap();
        let mut roots = Vec::new();
        for (index, liar) in self.nodes.iter().enumerate() {
            let byte = id.0[0].wrapping_add(u8::try_from(index).unwrap());
            let bytes: Vec<u8> =
                (0..length).map(|at| byte.wrapping_mul(31).wrapping_add(u8::try_from(at / 7 % 251).unwrap())).collect();
            roots.extend_from_slice(&chunk::root(&bytes));
            liar.keep(BUCKET, chunk::chunk_id(id, u8::try_from(index).unwrap()), bytes);
        }
        let test = &self.test;
        let (key, bucket, place) =
            (literal(test, &id.0), literal(test, &BUCKET.0), literal(test, &self.placement.id.0));
        let roots = literal(test, &roots);
        let text = format!(
            "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) \
             VALUES ({key}, {bucket}, 2, 1, {LENGTH}, 0, {place}, 7, {roots}, 1, 1, 0)"
        );
        execute(test, &[text]).await;
        self.segments.push(id);
    }

    async fn round(&self) -> Summary {
        round(&self.test.app, &self.auditor, &self.options, self.now).await.unwrap()
    }

    /// A round after everything that waits for a recheck is due.
    async fn later(&mut self) -> Summary {
        self.now += 301 * SECOND;
        self.round().await
    }

    async fn count(&self, what: &str) -> i64 {
        number(&self.test, &format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {what}")).await
    }

    async fn record(&self, index: usize) -> rows::Record {
        let node = self.placement.nodes[index];
        let all = rows::load_all(&mut self.test.app.db.read().await.unwrap()).await.unwrap();
        all.into_iter().find(|(id, _)| *id == node).expect("it was audited").1
    }

    fn standing(&self, index: usize) -> Standing {
        self.test.app.network.registry.get(self.placement.nodes[index]).unwrap().standing
    }
}

#[tokio::test]
async fn honest_nodes_pass_and_their_segments_are_known_to_be_audited() {
    let mut network = Network::new(4).await;
    network.now = 5 * SECOND;
    let done = network.round().await;
    assert_eq!((done.nodes, done.of(Outcome::Passed), done.confirmed), (3, 12, 0), "{done}");
    assert_eq!(network.count("segment WHERE audited_ns = 5000000000").await, 4);
    assert_eq!((network.count("repair").await, network.count("audit_recheck").await), (0, 0));
    let record = network.record(1).await;
    assert_eq!((record.reputation.passed, record.last_ns), (4, 5 * SECOND));
    assert_eq!(network.standing(1), Standing::Vetting, "a hundred slices are needed to be trusted");
    while network.record(1).await.reputation.passed < 100 {
        network.later().await;
    }
    assert_eq!(network.standing(1), Standing::Trusted);
}

#[tokio::test]
async fn a_node_whose_address_leads_nowhere_is_offline_and_loses_nothing() {
    let mut network = Network::new(1).await;
    let nowhere = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = nowhere.local_addr().unwrap().to_string();
    let moved = NodeRecord { address, ..network.nodes[1].record() };
    network.test.app.network.registry.register(moved, Instant::now());
    // Long enough for the others on a busy machine.
    network.options.patience = Duration::from_secs(5);
    for _ in 0..2 {
        let done = network.later().await;
        assert_eq!((done.of(Outcome::Offline), done.of(Outcome::Passed)), (1, 2), "{done}");
    }
    assert_eq!((network.count("audit_recheck").await, network.record(1).await.unreachable), (0, 2));
}

/// What a lie is called, how many rounds it takes to be believed, and why the shard is queued for repair.
async fn is_found(behaviour: Behaviour, outcome: Outcome, rounds: usize, reason: &str) {
    let mut network = Network::new(1).await;
    network.nodes[1].becomes(behaviour);
    let first = network.round().await;
    assert_eq!(first.of(outcome), 1, "{behaviour:?}: {first}");
    for _ in 1..rounds {
        assert_eq!(network.count("repair").await, 0, "{behaviour:?} was blamed too early");
        assert_eq!(network.record(1).await.failed, [0; 4]);
        network.later().await;
    }
    assert_eq!(network.count(&format!("repair WHERE shard = 1 AND reason = '{reason}'")).await, 1, "{behaviour:?}");
    assert_eq!(number(&network.test, "SELECT present FROM segment").await, 0b101, "{behaviour:?}");
    assert_eq!(network.count("audit_recheck").await, 0);
    let record = network.record(1).await;
    let at = rows::FAILURES.iter().position(|failure| *failure == outcome).unwrap();
    assert_eq!(record.failed[at], 1, "{behaviour:?}");
    assert!(record.reputation.thousandths() < 1000);
    // The others are none the worse for it, and the shard is not asked for any more.
    assert_eq!(network.record(0).await.reputation.thousandths(), 1000);
    assert_eq!(network.later().await.nodes, 2);
}

#[tokio::test]
async fn what_was_lost_or_changed_is_found_at_the_second_look() {
    for behaviour in [
        Behaviour::Flipped,
        Behaviour::FlippedProof,
        Behaviour::Truncated,
        Behaviour::Short,
        Behaviour::Endless,
        Behaviour::Confessing,
    ] {
        is_found(behaviour, Outcome::Corrupt, 2, "corrupt").await;
    }
    is_found(Behaviour::Dropped, Outcome::Lost, 2, "lost").await;
}

#[tokio::test]
async fn who_refuses_has_four_tries() {
    is_found(Behaviour::Refusing, Outcome::Refused, 4, "unproven").await;
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for_and_asked_again() {
    let mut network = Network::new(1).await;
    network.nodes[1].becomes(Behaviour::Slow);
    // Long enough for the others on a busy machine.
    network.options.patience = Duration::from_secs(10);
    let done = network.round().await;
    assert_eq!((done.of(Outcome::TimedOut), done.of(Outcome::Passed)), (1, 2), "{done}");
    assert_eq!(network.count("audit_recheck WHERE outcome = 'timeout' AND tries = 1").await, 1);
    // What comes instead later is one more try, not the first.
    network.nodes[1].becomes(Behaviour::Refusing);
    network.later().await;
    assert_eq!(network.count("audit_recheck WHERE outcome = 'refused' AND tries = 2").await, 1);
    network.nodes[1].becomes(Behaviour::Honest);
    network.later().await;
    assert_eq!(network.count("audit_recheck").await, 0);
    assert_eq!(network.record(1).await.reputation.thousandths(), 1000);
}

#[tokio::test]
async fn a_failure_that_was_none_is_forgotten() {
    let mut network = Network::new(1).await;
    network.nodes[0].becomes(Behaviour::Dropped);
    network.round().await;
    assert_eq!(network.count("audit_recheck").await, 1);
    network.nodes[0].becomes(Behaviour::Honest);
    let done = network.later().await;
    assert_eq!((done.of(Outcome::Passed), done.confirmed), (3, 0), "{done}");
    assert_eq!((network.count("audit_recheck").await, network.count("repair").await), (0, 0));
    assert_eq!(network.record(0).await.reputation.thousandths(), 1000);
}

#[tokio::test]
async fn what_was_deleted_or_moved_meanwhile_is_nobodys_fault() {
    let mut network = Network::new(2).await;
    network.nodes[0].becomes(Behaviour::Dropped);
    network.round().await;
    assert_eq!(network.count("audit_recheck").await, 2);
    let [freed, moved] = [network.segments[0], network.segments[1]].map(|id| literal(&network.test, &id.0));
    let elsewhere = literal(&network.test, &[77; 16]);
    execute(
        &network.test,
        &[
            format!("UPDATE segment SET freed_ns = 1 WHERE id = {freed}"),
            format!("INSERT INTO segment_override (segment, shard, node) VALUES ({moved}, 0, {elsewhere})"),
        ],
    )
    .await;
    let done = network.later().await;
    assert_eq!((done.confirmed, network.count("audit_recheck").await), (0, 0), "{done}");
    assert_eq!(network.record(0).await.reputation.thousandths(), 1000);
}

#[tokio::test]
async fn when_most_nodes_do_not_answer_nobody_is_blamed() {
    let mut network = Network::new(1).await;
    // With three nodes nothing follows from a majority, so two more are needed.
    for number in [4, 5] {
        let liar = Liar::start(number, &network.test.app.network.keys).await;
        add(&network.test, liar.record()).await;
        network.nodes.push(liar);
    }
    let ids: Vec<NodeId> = network.nodes.iter().map(|liar| liar.record().id).collect();
    network.placement = placement(&network.test, Scheme::new(2, 3).unwrap(), &ids).await;
    network.store().await;
    execute(&network.test, &["UPDATE segment SET present = 31, m = 3 WHERE present = 7".to_owned()]).await;
    for liar in &network.nodes[..3] {
        liar.becomes(Behaviour::Refusing);
    }
    for _ in 0..6 {
        let done = network.later().await;
        assert!(done.void && done.confirmed == 0, "{done}");
    }
    assert_eq!((network.count("repair").await, network.count("audit_recheck").await), (0, 0));
    network.nodes[2].becomes(Behaviour::Honest);
    assert!(!network.later().await.void);
    assert!(network.count("audit_recheck").await > 0, "two of five are their own fault");
}

#[tokio::test]
async fn a_node_that_reports_and_cannot_be_reached_loses_its_score_and_no_shard() {
    let mut network = Network::new(2).await;
    network.nodes.remove(2).vanish().await;
    let done = network.round().await;
    assert_eq!(done.of(Outcome::Offline), 2, "{done}");
    assert_eq!(network.record(2).await.unreachable, 1);
    network.later().await;
    assert_eq!(network.record(2).await.reputation.thousandths(), 1000, "it may come back");
    // Four rounds of 600 seconds.
    network.now += 2400 * SECOND;
    for _ in 0..4 {
        network.later().await;
    }
    assert!(network.record(2).await.reputation.thousandths() < 960);
    assert_eq!(network.standing(2), Standing::Suspended);
    assert_eq!((network.count("repair").await, network.count("audit_recheck").await), (0, 0));
    assert_eq!(number(&network.test, "SELECT CAST(SUM(present) AS BIGINT) FROM segment").await, 14);
}

#[tokio::test]
async fn a_node_that_lost_everything_is_suspended_then_disqualified_and_comes_back_only_by_proof() {
    let mut network = Network::new(60).await;
    network.options.slices = 64;
    let mut events = network.test.app.network.registry.subscribe();
    network.nodes[0].becomes(Behaviour::Dropped);
    let mut missing = 0;
    for _ in 0..20 {
        if network.standing(0) == Standing::Disqualified {
            break;
        }
        let done = network.later().await;
        assert_eq!(done.confirmed, done.missing, "{done}");
        missing += done.missing;
    }
    assert_eq!(network.standing(0), Standing::Disqualified);
    assert_eq!(network.count("repair WHERE shard = 0 AND reason = 'lost'").await, i64::try_from(missing).unwrap());
    let registry = network.test.app.network.registry.clone();
    let record = registry.get(network.placement.nodes[0]).unwrap();
    assert!(record.is_gone() && !record.can_take(0));
    let said: Vec<String> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| match event {
            ClusterEvent::NodeHealthChanged { node_id, status, .. } if node_id == record.id => Some(status),
            _ => None,
        })
        .collect();
    assert_eq!(said.last().map(String::as_str), Some("disqualified"), "{said:?}");
    // It is asked for nothing any more, and a heartbeat or a new registration changes nothing.
    assert_eq!(network.later().await.nodes, 2);
    assert_eq!(registry.register(record.clone(), Instant::now()).standing, Standing::Disqualified);

    let admin = AccountId([1; 16]);
    account(&network.test, admin, 1).await;
    let ip = "127.0.0.1".parse().unwrap();
    let app = &network.test.app;
    let refused = appeal::reinstate(app, network.placement.nodes[1], admin, ip).await.unwrap_err();
    assert!(refused.to_string().contains("not disqualified"), "{refused}");
    execute(&network.test, &["UPDATE segment SET present = 6".to_owned()]).await;
    let refused = appeal::reinstate(app, record.id, admin, ip).await.unwrap_err();
    assert!(refused.to_string().contains("nothing is on this node"), "{refused}");
    execute(&network.test, &["UPDATE segment SET present = 7".to_owned()]).await;
    let refused = appeal::reinstate(app, record.id, admin, ip).await.unwrap_err();
    assert!(refused.to_string().contains("proved 0 of "), "{refused}");
    assert_eq!(network.standing(0), Standing::Disqualified);
    network.nodes[0].becomes(Behaviour::Honest);
    let done = appeal::reinstate(app, record.id, admin, ip).await.unwrap();
    assert_eq!((done.standing, done.score), (Standing::Vetting, 1000));
    assert!(done.proven > 30, "{done:?}");
    assert_eq!(network.standing(0), Standing::Vetting);
    assert_eq!(network.count("audit WHERE action = 'node_reinstated'").await, 1);
}

#[tokio::test]
async fn standings_outlive_the_server() {
    let mut network = Network::new(10).await;
    network.nodes[0].becomes(Behaviour::Dropped);
    network.options.slices = 10;
    network.round().await;
    network.later().await;
    assert_eq!(network.standing(0), Standing::Suspended);
    let mut read = network.test.app.db.read().await.unwrap();
    let loaded = crate::nodes::rows::load(&mut read, &[network.placement.nodes[0]]).await.unwrap().remove(0);
    assert_eq!(
        (loaded.standing, loaded.audit_score),
        (Standing::Suspended, network.record(0).await.reputation.thousandths())
    );
}

#[tokio::test]
async fn a_suspended_node_is_asked_eight_times_as_much() {
    let mut network = Network::new(30).await;
    network.options.slices = 3;
    network.nodes[0].becomes(Behaviour::Dropped);
    for _ in 0..3 {
        network.later().await;
    }
    assert_eq!(network.standing(0), Standing::Suspended);
    network.nodes[0].becomes(Behaviour::Honest);
    let others = 2 * 3;
    let done = network.later().await;
    assert!(done.of(Outcome::Passed) > others + 3, "{done}");
}

#[test]
fn standing_and_score_weigh_in_the_choice_of_nodes() {
    let record = |standing, audit_score| NodeRecord { standing, audit_score, ..node(1) };
    let score = |standing, audit_score| record(standing, audit_score).candidate().score;
    assert!((score(Standing::Trusted, 900) - 0.9).abs() < 1e-9);
    assert!((score(Standing::Vetting, 1000) - 0.1).abs() < 1e-9, "few new shards");
    for (standing, takes) in [
        (Standing::Vetting, true),
        (Standing::Trusted, true),
        (Standing::Suspended, false),
        (Standing::Disqualified, false),
    ] {
        assert_eq!(record(standing, 1000).can_take(0), takes, "{standing:?}");
        assert_eq!(record(standing, 1000).is_gone(), standing == Standing::Disqualified);
    }
}

/// The promise of `docs/audits.md`, on the chunks that a day's rounds really draw.
#[tokio::test]
async fn a_day_finds_one_lost_chunk_in_a_hundred() {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    let network = Network::new(0).await;
    let mut rng = StdRng::seed_from_u64(11);
    let ids: Vec<SegmentId> = (0..500).map(|_| SegmentId(rng.random())).collect();
    let (bucket, place) = (literal(&network.test, &BUCKET.0), literal(&network.test, &network.placement.id.0));
    let roots = literal(&network.test, &[0; 96]);
    let rows: Vec<String> = ids
        .iter()
        .map(|id| {
            let key = literal(&network.test, &id.0);
            format!("({key}, {bucket}, 2, 1, {LENGTH}, 0, {place}, 7, {roots}, 1, 1, 0)")
        })
        .collect();
    let text = format!(
        "INSERT INTO segment (id, bucket, k, m, length, slack, placement, present, roots, live_blobs, created_ns, freed_ns) VALUES {}",
        rows.join(", ")
    );
    execute(&network.test, &[text]).await;
    let mut read = network.test.app.db.read().await.unwrap();
    let node = network.placement.nodes[0];
    let holdings = super::sample::count(&mut read).await.unwrap().remove(&node).unwrap();
    let mut drawn: Vec<Held> = Vec::new();
    let options = AuditOptions::default();
    let rounds = 24 * 3600 / options.every.as_secs();
    for _ in 0..rounds {
        let slices = usize::try_from(options.slices).unwrap();
        drawn.extend(
            super::sample::draw(&mut read, node, &holdings, slices, &mut rng).await.unwrap().iter().map(|s| s.held),
        );
    }
    // ln 0.001 / ln 0.99 = 687.3: as many as it takes to miss one in a hundred once in a thousand times.
    assert!(drawn.len() >= 688, "{}", drawn.len());
    // Twenty ways to lose five of the five hundred; each is missed with a chance of 0.07 %.
    for lost in ids.chunks(5).take(20) {
        assert!(drawn.iter().any(|held| lost.contains(&held.segment)));
    }
}
