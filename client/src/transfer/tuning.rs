//! Sizes and times of the transfer engine, in one place. The defaults were chosen by measurement; tests choose their own.

use std::time::Duration;

use cyx_core::scheme::Scheme;
use cyx_core::units::{CHUNK_MAX, FRAME_PLAIN, FRAME_SEALED, FRAMES_PER_SHARD, MIB};

use crate::nodes::Patience;

/// What the engine may use and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Bytes of content that may be in memory at a time, sealed, coded or plain, over all transfers of one engine. What is read counts a
    /// quarter more, for the windows in which it arrives.
    pub memory: u64,
    /// Bytes that reads may have beside it for other shards, from which the missing ones are computed.
    pub reserve: u64,
    /// Data frames of an ordinary segment, before they are shared out to the k shards.
    pub frames: u64,
    /// Data frames of the segments of large files.
    pub frames_large: u64,
    /// Files of at least this many bytes are large. A stream counts as large once that many bytes came.
    pub large_file: u64,
    /// Segments of a large upload are handed over to the server, and may be resumed, after this many sealed bytes.
    pub stage: u64,
    /// Or when this time has passed since the last hand-over.
    pub stage_after: Duration,
    /// When enough shards are durable, the rest has this long at least.
    pub tail_min: Duration,
    /// And this long at most.
    pub tail_max: Duration,
    /// A shard that is not stored this long after half of the others were is sent to a spare as well.
    pub late_store: Duration,
    /// No read is hedged sooner.
    pub hedge_min: Duration,
    /// Reads are hedged this late while nothing is known about the nodes.
    pub hedge_unknown: Duration,
    /// Plain bytes that are read from nodes in one go: a segment of a large file, whose missing shards are computed from as many bytes of others.
    /// Half as many, while none is missing.
    pub read_piece: u64,
    /// Sealed bytes of a pack of small files.
    pub pack: u64,
    /// How long nodes may take.
    pub patience: Patience,
    /// While hardly any node can be reached, what failed is tried again for so long.
    pub outage: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            memory: 92 * MIB,
            reserve: 20 * MIB,
            frames: FRAMES_PER_SHARD * 10,
            frames_large: FRAMES_PER_SHARD * 40,
            large_file: 64 * MIB,
            stage: 64 * MIB,
            stage_after: Duration::from_secs(10),
            tail_min: Duration::from_millis(2500),
            tail_max: Duration::from_secs(15),
            late_store: Duration::from_secs(4),
            hedge_min: Duration::from_millis(150),
            hedge_unknown: Duration::from_millis(1500),
            read_piece: 20 * MIB,
            pack: 5 * MIB,
            patience: Patience::default(),
            outage: Duration::from_secs(20),
        }
    }
}

impl Tuning {
    /// Frames of a full segment for a file of which `known` bytes are known to exist: a multiple of k, so that no frame lies
    /// in two shards.
    #[must_use]
    pub fn segment_frames(&self, scheme: Scheme, known: u64) -> u64 {
        let frames = if known >= self.large_file { self.frames_large } else { self.frames };
        let k = scheme.k() as u64;
        (frames / k).clamp(1, CHUNK_MAX / FRAME_SEALED) * k
    }

    /// Plain bytes of a full segment.
    #[must_use]
    pub fn segment_plain(&self, scheme: Scheme, known: u64) -> u64 {
        self.segment_frames(scheme, known) * FRAME_PLAIN
    }

    /// How long the missing shards have, when enough of them took `taken`.
    #[must_use]
    pub fn tail(&self, taken: Duration) -> Duration {
        taken.clamp(self.tail_min, self.tail_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::units::FRAMES_PER_SHARD_MAX;

    #[test]
    fn segments_are_whole_frames_in_every_shard() {
        let largest = Tuning { frames_large: FRAMES_PER_SHARD_MAX * 10, ..Tuning::default() };
        for (tuning, scheme) in [Tuning::default(), largest]
            .into_iter()
            .flat_map(|tuning| Scheme::LADDER.into_iter().chain([Scheme::DURABLE]).map(move |scheme| (tuning, scheme)))
        {
            for known in [0, tuning.large_file] {
                let frames = tuning.segment_frames(scheme, known);
                assert_eq!(frames % scheme.k() as u64, 0, "{scheme}");
                assert!(frames / scheme.k() as u64 * FRAME_SEALED <= CHUNK_MAX, "{scheme}");
                // As many frames as were asked for, less what would lie in two shards.
                let wanted = if known == 0 { tuning.frames } else { tuning.frames_large };
                assert!((wanted - frames) < scheme.k() as u64, "{scheme}");
            }
        }
        let tuning = Tuning::default();
        assert_eq!(tuning.segment_plain(Scheme::DEFAULT, 0), 5 * MIB);
        assert_eq!(tuning.segment_plain(Scheme::DEFAULT, u64::MAX), 20 * MIB);
        assert_eq!(largest.segment_plain(Scheme::DEFAULT, u64::MAX), 40 * MIB);
        assert_eq!(largest.segment_plain(Scheme::SINGLE, u64::MAX), 40 * MIB);
    }
}
