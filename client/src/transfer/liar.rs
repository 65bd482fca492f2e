//! Who lied: when bytes do not authenticate although every node answered, each node has to prove what it sent.
//!
//! A shard that was read whole is compared with its hash at once. Of any other the same bytes are read again with a proof that
//! leads to that hash. A node whose proof fails, or whose proven bytes are not the ones it sent before, is named and left out.

use std::collections::HashSet;

use cyx_core::chunk::root;
use cyx_core::ids::NodeId;
use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::fetch::{AccessMap, Fetched, SegmentAt};
use crate::nodes::{NodePool, Problem};

/// The nodes that did not send what they were given to keep. Nodes that cannot be asked again are left out of the next attempt as well, but
/// not named as liars.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) liars: HashSet<NodeId>,
    pub(crate) unproven: HashSet<NodeId>,
}

impl Verdict {
    fn name(&mut self, pool: &NodePool, liar: NodeId) {
        tracing::warn!(node = %liar, "a storage node sent other bytes than it was given to keep");
        pool.health().failed(liar, true);
        self.liars.insert(liar);
    }
}

/// Judges every node that contributed to a read.
pub(crate) async fn judge(
    pool: &NodePool,
    segment: &SegmentAt,
    access: &AccessMap,
    fetched: &Fetched,
    buffer: &[u8],
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut proofs = FuturesUnordered::new();
    for got in &fetched.got {
        let Some(node) = segment.holders.get(got.shard).copied().flatten() else { continue };
        let (bytes, chunk) = (got.slice(buffer), segment.chunk(got.shard));
        let whole = got.columns == (0..segment.shard_len) && bytes.len() as u64 == segment.shard_len;
        if whole {
            if root(bytes) != chunk.root {
                verdict.name(pool, node);
            }
            continue;
        }
        let Some(access) = access.get(&node) else { continue };
        let proven = pool.read_proven(access, chunk, got.columns.clone());
        proofs.push(proven.map(move |proven| (node, proven.map(|proven| proven == bytes))));
    }
    // At once, because each may take its time, and whoever reads may be gone before the last one answers.
    while let Some((node, proven)) = proofs.next().await {
        match proven {
            Ok(true) => {}
            Ok(false) => verdict.name(pool, node),
            Err(error) if matches!(error.problem, Problem::WrongData(_)) => verdict.name(pool, node),
            Err(error) => {
                tracing::debug!(%error, "a node does not prove what it sent");
                verdict.unproven.insert(node);
            }
        }
    }
    verdict
}
