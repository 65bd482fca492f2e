//! Is a file still there? Every node that should hold a shard of it is asked, and believed; [`super::verify`] has them prove it.

use std::collections::HashMap;

use cyx_core::ids::NodeId;
use cyx_core::scheme::Scheme;
use futures_util::stream::{StreamExt as _, iter};

use super::fetch::AccessMap;
use super::reader::FileReader;
use crate::error::Result;
use crate::nodes::read::{ChunkHealth, ChunkRef};

/// Chunks asked about in one call.
const CHUNKS_PER_CALL: usize = 256;
/// The same when nodes read them; they accept no more.
const SCRUBBED_PER_CALL: usize = 64;
/// Nodes asked at a time.
const NODES_AT_A_TIME: usize = 32;

/// What nodes say about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHealth {
    /// Segments in which it lies; none if it lies in the server's database.
    pub segments: usize,
    /// Scheme of its worst segment: of several, the one that can lose the least decides.
    pub scheme: Option<Scheme>,
    /// Shards of that segment that are there and intact.
    pub shards_healthy: usize,
    /// How many more nodes may be lost; `None` if it cannot be read any more, or if it needs no node.
    pub survives: Option<usize>,
    /// It can be read.
    pub readable: bool,
    /// Nodes that did not answer.
    pub unreachable: Vec<NodeId>,
    /// Nodes that lost or damaged a shard.
    pub faulty: Vec<NodeId>,
}

impl FileReader {
    /// Asks all nodes about all shards. With `scrub` they read them; without they say what they believe.
    ///
    /// # Errors
    /// Network and integrity errors about the file itself. Nodes that fail are counted, not errors.
    pub async fn reported_health(&self, scrub: bool) -> Result<FileHealth> {
        let segments = self.segments(0..self.size()).await?;
        let mut questions: HashMap<NodeId, Vec<(usize, ChunkRef)>> = HashMap::new();
        let mut access = AccessMap::new();
        for (number, segment) in segments.iter().enumerate() {
            access.extend(self.access(segment, 0).await?);
            for (shard, holder) in segment.holders.iter().enumerate() {
                if let Some(node) = holder {
                    questions.entry(*node).or_default().push((number, segment.chunk(shard)));
                }
            }
        }
        let mut healthy = vec![0; segments.len()];
        let (mut unreachable, mut faulty) = (Vec::new(), Vec::new());
        let per_call = if scrub { SCRUBBED_PER_CALL } else { CHUNKS_PER_CALL };
        let pool = self.transfer().pool();
        let mut answers = iter(questions)
            .map(|(node, questions)| {
                let access = access.get(&node).cloned();
                async move {
                    let mut good = Vec::new();
                    let mut fault = false;
                    let Some(access) = access else { return (node, None) };
                    for part in questions.chunks(per_call) {
                        let chunks: Vec<ChunkRef> = part.iter().map(|(_, chunk)| *chunk).collect();
                        match pool.verify(&access, &chunks, scrub).await {
                            Ok(states) => {
                                for ((segment, _), state) in part.iter().zip(states) {
                                    match state {
                                        ChunkHealth::Present => good.push(*segment),
                                        _ => fault = true,
                                    }
                                }
                            }
                            Err(error) => {
                                tracing::debug!(%error, "a storage node was not verified");
                                return (node, None);
                            }
                        }
                    }
                    (node, Some((good, fault)))
                }
            })
            .buffer_unordered(NODES_AT_A_TIME);
        while let Some((node, answer)) = answers.next().await {
            match answer {
                None => unreachable.push(node),
                Some((good, fault)) => {
                    good.into_iter().for_each(|segment| healthy[segment] += 1);
                    faulty.extend(fault.then_some(node));
                }
            }
        }
        unreachable.sort_unstable();
        faulty.sort_unstable();
        let worst = segments
            .iter()
            .zip(healthy)
            .map(|(segment, healthy)| (segment.scheme, healthy))
            // One that cannot be read (`None`) is worse than one that survives nothing.
            .min_by_key(|(scheme, healthy)| scheme.survives(*healthy));
        let survives = worst.and_then(|(scheme, healthy)| scheme.survives(healthy));
        Ok(FileHealth {
            segments: segments.len(),
            scheme: worst.map(|(scheme, _)| scheme),
            shards_healthy: worst.map_or(0, |(_, healthy)| healthy),
            survives,
            readable: worst.is_none() || survives.is_some(),
            unreachable,
            faulty,
        })
    }
}
