//! The messages that carry chunk data, without a codec between them and the connection.
//!
//! A codec needs a message in one piece: it copies what is sent behind the message's head, and puts together what arrived in several
//! pieces. For messages that are a few bytes of head and then 256 KiB of a chunk, these copies are most of what moving them costs. So
//! the two methods that move data write the head alone, and send the data from where it lies; and [`Parts`] hands out data as it arrives.
//! On the wire there is no difference: what one side does here, the other may do with a codec.
//!
//! ```text
//! gRPC:      0 (not compressed) | length u32, big endian | message
//! message:   fields before the data | key of the data field | length, varint | data
//! ```

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use cyx_core::error::ErrorCode;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};
use thiserror::Error;
use tonic::codegen::http::{HeaderMap, StatusCode};
use tonic::codegen::{Body, StdError};
use tonic::{Code, Status};

use crate::status::status;

/// Path of the method that stores chunks.
pub const STORE_CHUNK: &str = "/cyx.chunk.v1.ChunkService/StoreChunk";
/// Path of the method that reads them.
pub const GET_CHUNK: &str = "/cyx.chunk.v1.ChunkService/GetChunk";
/// Number of the field that carries data in a `StoreChunkRequest`.
pub const STORE_DATA: u32 = 3;
/// Number of the field that carries data in a `GetChunkResponse`.
pub const GET_DATA: u32 = 2;

/// What stands before a gRPC message.
const GRPC_HEAD: usize = 5;
/// What may stand before data in a message: a varint field, a key, a length.
const HEAD_MAX: usize = 24;

/// Appends a whole message.
pub fn put_message(out: &mut BytesMut, message: &impl Message) {
    let len = message.encoded_len();
    put_grpc_head(out, len);
    // A `BytesMut` grows, so there is room.
    let _ = message.encode(out);
}

/// Appends what stands before `len` bytes of data in field `field`, of a message of which `before` are the other fields.
pub fn put_data_head(out: &mut BytesMut, before: &[u8], field: u32, len: usize) {
    let inside = len as u64;
    put_grpc_head(out, before.len() + key_len(field) + encoded_len_varint(inside) + len);
    out.put_slice(before);
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(inside, out);
}

fn put_grpc_head(out: &mut BytesMut, len: usize) {
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// A part of a stream of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A message, or what stands in one before its data.
    Message(Bytes),
    /// Some of a message's data, never nothing.
    Data(Bytes),
}

/// Bytes that are no messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a malformed message: {0}")]
pub struct Malformed(&'static str);

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        status(ErrorCode::InvalidArgument, error.to_string())
    }
}

/// Takes a stream of messages apart, whatever the pieces in which it comes.
#[derive(Debug)]
pub struct Splitter {
    /// Number of the field whose data is handed out as it comes; 0: none.
    field: u32,
    /// Longest message.
    limit: usize,
    input: VecDeque<Bytes>,
    available: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Between,
    /// A message of so many bytes of which nothing was looked at yet.
    Begun(usize),
    /// A message that is put together, and how long it will be.
    Whole(BytesMut, usize),
    /// So many bytes of data are left.
    Data(usize),
}

impl Splitter {
    /// For messages of at most `limit` bytes that carry data in field number `field`, or none if that is 0.
    #[must_use]
    pub fn new(field: u32, limit: usize) -> Self {
        Self { field, limit, input: VecDeque::new(), available: 0, state: State::Between }
    }

    /// Adds the next bytes. Everything that is ready has to be taken by [`Self::next_part`] first, or memory is not bounded.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.available += bytes.len();
            self.input.push_back(bytes);
        }
    }

    /// Whether the last message is complete.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between) && self.available == 0
    }

    /// The next part that is ready.
    ///
    /// # Errors
    /// [`Malformed`]; then nothing that follows means anything.
    pub fn next_part(&mut self) -> Result<Option<Part>, Malformed> {
        loop {
            match &mut self.state {
                State::Between => {
                    let mut head = [0; GRPC_HEAD];
                    if self.available < GRPC_HEAD {
                        return Ok(None);
                    }
                    self.take(&mut head);
                    let [compressed, length @ ..] = head;
                    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    if compressed != 0 {
                        return Err(Malformed("it is compressed"));
                    }
                    if length > self.limit {
                        return Err(Malformed("it is too long"));
                    }
                    self.state = State::Begun(length);
                }
                State::Begun(length) => {
                    let length = *length;
                    let mut head = [0; HEAD_MAX];
                    let looked = length.min(HEAD_MAX);
                    if self.available < looked {
                        return Ok(None);
                    }
                    self.peek(&mut head[..looked]);
                    let Some((before, data)) = data_in(&head[..looked], self.field, length) else {
                        self.state = State::Whole(BytesMut::new(), length);
                        continue;
                    };
                    self.skip(length - data);
                    self.state = State::Data(data);
                    if before > 0 {
                        return Ok(Some(Part::Message(Bytes::copy_from_slice(&head[..before]))));
                    }
                }
                State::Whole(kept, length) => {
                    let (mut kept, length) = (std::mem::take(kept), *length);
                    // All of it lies in one piece, as a rule.
                    if kept.is_empty() && self.input.front().is_some_and(|first| first.len() >= length) {
                        self.state = State::Between;
                        return Ok(Some(Part::Message(self.split(length))));
                    }
                    while kept.len() < length && self.available > 0 {
                        let piece = self.split(length - kept.len());
                        kept.extend_from_slice(&piece);
                    }
                    if kept.len() < length {
                        self.state = State::Whole(kept, length);
                        return Ok(None);
                    }
                    self.state = State::Between;
                    return Ok(Some(Part::Message(kept.freeze())));
                }
                State::Data(left) => {
                    let most = *left;
                    if self.available == 0 {
                        return Ok(None);
                    }
                    let piece = self.split(most);
                    self.state = if piece.len() == most { State::Between } else { State::Data(most - piece.len()) };
                    return Ok(Some(Part::Data(piece)));
                }
            }
        }
    }

    /// At most `most` bytes of the first piece.
    fn split(&mut self, most: usize) -> Bytes {
        let Some(first) = self.input.front_mut() else { return Bytes::new() };
        let piece = if first.len() <= most { self.input.pop_front().unwrap_or_default() } else { first.split_to(most) };
        self.available -= piece.len();
        piece
    }

    fn peek(&self, out: &mut [u8]) {
        let bytes = self.input.iter().flat_map(|piece| piece.iter());
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
    }

    fn take(&mut self, out: &mut [u8]) {
        self.peek(out);
        self.skip(out.len());
    }

    fn skip(&mut self, mut len: usize) {
        while len > 0 && self.available > 0 {
            len -= self.split(len).len();
        }
    }
}

/// Where data begins in a message of `length` bytes that begins with `head`: how many bytes are other fields, and how many are the data, if
/// it is the message's last field and fields of numbers alone stand before it.
fn data_in(head: &[u8], field: u32, length: usize) -> Option<(usize, usize)> {
    let mut rest = head;
    loop {
        let before = head.len() - rest.len();
        let (number, kind) = decode_key(&mut rest).ok()?;
        match kind {
            WireType::LengthDelimited if number == field => {
                let data = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let begins = head.len() - rest.len();
                return (data > 0 && begins.checked_add(data)? == length).then_some((before, data));
            }
            WireType::Varint => drop(decode_varint(&mut rest).ok()?),
            _ => return None,
        }
        if !rest.has_remaining() {
            return None;
        }
    }
}

/// The parts of a stream, as they arrive on a connection.
#[derive(Debug)]
pub struct Parts<B> {
    body: B,
    splitter: Splitter,
    /// Of an answer: its code of HTTP. It is right only if a status of gRPC says so in the end.
    answer: Option<StatusCode>,
}

impl<B> Parts<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    /// Of what a client sends.
    pub fn of_request(body: B, field: u32, limit: usize) -> Self {
        Self { body, splitter: Splitter::new(field, limit), answer: None }
    }

    /// Of what a server answers, with its code and headers.
    ///
    /// # Errors
    /// If the answer is a refusal and nothing else.
    pub fn of_answer(
        (code, headers): (StatusCode, &HeaderMap),
        body: B,
        field: u32,
        limit: usize,
    ) -> Result<Self, Status> {
        match Status::from_header_map(headers) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(Self { body, splitter: Splitter::new(field, limit), answer: Some(code) }),
        }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// If the connection breaks, what comes is malformed, or the other side says that it failed.
    pub async fn next(&mut self) -> Result<Option<Part>, Status> {
        loop {
            if let Some(part) = self.splitter.next_part()? {
                return Ok(Some(part));
            }
            let body = &mut self.body;
            match std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.splitter.push(data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers()
                            && self.answer.is_some()
                        {
                            return self.end(Status::from_header_map(&trailers));
                        }
                    }
                },
                Some(Err(error)) => return Err(Status::from_error(error.into())),
                None => return self.end(None),
            }
        }
    }

    fn end(&self, said: Option<Status>) -> Result<Option<Part>, Status> {
        match (self.answer, said) {
            (_, Some(status)) if status.code() != Code::Ok => Err(status),
            (Some(code), None) => Err(Status::unavailable(format!("an answer without a status (HTTP {code})"))),
            _ if !self.splitter.is_between() => Err(Malformed("it is cut off").into()),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::v1::store_chunk_request::Part as Store;
    use crate::chunk::v1::{Flush, GetChunkResponse, StoreChunkRequest, StoreOpen};

    fn store(part: Store) -> StoreChunkRequest {
        StoreChunkRequest { part: Some(part) }
    }

    /// All parts of `stream` if it comes in pieces of `size`, neighbouring data joined.
    fn split(stream: &[u8], size: usize, field: u32, limit: usize) -> Result<(Vec<Part>, bool), Malformed> {
        let mut splitter = Splitter::new(field, limit);
        let mut parts: Vec<Part> = Vec::new();
        for piece in stream.chunks(size) {
            splitter.push(Bytes::copy_from_slice(piece));
            while let Some(part) = splitter.next_part()? {
                match (parts.last_mut(), part) {
                    (Some(Part::Data(data)), Part::Data(more)) => *data = [&data[..], &more[..]].concat().into(),
                    (_, part) => parts.push(part),
                }
            }
        }
        Ok((parts, splitter.is_between()))
    }

    #[test]
    fn what_a_codec_makes_is_taken_apart_and_what_is_made_here_is_the_same() {
        let data = Bytes::from(vec![7; 300]);
        let open = store(Store::Open(StoreOpen { grant: vec![1; 200].into(), order: Bytes::new() }));
        let (mut here, mut codec) = (BytesMut::new(), BytesMut::new());
        put_message(&mut here, &open);
        put_data_head(&mut here, &[], STORE_DATA, data.len());
        here.extend_from_slice(&data);
        put_message(&mut here, &store(Store::Flush(Flush {})));
        for message in [open.clone(), store(Store::Data(data.clone())), store(Store::Flush(Flush {}))] {
            put_message(&mut codec, &message);
        }
        assert_eq!(here, codec);
        for size in [1, 2, 3, 5, 7, 100, 300, here.len()] {
            let (parts, complete) = split(&here, size, STORE_DATA, 1000).unwrap();
            assert!(complete);
            let [Part::Message(first), Part::Data(middle), Part::Message(last)] = &parts[..] else {
                panic!("{size}: {parts:?}")
            };
            assert_eq!(StoreChunkRequest::decode(first.clone()).unwrap(), open);
            assert_eq!(*middle, data);
            assert_eq!(StoreChunkRequest::decode(last.clone()).unwrap(), store(Store::Flush(Flush {})));
        }
    }

    #[test]
    fn fields_before_the_data_are_a_message_of_their_own() {
        let message = GetChunkResponse { chunk_length: 1 << 40, data: vec![9; 70_000].into() };
        let mut stream = BytesMut::new();
        put_message(&mut stream, &message);
        for size in [1, 11, 70_000, stream.len()] {
            let (parts, complete) = split(&stream, size, GET_DATA, 1 << 20).unwrap();
            assert!(complete);
            let [Part::Message(head), Part::Data(data)] = &parts[..] else { panic!("{size}") };
            let head = GetChunkResponse::decode(head.clone()).unwrap();
            assert_eq!((head.chunk_length, head.data.len()), (1 << 40, 0));
            assert_eq!(*data, message.data);
        }
        let mut here = BytesMut::new();
        let before = GetChunkResponse { chunk_length: 1 << 40, data: Bytes::new() }.encode_to_vec();
        put_data_head(&mut here, &before, GET_DATA, message.data.len());
        here.extend_from_slice(&message.data);
        assert_eq!(here, stream);
    }

    #[test]
    fn data_that_is_not_the_last_field_and_empty_messages_come_whole() {
        // Field 2 before field 1: no encoder of ours does it, any other may.
        let message = [&[0x12, 3][..], b"abc", &[0x08, 5]].concat();
        let empty = [0_u8; GRPC_HEAD];
        let stream = [&[0, 0, 0, 0, 7][..], &message, &empty].concat();
        for size in [1, 4, 100] {
            let (parts, complete) = split(&stream, size, GET_DATA, 100).unwrap();
            assert_eq!(parts, [Part::Message(message.clone().into()), Part::Message(Bytes::new())], "{size}");
            assert!(complete);
        }
        let decoded = GetChunkResponse::decode(&message[..]).unwrap();
        assert_eq!((decoded.chunk_length, &decoded.data[..]), (5, &b"abc"[..]));
    }

    #[test]
    fn what_is_no_message_is_refused_and_what_is_cut_off_is_noticed() {
        assert!(split(&[1, 0, 0, 0, 1, 0], 6, STORE_DATA, 100).is_err(), "compressed");
        assert!(split(&[0, 0, 0, 0, 101], 5, STORE_DATA, 100).is_err(), "too long");
        let mut stream = BytesMut::new();
        put_message(&mut stream, &store(Store::Data(Bytes::from_static(b"data"))));
        for end in 1..stream.len() {
            assert!(!split(&stream[..end], 3, STORE_DATA, 100).unwrap().1, "{end}");
        }
    }

    /// Parsers of foreign bytes never panic, and hand out no more than came.
    #[test]
    fn nonsense_is_survived() {
        for seed in 0..2000_u32 {
            let mut state = seed;
            let stream: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Small lengths are more interesting than large ones.
                (state >> 24).to_le_bytes()[0] & if state & 0x300 == 0 { 0xff } else { 0x1f }
            })
            .take(64)
            .collect();
            let framed = [&[0, 0, 0, 0, 40][..], &stream].concat();
            if let Ok((parts, _)) = split(&framed, 1 + seed as usize % 9, GET_DATA, 64) {
                let came: usize = parts
                    .iter()
                    .map(|part| match part {
                        Part::Message(bytes) | Part::Data(bytes) => bytes.len(),
                    })
                    .sum();
                assert!(came <= framed.len());
            }
        }
    }
}
