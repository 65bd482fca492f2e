//! Nodes that are away just when they are asked for what they lack.

use super::liar::is_every_second;
use super::*;

/// Node 1 has four chunks of either kind.
async fn with_halves() -> Network {
    let mut network = Network::new(0).await;
    let (mut lacking, mut kept) = (0, 0);
    while lacking < 4 || kept < 4 {
        network.store().await;
        if is_lacking(*network.segments.last().unwrap()) {
            lacking += 1;
        } else {
            kept += 1;
        }
    }
    network.options.slices = 64;
    network
}

fn is_lacking(segment: SegmentId) -> bool {
    is_every_second(chunk::chunk_id(segment, 1))
}

/// Exactly what the node evades is queued in the end. How many rounds that took, and what none of them may do.
async fn is_found_out(behaviour: Behaviour, most: usize) {
    let mut network = with_halves().await;
    if behaviour == Behaviour::Stalling {
        // Whoever is slower than that once is asked again.
        network.options.patience = Duration::from_millis(500);
    }
    let lacking = network.segments.iter().filter(|segment| is_lacking(**segment)).count();
    let lacking = i64::try_from(lacking).unwrap();
    let mut rounds = 0;
    while network.count("repair WHERE shard = 1 AND reason = 'unproven'").await < lacking {
        assert!(rounds < most, "{behaviour:?} is not found out");
        assert!(rounds >= 4 || network.count("repair").await == 0, "{behaviour:?} was blamed too early");
        network.nodes[1].becomes(behaviour);
        network.later().await;
        rounds += 1;
    }
    assert_eq!(network.count("repair").await, lacking, "only what it evaded");
    for segment in network.segments.clone() {
        let key = literal(&network.test, &segment.0);
        let present = number(&network.test, &format!("SELECT present FROM segment WHERE id = {key}")).await;
        assert_eq!(present, if is_lacking(segment) { 0b101 } else { 0b111 });
    }
    assert!(network.record(1).await.reputation.thousandths() < 1000);
    assert_eq!(network.record(0).await.reputation.thousandths(), 1000);
}

#[tokio::test]
async fn who_is_busy_for_what_it_lacks_has_four_tries() {
    is_found_out(Behaviour::Evasive, 8).await;
}

#[tokio::test]
async fn who_goes_away_for_what_it_lacks_is_found_out_one_chunk_after_the_other() {
    is_found_out(Behaviour::Fleeing, 400).await;
}

#[tokio::test]
async fn who_does_not_answer_for_what_it_lacks_and_goes_away_otherwise_is_found_out() {
    is_found_out(Behaviour::Stalling, 400).await;
}

#[tokio::test]
async fn who_goes_away_in_the_middle_of_a_round_and_comes_back_is_none_the_worse_for_it() {
    let mut network = with_halves().await;
    network.nodes[1].becomes(Behaviour::Fleeing);
    let done = network.round().await;
    assert_eq!(done.of(Outcome::Refused), 1, "what it was asked when it went: {done}");
    assert!(done.of(Outcome::Offline) >= 3, "it was not asked for the rest: {done}");
    assert_eq!(network.count("audit_recheck").await, 1);
    assert_eq!(network.record(1).await.unreachable, 0, "it was reached");
    network.nodes[1].becomes(Behaviour::Honest);
    let done = network.later().await;
    assert_eq!((done.confirmed, done.of(Outcome::Refused)), (0, 0), "{done}");
    assert_eq!((network.count("audit_recheck").await, network.count("repair").await), (0, 0));
    assert_eq!(network.record(1).await.reputation.thousandths(), 1000);
}
