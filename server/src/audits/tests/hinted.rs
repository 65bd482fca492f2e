//! What nodes say of each other: the server looks for itself, soon, and blames nobody before the second time.

use super::*;
use crate::audits::hints;

impl Network {
    /// Another node says that shard `index` of the first segment does not do from an offset on.
    async fn hint(&self, index: usize, outcome: Outcome, offset: u64) {
        let held = Held { segment: self.segments[0], shard: u8::try_from(index).unwrap() };
        let (node, now) = (self.placement.nodes[index], self.now);
        let hinted = self
            .test
            .app
            .db
            .write(move |conn| Box::pin(async move { rows::hint(conn, held, node, (outcome, offset), now).await }));
        hinted.await.unwrap();
    }

    async fn follow(&self) -> Summary {
        hints::follow(&self.test.app, &self.auditor, &self.options, self.now).await.unwrap()
    }
}

#[tokio::test]
async fn a_false_hint_costs_the_accused_nothing_and_earns_it_nothing() {
    let network = Network::new(1).await;
    assert!(!hints::any(&network.test.app).await.unwrap());
    network.hint(1, Outcome::Corrupt, 0).await;
    assert!(hints::any(&network.test.app).await.unwrap());
    let done = network.follow().await;
    assert_eq!((done.nodes, done.of(Outcome::Passed)), (1, 1), "{done}");
    assert_eq!((network.count("audit_recheck").await, network.count("repair").await), (0, 0));
    let record = network.record(1).await;
    assert_eq!((record.reputation.passed, record.reputation.thousandths()), (0, 1000));
}

#[tokio::test]
async fn a_hint_finds_a_liar_that_the_draw_would_hardly_hit_and_blames_it_at_the_second_look() {
    let mut network = Network::new(1).await;
    network.nodes[1].becomes(Behaviour::FlippedInOneGroup);
    // From the second group on, and the fourth is wrong.
    network.hint(1, Outcome::Corrupt, 16 * 1024).await;
    let done = network.follow().await;
    assert_eq!(done.of(Outcome::Corrupt), 1, "{done}");
    assert_eq!(network.count("audit_recheck WHERE hinted = 0 AND tries = 1 AND slice = 49152").await, 1);
    assert_eq!((network.count("repair").await, network.record(1).await.failed), (0, [0; 4]), "once is no proof");
    assert!(!hints::any(&network.test.app).await.unwrap());
    network.later().await;
    assert_eq!(network.count("repair WHERE shard = 1 AND reason = 'corrupt'").await, 1);
    assert_eq!(network.record(1).await.failed, [0, 1, 0, 0]);
}

#[tokio::test]
async fn silence_after_a_hint_waits_for_a_round_with_the_others() {
    for (behaviour, outcome) in [(Behaviour::Refusing, Outcome::Refused), (Behaviour::Slow, Outcome::TimedOut)] {
        let mut network = Network::new(1).await;
        network.options.patience = Duration::from_secs(5);
        network.nodes[2].becomes(behaviour);
        network.hint(2, Outcome::Offline, 0).await;
        let done = network.follow().await;
        assert_eq!(done.of(outcome), 1, "{done}");
        assert_eq!(network.count("audit_recheck WHERE hinted = 0 AND tries = 0").await, 1);
        assert_eq!(network.record(2).await.reputation.thousandths(), 1000);
        network.options.patience = Duration::from_secs(60);
        network.nodes[2].becomes(Behaviour::Honest);
        network.later().await;
        assert_eq!(network.count("audit_recheck").await, 0);
    }
    let mut network = Network::new(1).await;
    network.nodes.remove(2).vanish().await;
    network.hint(2, Outcome::Offline, 0).await;
    assert_eq!(network.follow().await.of(Outcome::Offline), 1);
    let record = network.record(2).await;
    assert_eq!((record.unreachable, record.unreachable_ns), (0, 0), "rounds count that");
}

#[tokio::test]
async fn hints_about_what_is_gone_or_about_nodes_that_are_away_are_put_aside() {
    let network = Network::new(1).await;
    network.hint(0, Outcome::Lost, 0).await;
    let key = literal(&network.test, &network.segments[0].0);
    execute(&network.test, &[format!("UPDATE segment SET freed_ns = 1 WHERE id = {key}")]).await;
    assert_eq!(network.follow().await, Summary::default());
    assert_eq!(network.count("audit_recheck").await, 0);
    execute(&network.test, &[format!("UPDATE segment SET freed_ns = 0 WHERE id = {key}")]).await;
    network.hint(0, Outcome::Lost, 0).await;
    let far = Instant::now() + Duration::from_secs(1000);
    network.test.app.network.registry.sweep(far);
    assert_eq!(network.follow().await, Summary::default());
    assert_eq!(network.count("audit_recheck WHERE hinted = 0 AND tries = 0").await, 1);
}
