//! Placement leases: the right to put segments on certain nodes, used for many segments and files.
//!
//! A lease covers a number of sealed bytes and a time. What is left of it is counted here; the server counts again when
//! segments are committed. After a failure of one of its nodes a lease is exchanged for one without it.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, NodeId};
use cyx_core::scheme::Scheme;
use cyx_core::units::MIB;
use cyx_proto::convert::{self, InvalidField, bytes_of};
use cyx_proto::meta::v1 as pb;

use crate::clock::unix_seconds;
use crate::error::{IntegrityError, Result, said};
use crate::meta::MetaClient;
use crate::nodes::{NodeAccess, NodePool};

/// A lease is not used any more this many seconds before it ends, so that what is under way can finish; but for three quarters
/// of its life at least.
const MARGIN_SECONDS: u64 = 120;
/// Asked for at least, so that many small files share one: four times as much with each further lease, up to [`LEAST`]. What a lease that is given
/// back still allows is not free for others at once, so a program that stores one small file must not ask for much.
const LEAST_FIRST: u64 = MIB / 4;
/// See [`LEAST_FIRST`].
const LEAST: u64 = 64 * MIB;
/// Asked for at most, so that an upload that breaks off does not block much of the quota.
const MOST: u64 = 1024 * MIB;

/// A lease as the server gave it.
pub(crate) struct Lease {
    pub(crate) id: Bytes,
    pub(crate) placement: Bytes,
    pub(crate) scheme: Scheme,
    /// Node of shard i; fewer than shards if there are no more nodes.
    pub(crate) nodes: Vec<NodeAccess>,
    pub(crate) spares: Vec<NodeAccess>,
    /// What can be lost, if fewer nodes are alive than the bucket asks for.
    pub(crate) warning: Option<String>,
    use_until: u64,
    left: Mutex<u64>,
    /// Segments under it that the server does not know yet.
    outstanding: AtomicUsize,
    /// Nodes that were left out when it was asked for.
    avoided: HashSet<NodeId>,
}

impl TryFrom<pb::PlacementLease> for Lease {
    type Error = InvalidField;

    fn try_from(lease: pb::PlacementLease) -> std::result::Result<Self, InvalidField> {
        let scheme = convert::scheme(lease.scheme, "lease.scheme")?;
        type Nodes = std::result::Result<Vec<NodeAccess>, InvalidField>;
        let checked = |nodes: Vec<pb::NodeAccess>| nodes.into_iter().map(NodeAccess::try_from).collect::<Nodes>();
        let nodes = checked(lease.nodes)?;
        // Shards behind the last node have none: fewer nodes than the scheme wants are there.
        if !(scheme.write_quorum()..=scheme.n()).contains(&nodes.len()) {
            return Err(InvalidField { field: "lease.nodes" });
        }
        Ok(Self {
            id: lease.lease,
            placement: lease.placement,
            scheme,
            nodes,
            spares: checked(lease.spares)?,
            warning: Some(said(&lease.warning)).filter(|warning| !warning.is_empty()),
            use_until: use_until(lease.expires_at, unix_seconds()),
            left: Mutex::new(lease.allowance),
            outstanding: AtomicUsize::new(0),
            avoided: HashSet::new(),
        })
    }
}

/// A lease of which bytes are taken for one segment: until the server knows the segment, or never will.
pub(crate) struct LeaseUse(Arc<Lease>);

impl LeaseUse {
    /// None if the lease is not for so much any more.
    fn take(lease: &Arc<Lease>, bytes: u64) -> Option<Self> {
        lease.take(bytes).then(|| {
            lease.outstanding.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(lease))
        })
    }
}

impl Deref for LeaseUse {
    type Target = Arc<Lease>;

    fn deref(&self) -> &Arc<Lease> {
        &self.0
    }
}

impl Drop for LeaseUse {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    fn take(&self, bytes: u64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.checked_sub(bytes) {
            Some(rest) if unix_seconds() < self.use_until => {
                *left = rest;
                true
            }
            _ => false,
        }
    }

    /// A lease of a test's own making.
    #[cfg(test)]
    pub(crate) fn for_tests(scheme: Scheme, nodes: Vec<NodeAccess>, spares: Vec<NodeAccess>) -> Self {
        Self {
            id: Bytes::from_static(&[1; 16]),
            placement: Bytes::from_static(&[2; 16]),
            scheme,
            nodes,
            spares,
            warning: None,
            use_until: u64::MAX,
            left: Mutex::new(u64::MAX),
            outstanding: AtomicUsize::new(0),
            avoided: HashSet::new(),
        }
    }
}

/// The leases of one bucket.
pub(crate) struct Leases {
    meta: MetaClient,
    pool: NodePool,
    bucket: BucketId,
    current: tokio::sync::Mutex<Option<Arc<Lease>>>,
    /// All that were taken and not given back.
    taken: Mutex<Vec<Arc<Lease>>>,
    /// How many were asked for to store what is to come.
    asked: AtomicU32,
}

impl Leases {
    pub(crate) fn new(meta: MetaClient, pool: NodePool, bucket: BucketId) -> Self {
        Self {
            meta,
            pool,
            bucket,
            current: tokio::sync::Mutex::default(),
            taken: Mutex::default(),
            asked: AtomicU32::new(0),
        }
    }

    /// A lease under which a segment of `bytes` sealed bytes may be stored, which are counted as used. `coming` is how many more sealed bytes
    /// will probably follow.
    pub(crate) async fn take(&self, bytes: u64, coming: u64) -> Result<LeaseUse> {
        let mut current = self.current.lock().await;
        if let Some(used) = current.as_ref().and_then(|lease| LeaseUse::take(lease, bytes)) {
            return Ok(used);
        }
        let wanted = bytes.saturating_add(coming).clamp(self.least(), MOST).max(bytes);
        let mut asked = self.ask(wanted, bytes, None).await;
        if asked.as_ref().is_err_and(|error| error.code() == ErrorCode::QuotaExceeded) {
            // What is left of the one at hand, and of others, counts as used.
            *current = None;
            if self.give_back_done(None).await {
                asked = self.ask(wanted, bytes, None).await;
            }
        }
        let lease = asked?;
        let used = self.begin(&lease, bytes)?;
        *current = Some(lease);
        Ok(used)
    }

    /// The scheme of the lease at hand, or of a new one for so many sealed bytes: what segments should be cut for.
    pub(crate) async fn scheme(&self, coming: u64) -> Result<Scheme> {
        let mut current = self.current.lock().await;
        if let Some(lease) = current.as_ref().filter(|lease| lease.take(0)) {
            return Ok(lease.scheme);
        }
        let lease = self.ask(coming.clamp(self.least(), MOST), 0, None).await?;
        self.taken().push(Arc::clone(&lease));
        let scheme = lease.scheme;
        *current = Some(lease);
        Ok(scheme)
    }

    /// Id of the lease at hand.
    pub(crate) async fn current(&self) -> Option<Bytes> {
        self.current.lock().await.as_ref().map(|lease| lease.id.clone())
    }

    /// Has a lease at hand, and connections to its nodes, before they are needed. What fails is found out when they are.
    pub(crate) async fn prepare(&self, coming: u64) {
        if let Err(error) = self.scheme(coming).await {
            tracing::debug!(%error, "no lease ahead of time");
            return;
        }
        let lease = self.current.lock().await.clone();
        if let Some(lease) = lease {
            self.pool.prepare(&lease.nodes).await;
        }
    }

    /// A lease for `bytes` sealed bytes under a narrower scheme than one that could not be stored.
    pub(crate) async fn narrower(&self, than: Scheme, bytes: u64) -> Result<Option<LeaseUse>> {
        let Some(next) = narrower(than) else { return Ok(None) };
        match self.ask(bytes, bytes, Some(next)).await {
            Ok(lease) => Ok(Some(self.begin(&lease, bytes)?).filter(|used| used.scheme.n() < than.n())),
            Err(error) if error.code() == ErrorCode::TooFewNodes => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Drops a lease because one of its nodes failed, or because it is `stale`: nodes do not take its grants any more. The next one is
    /// asked for without the nodes that fail. False if nothing was learned since this one was asked for: then another would not be
    /// better, and it stays.
    pub(crate) async fn exchange(&self, failed: &Arc<Lease>, stale: bool) -> bool {
        let learned = stale || self.pool.health().avoided().iter().any(|node| !failed.avoided.contains(node));
        let mut current = self.current.lock().await;
        if learned && current.as_ref().is_some_and(|lease| Arc::ptr_eq(lease, failed)) {
            *current = None;
        }
        learned
    }

    /// Drops the lease at hand, because the server does not take what was stored under it: one of its nodes has left.
    pub(crate) async fn forget(&self) {
        self.current.lock().await.take();
    }

    /// Gives back leases that are spent or exchanged and have no segment under them that the server does not know.
    pub(crate) async fn release_spent(&self) {
        let current = self.current.lock().await.clone();
        self.give_back_done(current.as_ref()).await;
    }

    /// The same, for who knows the one at hand. Whether there were any.
    async fn give_back_done(&self, current: Option<&Arc<Lease>>) -> bool {
        let is_done = |lease: &Arc<Lease>| {
            lease.outstanding.load(Ordering::Relaxed) == 0 && !current.is_some_and(|now| Arc::ptr_eq(now, lease))
        };
        let done: Vec<Arc<Lease>> = self.taken().extract_if(.., |lease| is_done(lease)).collect();
        // Those that ended by themselves are nobody's any more.
        let ended = unix_seconds().saturating_sub(MARGIN_SECONDS);
        self.taken().retain(|lease| lease.use_until >= ended);
        self.give_back(&done).await;
        !done.is_empty()
    }

    /// Gives everything back. What was stored under the leases and not committed by now is lost.
    pub(crate) async fn release(&self) {
        self.current.lock().await.take();
        let all = std::mem::take(&mut *self.taken());
        self.give_back(&all).await;
    }

    async fn give_back(&self, leases: &[Arc<Lease>]) {
        if leases.is_empty() {
            return;
        }
        let leases = leases.iter().map(|lease| lease.id.clone()).collect();
        if let Err(error) = self.meta.release_lease(pb::ReleaseLeaseRequest { leases }).await {
            tracing::debug!(%error, "leases were not given back; they end by themselves");
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Lease>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Least bytes of the next lease.
    fn least(&self) -> u64 {
        least(self.asked.fetch_add(1, Ordering::Relaxed))
    }

    /// The first use of a new lease.
    fn begin(&self, lease: &Arc<Lease>, bytes: u64) -> Result<LeaseUse> {
        let used = LeaseUse::take(lease, bytes);
        let used = used.ok_or(IntegrityError::Mismatch("a lease is for less than was asked for"))?;
        self.taken().push(Arc::clone(lease));
        Ok(used)
    }

    async fn ask(&self, wanted: u64, needed: u64, at_most: Option<Scheme>) -> Result<Arc<Lease>> {
        let mut avoided = self.pool.health().avoided();
        let request = |bytes, avoided: &[NodeId]| pb::LeasePlacementRequest {
            bucket: bytes_of(self.bucket),
            bytes,
            avoid: avoided.iter().copied().map(bytes_of).collect(),
            at_most: at_most.map(Into::into),
            count: 1,
        };
        let failed = |answer: &Result<pb::LeasePlacementResponse>, code| {
            answer.as_ref().is_err_and(|error| error.code() == code)
        };
        let mut answer = self.meta.lease_placement(request(wanted, &avoided)).await;
        if failed(&answer, ErrorCode::TooFewNodes) && !avoided.is_empty() {
            // Nodes that failed lately are better than none.
            avoided.clear();
            answer = self.meta.lease_placement(request(wanted, &avoided)).await;
        }
        if needed < wanted && failed(&answer, ErrorCode::QuotaExceeded) {
            // There may be room for what is needed now, if not for all that is to come.
            answer = self.meta.lease_placement(request(needed.max(1), &avoided)).await;
        }
        let lease = answer?.leases.into_iter().next();
        let mut lease = Lease::try_from(lease.ok_or(IntegrityError::Mismatch("it gives no lease"))?)?;
        lease.avoided = avoided.into_iter().collect();
        Ok(Arc::new(lease))
    }
}

/// Least bytes of a lease when so many were asked for before.
fn least(asked: u32) -> u64 {
    LEAST_FIRST.saturating_mul(4_u64.saturating_pow(asked)).min(LEAST)
}

fn use_until(expires: u64, now: u64) -> u64 {
    expires - MARGIN_SECONDS.min(expires.saturating_sub(now) / 4)
}

/// The next scheme to try when there are too few nodes for this one.
pub(crate) fn narrower(than: Scheme) -> Option<Scheme> {
    Scheme::LADDER.into_iter().find(|scheme| scheme.n() < than.n())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_climbed_down_step_by_step() {
        let mut scheme = Scheme::DURABLE;
        let mut steps = Vec::new();
        while let Some(next) = narrower(scheme) {
            steps.push(next.to_string());
            scheme = next;
        }
        assert_eq!(steps, ["10+4", "6+3", "4+2", "2+1", "1+1", "1+0"]);
    }

    #[test]
    fn leases_for_what_comes_in_small_pieces_grow() {
        assert_eq!([0, 1, 3, 4, 5, u32::MAX].map(|asked| 4 * least(asked) / MIB), [1, 4, 64, 256, 256, 256]);
    }

    #[test]
    fn a_lease_is_in_use_until_the_last_segment_is_known() {
        let lease = Lease { left: Mutex::new(100), ..Lease::for_tests(Scheme::SINGLE, Vec::new(), Vec::new()) };
        let lease = Arc::new(lease);
        let uses = [60, 40, 1].map(|bytes| LeaseUse::take(&lease, bytes));
        let outstanding = || lease.outstanding.load(Ordering::Relaxed);
        assert_eq!((uses.each_ref().map(Option::is_some), outstanding()), ([true, true, false], 2));
        let [one, two, _] = uses;
        drop(one);
        assert_eq!(outstanding(), 1);
        drop(two);
        assert_eq!(outstanding(), 0);
    }

    #[test]
    fn a_lease_is_used_up_and_ends() {
        let lease = Lease { left: Mutex::new(100), ..Lease::for_tests(Scheme::SINGLE, Vec::new(), Vec::new()) };
        assert!(lease.take(60));
        assert!(!lease.take(60));
        assert!(lease.take(40));
        let old = Lease { use_until: unix_seconds(), ..Lease::for_tests(Scheme::SINGLE, Vec::new(), Vec::new()) };
        assert!(!old.take(1));
        assert_eq!((use_until(4600, 1000), use_until(1040, 1000), use_until(900, 1000)), (4480, 1030, 900));
    }
}
