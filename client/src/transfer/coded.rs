//! A segment on its way to the nodes: sealed bytes, parity and the hash of every chunk, in one buffer.
//!
//! ```text
//! | shard 0 | shard 1 | … | shard k-1, padded with zeros | parity 0 | … | parity m-1 |
//! ```
//! Sealed bytes lie where they were sealed; shards are slices of the buffer, never copies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cyx_core::chunk::{Root, chunk_id};
use cyx_core::erasure::Coder;
use cyx_core::ids::{Random as _, SegmentId};
use cyx_core::scheme::Scheme;
use cyx_core::segment::{self, shard_len};
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::segment::{seal_and_code, seal_pieces_and_code};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::budget::{Budget, FrozenBuffer, PooledBuffer};
use crate::error::{Error, Result};
use crate::nodes::Chunk;

/// One coder per scheme.
#[derive(Default)]
pub(crate) struct Coders(Mutex<HashMap<Scheme, Arc<Coder>>>);

impl Coders {
    pub(crate) fn get(&self, scheme: Scheme) -> Arc<Coder> {
        let mut coders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(coders.entry(scheme).or_insert_with(|| Arc::new(Coder::new(scheme))))
    }
}

/// A coded segment.
pub(crate) struct Coded {
    pub(crate) id: SegmentId,
    pub(crate) scheme: Scheme,
    /// Sealed bytes in it.
    pub(crate) length: u64,
    shard_len: usize,
    buffer: FrozenBuffer,
    roots: Vec<Root>,
}

/// Bytes of the buffer for a segment of `length` sealed bytes: n shards.
pub(crate) fn buffer_len(scheme: Scheme, length: u64) -> Result<usize> {
    let shards = usize::try_from(shard_len(scheme, length)).ok().and_then(|len| len.checked_mul(scheme.n()));
    shards.ok_or(Error::Internal("a segment fits memory"))
}

/// The part of a buffer that is its segment.
fn shards_of(buffer: &mut PooledBuffer, scheme: Scheme, length: u64) -> Result<&mut [u8]> {
    let used = buffer_len(scheme, length)?;
    buffer.bytes.get_mut(..used).ok_or(Error::Internal("a buffer is large enough for its segment"))
}

impl Coded {
    /// Codes the first `length` bytes of a buffer as a new segment. Takes a while: not for an async thread.
    pub(crate) fn code(coder: &Coder, mut buffer: PooledBuffer, length: u64) -> Result<Self> {
        let scheme = coder.scheme();
        let shards = shards_of(&mut buffer, scheme, length)?;
        let filled = usize::try_from(length).map_err(|_| Error::Internal("a segment fits memory"))?;
        let data_len = shards.len() / scheme.n() * scheme.k();
        shards[filled..data_len].fill(0);
        let roots =
            segment::code(coder, shards, |_, _| {}).map_err(|_| Error::Internal("shards have equal lengths"))?;
        Ok(Self::new(scheme, length, buffer, roots))
    }

    /// Seals the one blob of a buffer and codes it as a new segment. Takes a while too.
    pub(crate) fn seal(coder: &Coder, mut buffer: PooledBuffer, cipher: &BlobCipher) -> Result<Self> {
        let (scheme, length) = (coder.scheme(), cipher.header().sealed_len());
        let shards = shards_of(&mut buffer, scheme, length)?;
        let roots = seal_and_code(cipher, coder, shards)
            .map_err(|_| Error::Internal("a blob is as long as its header says"))?;
        Ok(Self::new(scheme, length, buffer, roots))
    }

    /// The same of a blob whose plain bytes lie in pieces elsewhere.
    pub(crate) fn seal_pieces(
        coder: &Coder,
        mut buffer: PooledBuffer,
        cipher: &BlobCipher,
        pieces: &[Bytes],
    ) -> Result<Self> {
        let (scheme, length) = (coder.scheme(), cipher.header().sealed_len());
        let shards = shards_of(&mut buffer, scheme, length)?;
        let roots = seal_pieces_and_code(cipher, coder, shards, pieces)
            .map_err(|_| Error::Internal("a blob is as long as its header says"))?;
        Ok(Self::new(scheme, length, buffer, roots))
    }

    fn new(scheme: Scheme, length: u64, buffer: PooledBuffer, roots: Vec<Root>) -> Self {
        let shard_len = usize::try_from(shard_len(scheme, length)).unwrap_or(usize::MAX);
        Self { id: SegmentId::random(), scheme, length, shard_len, buffer: buffer.freeze(), roots }
    }

    /// The sealed bytes.
    pub(crate) fn sealed(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        self.buffer.get(..length).unwrap_or_default()
    }

    /// The same sealed bytes as a new segment of another scheme.
    pub(crate) async fn recode(&self, budget: &Budget, coder: Arc<Coder>) -> Result<Self> {
        let length = self.length;
        let mut buffer = budget.lend_beside(buffer_len(coder.scheme(), length)?);
        let sealed = self.sealed();
        buffer.bytes[..sealed.len()].copy_from_slice(sealed);
        blocking(move || Self::code(&coder, buffer, length)).await
    }

    /// The chunk of shard `index`, which is below n.
    pub(crate) fn chunk(&self, index: usize) -> Chunk {
        let start = index * self.shard_len;
        Chunk {
            id: chunk_id(self.id, u8::try_from(index).unwrap_or(u8::MAX)),
            root: self.roots[index],
            bytes: self.buffer.bytes().slice(start..start + self.shard_len),
        }
    }

    /// The segment as the server knows it, without where its shards are.
    pub(crate) fn describe(&self) -> pb::Segment {
        pb::Segment {
            id: bytes_of(self.id),
            scheme: Some(self.scheme.into()),
            length: self.length,
            roots: Bytes::from(self.roots.concat()),
            audited_ns: 0,
            ..pb::Segment::default()
        }
    }
}

/// Runs work that takes long on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    joined(tokio::task::spawn_blocking(job).await)
}

/// The outcome of a task. A panic in it goes on here.
pub(crate) fn joined<T>(done: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match done {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Err(Error::Interrupted),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_core::chunk::root;
    use cyx_core::units::MIB;

    async fn coded(scheme: Scheme, length: usize) -> Coded {
        let coder = Coder::new(scheme);
        let mut buffer = Budget::new(64 * MIB).lend(buffer_len(scheme, length as u64).unwrap() + 5).await;
        buffer.bytes.fill(0xee);
        for (at, byte) in buffer.bytes.iter_mut().enumerate().take(length) {
            *byte = u8::try_from(at % 251).unwrap();
        }
        Coded::code(&coder, buffer, length as u64).unwrap()
    }

    #[tokio::test]
    async fn any_k_shards_give_the_sealed_bytes_back() {
        for length in [1, 9, 10, 11, 12_345] {
            let segment = coded(Scheme::DEFAULT, length).await;
            let chunks: Vec<Chunk> = (0..14).map(|index| segment.chunk(index)).collect();
            let present: Vec<(usize, &[u8])> = (4..14).map(|index| (index, &chunks[index].bytes[..])).collect();
            let mut lost: Vec<Vec<u8>> = vec![vec![0; segment.shard_len]; 4];
            let mut wanted: Vec<(usize, &mut [u8])> = lost.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
            Coder::new(Scheme::DEFAULT).reconstruct(&present, &mut wanted).unwrap();
            let all: Vec<u8> =
                lost.concat().into_iter().chain(chunks[4..10].iter().flat_map(|c| c.bytes.to_vec())).collect();
            assert!(all[..length].iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
            assert!(all[length..].iter().all(|byte| *byte == 0), "padding is zeros, whatever was in the buffer");
            assert!(chunks.iter().all(|chunk| root(&chunk.bytes) == chunk.root));
        }
    }

    #[tokio::test]
    async fn another_scheme_makes_another_segment_of_the_same_bytes() {
        let wide = coded(Scheme::DEFAULT, 1000).await;
        let narrow = wide.recode(&Budget::new(MIB), Arc::new(Coder::new(Scheme::new(2, 1).unwrap()))).await.unwrap();
        assert_ne!(narrow.id, wide.id);
        assert_eq!([narrow.chunk(0).bytes, narrow.chunk(1).bytes].concat()[..1000], wide.buffer[..1000]);
        assert_eq!(narrow.describe().roots.len(), 3 * 32);
    }
}
