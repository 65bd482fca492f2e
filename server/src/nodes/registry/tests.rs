use cyx_core::units::GIB;

use super::*;
use crate::nodes::testing::node;

const PATIENCE: Patience =
    Patience { suspect: Duration::from_secs(50), offline: Duration::from_secs(100), lost: Duration::from_secs(1000) };

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn drain(events: &mut broadcast::Receiver<ClusterEvent>) -> Vec<ClusterEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[test]
fn one_late_heartbeat_makes_nobody_suspect() {
    let patience = |suspect, offline, lost, heartbeat| {
        let Patience { suspect, offline, lost } = Patience::of_seconds(suspect, offline, lost, heartbeat);
        (suspect.as_secs(), offline.as_secs(), lost.as_secs())
    };
    assert_eq!(patience(90, 300, 14_400, 30), (90, 300, 14_400));
    assert_eq!(patience(10, 300, 14_400, 30), (75, 300, 14_400));
    assert_eq!(patience(3, 3, 1, 30), (3, 3, 3), "no state comes before an earlier one");
}

#[test]
fn silence_makes_a_node_suspect_then_offline_then_lost_and_a_heartbeat_brings_it_back() {
    let start = Instant::now();
    let registry = Registry::new(vec![node(1)], PATIENCE, start);
    let mut events = registry.subscribe();
    let id = node(1).id;
    assert!(!registry.sweep(after(start, 49)));
    assert!(registry.sweep(after(start, 50)));
    assert_eq!(registry.get(id).unwrap().state, Liveness::Suspect);
    assert!(registry.candidates(1, &HashSet::new()).is_empty(), "a suspect node gets nothing new");
    assert!(registry.sweep(after(start, 100)));
    let offline = registry.get(id).unwrap();
    assert_eq!(offline.state, Liveness::Offline);
    assert!(offline.score < SCORE_FULL && !offline.is_gone());
    assert!(!registry.sweep(after(start, 101)), "no news twice");
    assert!(registry.sweep(after(start, 1000)));
    let lost = registry.get(id).unwrap();
    assert!(lost.is_gone());
    assert_eq!(lost.score, offline.score, "silence is held against a node once");

    registry.heartbeat(id, "0.1.0", node(1).report, after(start, 1002), 5).unwrap();
    assert_eq!(registry.get(id).unwrap().status(), "online");
    assert_eq!(registry.candidates(1, &HashSet::new()).len(), 1);
    let kinds: Vec<&str> = drain(&mut events)
        .iter()
        .map(|event| match event {
            ClusterEvent::NodeJoined { .. } => "joined",
            ClusterEvent::NodeLeft { .. } => "left",
            ClusterEvent::NodeHealthChanged { status, .. } => {
                if status == "suspect" {
                    "suspect"
                } else if status == "lost" {
                    "lost"
                } else {
                    "?"
                }
            }
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["suspect", "left", "lost", "joined"]);
}

#[test]
fn after_a_restart_nodes_have_grace_unless_they_were_offline_before() {
    let start = Instant::now();
    let [offline, lost] =
        [(2, Liveness::Offline), (3, Liveness::Lost)].map(|(number, state)| NodeRecord { state, ..node(number) });
    let registry = Registry::new(vec![node(1), offline, lost], PATIENCE, start);
    registry.sweep(start);
    let states: Vec<Liveness> = (1..=3).map(|number| registry.get(node(number).id).unwrap().state).collect();
    assert_eq!(states, [Liveness::Online, Liveness::Offline, Liveness::Lost]);
    let alive: Vec<NodeId> = registry.candidates(1, &HashSet::new()).iter().map(|c| c.node).collect();
    assert_eq!(alive, [node(1).id]);
}

#[test]
fn read_only_and_full_nodes_get_nothing_new() {
    let start = Instant::now();
    let registry = Registry::new(vec![node(1)], PATIENCE, start);
    let mut events = registry.subscribe();
    let id = node(1).id;
    let read_only = Report { read_only: "disk full".to_owned(), ..node(1).report };
    assert_eq!(registry.heartbeat(id, "0.1.0", read_only, start, 2).unwrap().status(), "read-only");
    assert!(registry.candidates(0, &HashSet::new()).is_empty());
    let expected = ClusterEvent::NodeHealthChanged {
        node_id: id,
        status: "read-only".to_owned(),
        details: "disk full".to_owned(),
    };
    assert_eq!(drain(&mut events), [expected]);

    // All but the reserve and 1 GiB is used.
    let nearly_full = Report { used: 97 * GIB, free: 50 * GIB, ..Report::default() };
    registry.heartbeat(id, "0.1.0", nearly_full, start, 3).unwrap();
    assert_eq!(registry.get(id).unwrap().available(), GIB);
    assert_eq!(registry.candidates(GIB, &HashSet::new()).len(), 1);
    assert!(registry.candidates(GIB + 1, &HashSet::new()).is_empty());
    assert!(registry.candidates(1, &HashSet::from([id])).is_empty(), "avoided");
    let disk_full = Report { used: GIB, free: 1000, ..Report::default() };
    registry.heartbeat(id, "0.1.0", disk_full, start, 4).unwrap();
    assert!(registry.candidates(0, &HashSet::new()).is_empty(), "what the disk has counts, not what was promised");
}

#[test]
fn space_is_counted_behind_the_reserve() {
    let record = NodeRecord { capacity: 10 * GIB, ..node(1) };
    let record = NodeRecord { report: Report { used: 2 * GIB, free: 100 * GIB, ..Report::default() }, ..record };
    assert_eq!(record.allocatable(), 8 * GIB);
    assert_eq!(record.available(), 6 * GIB);
    assert!((record.utilization() - 0.25).abs() < 1e-9);
}

#[test]
fn a_second_registration_keeps_the_record_and_announces_a_new_address() {
    let start = Instant::now();
    let registry = Registry::new(vec![NodeRecord { score: 777, keep_list_sequence: 9, ..node(1) }], PATIENCE, start);
    let mut events = registry.subscribe();
    let same = NodeRecord { score: SCORE_NEW, registered_ns: 99, ..node(1) };
    let kept = registry.register(same.clone(), start);
    assert_eq!((kept.score, kept.registered_ns, kept.keep_list_sequence), (777, 1, 9));
    assert!(drain(&mut events).is_empty());
    registry.register(NodeRecord { address: "192.0.2.7:1".to_owned(), ..same }, start);
    assert_eq!(drain(&mut events).len(), 1);
}

#[test]
fn only_news_is_written_down() {
    let start = Instant::now();
    let registry = Registry::new(vec![node(1), node(2)], PATIENCE, start);
    assert!(registry.take_dirty().is_empty());
    registry.heartbeat(node(1).id, "0.1.0", Report::default(), start, 2).unwrap();
    let dirty = registry.take_dirty();
    assert_eq!(dirty.iter().map(|node| node.id).collect::<Vec<_>>(), [node(1).id]);
    assert!(registry.take_dirty().is_empty());
    registry.mark_dirty(&dirty);
    assert_eq!(registry.take_dirty().len(), 1);
}

#[test]
fn what_other_servers_heard_counts() {
    let start = Instant::now();
    let registry = Registry::new(vec![node(1)], PATIENCE, start);
    let second = 1_000_000_000;
    registry.sweep(after(start, 100));
    let heard = NodeRecord { last_heartbeat_ns: 500 * second, ..node(1) };
    let new = NodeRecord { last_heartbeat_ns: 440 * second, ..node(2) };
    registry.merge(vec![heard, new], after(start, 101), 501 * second);
    registry.sweep(after(start, 101));
    assert_eq!(registry.get(node(1).id).unwrap().state, Liveness::Online);
    assert_eq!(registry.get(node(2).id).unwrap().state, Liveness::Suspect, "61 seconds old");
    // An older row changes nothing.
    registry.merge(vec![NodeRecord { address: "x:1".to_owned(), ..node(1) }], after(start, 102), 502 * second);
    assert_eq!(registry.get(node(1).id).unwrap().address, node(1).address);
}

#[test]
fn good_service_is_rewarded_up_to_full_trust() {
    let registry = Registry::new(vec![NodeRecord { score: SCORE_NEW, ..node(1) }], PATIENCE, Instant::now());
    let id = node(1).id;
    registry.reward();
    assert_eq!(registry.get(id).unwrap().score, 525);
    for _ in 0..500 {
        registry.reward();
    }
    assert_eq!(registry.get(id).unwrap().score, SCORE_FULL);
    registry.punish(id);
    registry.punish(id);
    assert_eq!(registry.get(id).unwrap().score, 900, "what is lost is reported in several parts");
    registry.reward();
    registry.punish(id);
    assert_eq!(registry.get(id).unwrap().score, 814, "an hour later");
}
