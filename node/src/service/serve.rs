//! One `GetChunk` stream: a range of a chunk in messages of 256 KiB, plain or as a proof.
//!
//! The first read happens before the call is answered, so whatever is wrong with the chunk is an error of the call. The
//! others happen when the client takes what was read, so a slow client holds one read's worth of memory, and one that takes
//! nothing loses it (see [`super::reads`]).

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cyx_core::ids::ChunkId;
use cyx_core::units::PIECE;
use cyx_proto::chunk::v1::GetChunkResponse;
use futures_util::Stream;
use tonic::Status;

use super::reads::ReadPermit;
use super::{Node, store_status};
use crate::store::groups::{GROUP, ProofItem, proof_items};
use crate::store::{READ_MAX, StoreError};

/// What stands before the items of a proof: `cyx_core::proof` defines it.
const PROOF_HEADER: &[u8; 5] = b"cyxM\x01";

/// Reads a chunk in steps of at most [`READ_MAX`] bytes that end at group boundaries.
struct Reader {
    node: Arc<Node>,
    id: ChunkId,
    at: u64,
    end: u64,
    _permit: ReadPermit,
}

impl Reader {
    async fn next(&mut self) -> Result<Bytes, Status> {
        let step_end = (self.at + READ_MAX - self.at % GROUP).min(self.end);
        // A step that begins inside a group is shorter than READ_MAX, one that begins at its border is not longer.
        let bytes = self.node.store.read(self.id, self.at..step_end).await.map_err(|error| store_status(&error))?;
        self.at = step_end;
        Ok(bytes)
    }
}

struct Plain {
    reader: Reader,
    read: Bytes,
    /// Told with the first message only.
    chunk_length: u64,
    first: bool,
}

/// The bytes of a range.
pub(super) async fn plain(
    node: Arc<Node>,
    session: &[u8; 32],
    id: ChunkId,
    chunk_length: u64,
    range: Range<u64>,
) -> Result<impl Stream<Item = Result<GetChunkResponse, Status>> + use<>, Status> {
    let permit = node.reads.permit(session).await?;
    let mut reader = Reader { node, id, at: range.start, end: range.end, _permit: permit };
    let read = reader.next().await?;
    let state = Plain { reader, read, chunk_length, first: true };
    Ok(futures_util::stream::try_unfold(state, |mut state| async move {
        if state.read.is_empty() && state.reader.at < state.reader.end {
            state.read = state.reader.next().await?;
        }
        if state.read.is_empty() && !state.first {
            return Ok(None);
        }
        let data = state.read.split_to(PIECE.min(state.read.len()));
        state.reader.node.counters.add_served(data.len() as u64);
        let chunk_length = if state.first { state.chunk_length } else { 0 };
        state.first = false;
        Ok(Some((GetChunkResponse { chunk_length, data }, state)))
    }))
}

struct Proven {
    reader: Reader,
    /// What was read and not sent yet.
    read: Bytes,
    items: std::vec::IntoIter<ProofItem>,
    ready: BytesMut,
    chunk_length: u64,
    first: bool,
}

/// A proof of a range, in the layout of `cyx_core::proof`.
pub(super) async fn proven(
    node: Arc<Node>,
    session: &[u8; 32],
    id: ChunkId,
    chunk_length: u64,
    range: Range<u64>,
) -> Result<impl Stream<Item = Result<GetChunkResponse, Status>> + use<>, Status> {
    if range.is_empty() {
        return Err(store_status(&StoreError::OutOfRange));
    }
    let permit = node.reads.permit(session).await?;
    let values = node.store.values(id).await.map_err(|error| store_status(&error))?;
    let items = proof_items(&values, chunk_length, &range).ok_or_else(|| store_status(&StoreError::Damaged))?;
    let (at, end) = (range.start - range.start % GROUP, range.end.next_multiple_of(GROUP).min(chunk_length));
    let mut reader = Reader { node, id, at, end, _permit: permit };
    let read = reader.next().await?;
    let ready = BytesMut::from(&PROOF_HEADER[..]);
    let state = Proven { reader, read, items: items.into_iter(), ready, chunk_length, first: true };
    Ok(futures_util::stream::try_unfold(state, |mut state| async move {
        while state.ready.len() < PIECE {
            match state.items.next() {
                None => break,
                Some(ProofItem::Pair(pair)) => state.ready.extend_from_slice(&pair),
                Some(ProofItem::Group(len)) => {
                    if state.read.is_empty() {
                        state.read = state.reader.next().await?;
                    }
                    // Reads end at group boundaries, so a group is never cut.
                    let group = state.read.split_to(len.min(state.read.len()));
                    state.ready.extend_from_slice(&group);
                }
            }
        }
        if state.ready.is_empty() {
            return Ok(None);
        }
        let data = state.ready.split().freeze();
        state.reader.node.counters.add_served(data.len() as u64);
        let chunk_length = if state.first { state.chunk_length } else { 0 };
        state.first = false;
        Ok(Some((GetChunkResponse { chunk_length, data }, state)))
    }))
}
