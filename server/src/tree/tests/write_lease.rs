//! Write leases: one holder at a time, stale ones are refused, recalls are final, and quiet follows.

use std::collections::HashMap;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, Random as _, SessionId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use proptest::prelude::*;

use super::support::*;
use crate::tree::model::InodeKind::File;
use crate::tree::write_lease::{self, Acquired};

async fn acquire(tree: &TestTree, holder: &'static str) -> Acquired {
    tree.in_bucket(move |work| Box::pin(write_lease::acquire(work, holder))).await.unwrap()
}

fn lease_of(acquired: Acquired) -> pb::WriteLease {
    match acquired {
        Acquired::Lease(lease) => lease,
        Acquired::Refused { held, until } => panic!("refused: {held} {until}"),
    }
}

fn id_of(lease: &pb::WriteLease) -> [u8; 16] {
    lease.lease[..].try_into().unwrap()
}

async fn renew(tree: &TestTree, lease: &pb::WriteLease) -> Result<pb::WriteLease, ErrorCode> {
    let id = id_of(lease);
    tree.in_bucket(move |work| Box::pin(write_lease::renew(work, id))).await.map_err(|error| error.code())
}

async fn release(tree: &TestTree, lease: &pb::WriteLease) {
    let id = id_of(lease);
    tree.in_bucket(move |work| Box::pin(write_lease::release(work, id))).await.unwrap();
}

/// Makes a file; whether it was done, or has to wait for a lease.
async fn write(tree: &TestTree, lease: Option<&pb::WriteLease>, name: &str) -> Result<bool, ErrorCode> {
    let lease = lease.cloned().unwrap_or_default();
    let request = pb::ApplyRequest {
        bucket: bytes_of(tree.bucket),
        mutations: vec![mutation(vec![create(InodeId::random(), tree.root, name, File)])],
        write_lease: lease.lease,
        fencing: lease.fencing,
    };
    tree.applied(request).await
}

#[tokio::test]
async fn a_lease_keeps_others_out_until_it_ends() {
    let tree = TestTree::new().await;
    let lease = lease_of(acquire(&tree, "host").await);
    assert_eq!(lease.remaining_ms, 30_000);
    assert_eq!(write(&tree, Some(&lease), "a").await, Ok(true));
    tree.pass_seconds(20);
    let renewed = renew(&tree, &lease).await.unwrap();
    assert!(!renewed.recalled && renewed.expires_at > lease.expires_at);
    // Somebody else wants to write: nothing happens yet, and the holder cannot prolong any more.
    assert_eq!(write(&tree, None, "b").await, Ok(false));
    tree.pass_seconds(20);
    let recalled = renew(&tree, &lease).await.unwrap();
    assert!(recalled.recalled);
    assert_eq!((recalled.expires_at, recalled.remaining_ms), (renewed.expires_at, 10_000));
    assert_eq!(write(&tree, Some(&lease), "c").await, Ok(true), "the holder may finish");
    assert!(matches!(acquire(&tree, "host").await, Acquired::Refused { held: true, .. }), "its own recall stands");
    tree.pass_seconds(11);
    assert_eq!(write(&tree, Some(&lease), "d").await, Err(ErrorCode::StaleLease));
    assert_eq!(renew(&tree, &lease).await.unwrap_err(), ErrorCode::StaleLease);
    assert_eq!(write(&tree, None, "b").await, Ok(true));
    assert!(matches!(acquire(&tree, "host").await, Acquired::Refused { held: false, .. }), "it is quiet");
    tree.pass_seconds(4);
    let next = lease_of(acquire(&tree, "host").await);
    assert!(next.fencing > lease.fencing);
    // Who slept through all that is refused, with the old lease and with the new one under the old number.
    assert_eq!(write(&tree, Some(&lease), "d").await, Err(ErrorCode::StaleLease));
    let forged = pb::WriteLease { fencing: lease.fencing, ..next.clone() };
    assert_eq!(write(&tree, Some(&forged), "d").await, Err(ErrorCode::StaleLease));
    release(&tree, &next).await;
    assert_eq!(write(&tree, None, "e").await, Ok(true));
    let names: Vec<_> = tree.list(tree.root).await.into_iter().map(|(entry, _)| entry.token.name).collect();
    assert_eq!(names, ["a", "b", "c", "e"]);
}

#[tokio::test]
async fn asking_for_a_lease_disturbs_nobody_and_a_restarted_holder_gets_it_anew() {
    let mut tree = TestTree::new().await;
    let lease = lease_of(acquire(&tree, "mount").await);
    assert!(matches!(acquire(&tree, "another mount").await, Acquired::Refused { held: true, .. }));
    let own = tree.actor;
    tree.actor.session = SessionId([99; 16]);
    assert!(matches!(acquire(&tree, "mount").await, Acquired::Refused { held: true, .. }), "another session");
    tree.actor = own;
    assert!(!renew(&tree, &lease).await.unwrap().recalled);
    let anew = lease_of(acquire(&tree, "mount").await);
    assert!(anew.fencing > lease.fencing && anew.lease != lease.lease);
    assert_eq!(write(&tree, Some(&lease), "sent before the crash").await, Err(ErrorCode::StaleLease));
    assert_eq!(write(&tree, Some(&anew), "a").await, Ok(true));
    // One that was given back unasked is there for whoever is next.
    release(&tree, &anew).await;
    lease_of(acquire(&tree, "another mount").await);
}

#[tokio::test]
async fn quiet_grows_while_writers_alternate_and_is_forgotten_in_peace() {
    let tree = TestTree::new().await;
    for quiet in [5, 10, 20, 40] {
        let lease = lease_of(acquire(&tree, "mount").await);
        assert_eq!(write(&tree, None, "x").await, Ok(false));
        assert_eq!(write(&tree, None, "x").await, Ok(false), "asking twice is one recall");
        release(&tree, &lease).await;
        tree.pass_seconds(quiet - 1);
        assert!(matches!(acquire(&tree, "mount").await, Acquired::Refused { held: false, .. }), "{quiet}");
        tree.pass_seconds(1);
    }
    tree.pass_seconds(600);
    let lease = lease_of(acquire(&tree, "mount").await);
    assert_eq!(write(&tree, None, "x").await, Ok(false));
    release(&tree, &lease).await;
    tree.pass_seconds(5);
    lease_of(acquire(&tree, "mount").await);
}

const HOLDERS: [(u8, &str); 3] = [(1, "x"), (1, "y"), (2, "x")];

#[derive(Debug, Clone, Copy)]
enum Step {
    Acquire(usize),
    Renew(usize),
    Release(usize),
    /// Under the newest lease that this holder was ever given.
    Write(usize),
    WriteWithout,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..HOLDERS.len();
    prop_oneof![
        5 => who().prop_map(Step::Acquire),
        3 => who().prop_map(Step::Renew),
        2 => who().prop_map(Step::Release),
        4 => who().prop_map(Step::Write),
        3 => Just(Step::WriteWithout),
        4 => prop_oneof![Just(1), Just(4), Just(9), Just(31), Just(700)].prop_map(Step::Pass),
    ]
}

/// The rules, told once more and without a database.
#[derive(Debug, Default)]
struct Rules {
    now: u64,
    /// Holder, fencing number, end, whether it was recalled.
    held: Option<(usize, u64, u64, bool)>,
    fencing: u64,
    recalls: u32,
    quiet_until: u64,
    /// Fencing number of the newest lease that each holder was given.
    given: HashMap<usize, u64>,
}

impl Rules {
    fn present(&self) -> Option<(usize, u64, u64, bool)> {
        self.held.filter(|held| held.2 > self.now)
    }

    /// The present lease, if this holder's newest one is it.
    fn own(&mut self, who: usize) -> Option<&mut (usize, u64, u64, bool)> {
        let (now, given) = (self.now, self.given.get(&who).copied());
        self.held.as_mut().filter(|held| held.2 > now && held.0 == who && Some(held.1) == given)
    }

    fn quiet(&self) -> u64 {
        (5 << (self.recalls - 1).min(20)).min(300)
    }

    fn acquire(&mut self, who: usize) -> bool {
        let free = match self.present() {
            Some((holder, _, _, recalled)) => holder == who && !recalled,
            None => self.now >= self.quiet_until,
        };
        if free {
            self.fencing += 1;
            self.given.insert(who, self.fencing);
            self.held = Some((who, self.fencing, self.now + 30, false));
        }
        free
    }

    fn write_without(&mut self) -> bool {
        let Some((holder, fencing, end, recalled)) = self.present() else { return true };
        if !recalled {
            self.recalls = if self.recalls > 0 && self.now < self.quiet_until + 600 { self.recalls + 1 } else { 1 };
            self.held = Some((holder, fencing, end, true));
            self.quiet_until = end + self.quiet();
        }
        false
    }

    fn release(&mut self, who: usize) {
        let now = self.now;
        let Some(held) = self.own(who) else { return };
        held.2 = now;
        if held.3 {
            self.quiet_until = now + self.quiet();
        }
    }
}

async fn run(steps: &[Step]) {
    let mut tree = TestTree::new().await;
    let mut rules = Rules { now: u64::try_from(tree.now() / 1_000_000_000).unwrap(), ..Rules::default() };
    let mut leases: HashMap<usize, pb::WriteLease> = HashMap::new();
    let mut written = 0;
    for (number, step) in steps.iter().enumerate() {
        let told = |who: usize| HOLDERS[who];
        match *step {
            Step::Acquire(who) => {
                let (session, holder) = told(who);
                tree.actor.session = SessionId([session; 16]);
                let acquired = acquire(&tree, holder).await;
                assert_eq!(matches!(acquired, Acquired::Lease(_)), rules.acquire(who), "step {number}: {acquired:?}");
                if let Acquired::Lease(lease) = acquired {
                    assert_eq!(lease.fencing, rules.fencing);
                    leases.insert(who, lease);
                }
            }
            Step::Renew(who) => {
                let Some(lease) = leases.get(&who) else { continue };
                let renewed = renew(&tree, lease).await;
                let (now, expected) = (rules.now, rules.own(who));
                match (renewed, expected) {
                    (Ok(renewed), Some(held)) => {
                        if !held.3 {
                            held.2 = now + 30;
                        }
                        assert_eq!((renewed.expires_at, renewed.recalled), (held.2, held.3), "step {number}");
                    }
                    (renewed, None) => assert_eq!(renewed, Err(ErrorCode::StaleLease), "step {number}"),
                    (Err(error), Some(held)) => panic!("step {number}: {error} with {held:?}"),
                }
            }
            Step::Release(who) => {
                let Some(lease) = leases.get(&who) else { continue };
                release(&tree, lease).await;
                rules.release(who);
            }
            Step::Write(who) => {
                let Some(lease) = leases.get(&who) else { continue };
                let expected = if rules.own(who).is_some() { Ok(true) } else { Err(ErrorCode::StaleLease) };
                assert_eq!(write(&tree, Some(lease), &format!("{number}")).await, expected, "step {number}");
                written += usize::from(expected.is_ok());
            }
            Step::WriteWithout => {
                let expected = rules.write_without();
                assert_eq!(write(&tree, None, &format!("{number}")).await, Ok(expected), "step {number}");
                written += usize::from(expected);
            }
            Step::Pass(seconds) => {
                tree.pass_seconds(seconds);
                rules.now += seconds.unsigned_abs();
            }
        }
    }
    assert_eq!(tree.list(tree.root).await.len(), written, "what was refused left something");
    tree.check().await;
}

#[test]
fn random_holders_and_writers_keep_the_rules() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases =
        if std::env::var(crate::test_support::POSTGRES_VARIABLE).is_ok_and(|url| !url.is_empty()) { 12 } else { 48 };
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        runtime.block_on(run(&steps));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
