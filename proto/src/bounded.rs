//! The codec of all services, which looks at a message before it makes room for it.
//!
//! An empty item of a list is two bytes on the wire and some hundred in memory, so a message within its limit of bytes could take hundreds
//! of times as much when it is decoded, and what a method allows of a list is looked at only after that. So the bytes are walked first,
//! without allocating: what the items of all lists will take is added up, at any depth, and too much is refused.
//!
//! Which fields are lists, the build reads off the .proto files. Opaque bytes are never looked into, so the walk costs next to nothing
//! where messages are large because of them.

use std::marker::PhantomData;

use cyx_core::error::ErrorCode;
use prost::bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::status::status;

/// Most bytes that the lists of one message may take: more than twice what the largest of a server's own limits let through. Text is copied
/// besides, but is as long on the wire, and other bytes stay where they arrived.
const LISTS_MAX: usize = 64 << 20;

/// Counts what the lists of a message will take, before there are any; its refusal is the answer.
pub type Count = Box<dyn Fn(usize) -> Result<(), Status> + Send + Sync>;

tokio::task_local! {
    /// Who counts, for messages that are decoded in a task where somebody wants to know.
    pub static COUNT: Count;
}

/// A list, or a message that may have lists in it.
#[derive(Debug)]
pub struct Field {
    number: u32,
    /// What an item of the list takes; 0: it is no list.
    item: usize,
    /// What to look for in the message, or in each item.
    inside: &'static [Self],
}

/// A message whose lists can be counted before it is decoded.
pub trait Bounded: Message + Default {
    /// Its lists, and its messages that may have some. That they are constants keeps them from being recursive, and so the walk.
    const FIELDS: &'static [Field];
}

include!(concat!(env!("OUT_DIR"), "/bounded.rs"));

/// The codec.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + 'static, U: Bounded + 'static> Codec for BoundedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstDecoder::default())
    }
}

/// Decodes what is worth it.
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Bounded> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // A message lies in one piece. If it did not, its first one would be malformed.
        let taken = lists::<U>(buf.chunk(), LISTS_MAX)?;
        COUNT.try_with(|count| count(taken)).unwrap_or(Ok(()))?;
        self.0.decode(buf)
    }
}

#[derive(Debug, PartialEq)]
enum Refused {
    Malformed,
    TooMuch,
}

impl From<DecodeError> for Refused {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            // As the codec itself does.
            Refused::Malformed => Self::internal("a malformed message"),
            Refused::TooMuch => status(
                ErrorCode::TooLarge,
                "the message's lists are too long: they would take more memory than any call needs",
            ),
        }
    }
}

/// What a message's lists will take, if that is no more than `most` bytes.
fn lists<M: Bounded>(message: &[u8], most: usize) -> Result<usize, Refused> {
    let mut room = most;
    walk(message, M::FIELDS, &mut room)?;
    Ok(most - room)
}

fn walk(mut rest: &[u8], fields: &[Field], room: &mut usize) -> Result<(), Refused> {
    let mut before = 0;
    while !rest.is_empty() {
        let (number, kind) = decode_key(&mut rest)?;
        let len = match kind {
            WireType::Varint => {
                decode_varint(&mut rest)?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => decode_varint(&mut rest)?,
            // No message here has any, and nobody makes new ones.
            WireType::StartGroup | WireType::EndGroup => return Err(Refused::Malformed),
        };
        let len = usize::try_from(len).map_err(|_| Refused::Malformed)?;
        let (content, behind) = rest.split_at_checked(len).ok_or(Refused::Malformed)?;
        rest = behind;
        if kind == WireType::LengthDelimited
            && let Some(field) = fields.iter().find(|field| field.number == number)
        {
            // A list begins with room for four, and gets twice as much whenever it is full.
            let items = if before == number { 2 } else { 4 };
            *room = room.checked_sub(items * field.item).ok_or(Refused::TooMuch)?;
            if !field.inside.is_empty() {
                walk(content, field.inside, room)?;
            }
        }
        before = number;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::bytes::Bytes;
    use prost::encoding::encode_varint;

    use super::*;
    use crate::meta::v1::operation::Operation as Op;
    use crate::meta::v1::{
        ApplyRequest, Blob, Commit, GetInodesRequest, LookupRequest, Mutation, NameQuestion, NameToken, Operation,
        Page, SegmentUpload,
    };

    fn size<T>(list: &Vec<T>) -> usize {
        list.capacity() * size_of::<T>()
    }

    fn apply(operation: Op) -> ApplyRequest {
        let operations = vec![Operation { operation: Some(operation) }];
        let mutations = vec![Mutation { operations, ..Mutation::default() }];
        ApplyRequest { mutations, ..ApplyRequest::default() }
    }

    #[test]
    fn no_less_is_counted_than_a_list_takes_at_any_length_and_depth() {
        for (names, tokens) in [(0, 0), (1, 0), (1, 1), (2, 5), (4, 4), (5, 9), (33, 1), (1000, 17), (3, 4097)] {
            let question = NameQuestion { tokens: vec![NameToken::default(); tokens] };
            let request = LookupRequest { names: vec![question; names], ..LookupRequest::default() };
            let encoded = request.encode_to_vec();
            let decoded = LookupRequest::decode(&encoded[..]).unwrap();
            let taken = size(&decoded.names) + decoded.names.iter().map(|name| size(&name.tokens)).sum::<usize>();
            let counted = lists::<LookupRequest>(&encoded, usize::MAX).unwrap();
            assert!((taken..=4 * taken).contains(&counted), "{names}, {tokens}: {taken}, {counted}");
        }
    }

    #[test]
    fn empty_items_are_refused_where_a_short_message_would_become_a_large_one() {
        let encoded = [0x12, 0].repeat(500_000);
        assert_eq!(lists::<ApplyRequest>(&encoded, LISTS_MAX), Err(Refused::TooMuch));
        // In the middle of everything, and where they are bytes.
        let commit = Commit { receipts: vec![Bytes::new(); 1_100_000], ..Commit::default() };
        assert_eq!(lists::<ApplyRequest>(&apply(Op::Commit(commit)).encode_to_vec(), LISTS_MAX), Err(Refused::TooMuch));
        // One item in each of many lists: every list makes room for more.
        let one = NameQuestion { tokens: vec![NameToken::default()] };
        let ones = LookupRequest { names: vec![one; 500_000], ..LookupRequest::default() }.encode_to_vec();
        assert_eq!(lists::<LookupRequest>(&ones, LISTS_MAX), Err(Refused::TooMuch));
    }

    #[test]
    fn the_largest_messages_that_the_server_takes_pass_with_room() {
        let id = Bytes::from_static(&[7; 16]);
        let largest = apply(Op::Commit(Commit {
            pages: vec![Page { id: id.clone(), content: id.clone() }; 16_384],
            blobs: vec![Blob { id: id.clone(), ..Blob::default() }; 65_536],
            segments: vec![SegmentUpload::default(); 4096],
            receipts: vec![id.clone(); 16_384],
            ..Commit::default()
        }));
        let most = lists::<ApplyRequest>(&largest.encode_to_vec(), usize::MAX).unwrap();
        assert!(2 * most < LISTS_MAX, "{most}");
        let operations = vec![Operation { operation: Some(Op::Commit(Commit::default())) }; 8];
        let mutation = Mutation { operations, ..Mutation::default() };
        let batch = ApplyRequest { mutations: vec![mutation; 1024], ..ApplyRequest::default() };
        let most = lists::<ApplyRequest>(&batch.encode_to_vec(), usize::MAX).unwrap();
        assert!(2 * most < LISTS_MAX, "{most}");
        let tokens = vec![NameToken { epoch: 1, name: id }; 16];
        let names = LookupRequest { names: vec![NameQuestion { tokens }; 1000], ..LookupRequest::default() };
        assert!(2 * lists::<LookupRequest>(&names.encode_to_vec(), usize::MAX).unwrap() < LISTS_MAX);
    }

    #[test]
    fn opaque_bytes_are_not_looked_into_and_unknown_fields_take_nothing() {
        let id = Bytes::from(
            GetInodesRequest { ids: vec![Bytes::new(); 1000], ..GetInodesRequest::default() }.encode_to_vec(),
        );
        let encoded = GetInodesRequest { bucket: id.clone(), ids: vec![id] }.encode_to_vec();
        assert_eq!(lists::<GetInodesRequest>(&encoded, usize::MAX), Ok(4 * size_of::<Bytes>()));
        // Field 500, in all four ways to write one, with what elsewhere would be a list.
        let mut unknown = Vec::new();
        for (kind, content) in [(0, &[0x96, 1][..]), (1, &[0x12; 8]), (2, &[4, 0x12, 0, 0x12, 0]), (5, &[0x12; 4])] {
            encode_varint((500 << 3) | kind, &mut unknown);
            unknown.extend_from_slice(content);
        }
        assert_eq!(lists::<ApplyRequest>(&unknown, usize::MAX), Ok(0));
        ApplyRequest::decode(&unknown[..]).unwrap();
    }

    #[test]
    fn lists_that_take_turns_are_counted_as_if_each_item_began_one() {
        let [page, blob] = [0x2a, 0x32];
        let commit = [page, 0, blob, 0].repeat(10);
        let counted = lists::<Commit>(&commit, usize::MAX).unwrap();
        assert_eq!(counted, 40 * (size_of::<Page>() + size_of::<Blob>()));
    }

    #[test]
    fn what_is_no_message_is_refused_before_anything_is_made_of_it() {
        let malformed: [&[u8]; 9] = [
            &[0x80],
            &[0x12],
            &[0x12, 5, 0],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            // A length and a number of eleven bytes, field 0, a group that begins and one that ends, half of a fixed number.
            &[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            &[0x02, 0],
            &[0x13, 0x14],
            &[0x14],
            &[0x21, 1, 2, 3, 4],
        ];
        for bytes in malformed {
            // In a mutation as well.
            let inside = [&[0x12, u8::try_from(bytes.len()).unwrap()], bytes].concat();
            for bytes in [bytes, &inside] {
                assert_eq!(lists::<ApplyRequest>(bytes, usize::MAX), Err(Refused::Malformed), "{bytes:?}");
                ApplyRequest::decode(bytes).unwrap_err();
            }
        }
    }

    /// Lists inside lists are as deep as the .proto files have them, whatever the bytes say.
    #[test]
    fn bytes_that_go_deeper_than_the_messages_are_walked_no_deeper() {
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![0x12];
            encode_varint(deep.len() as u64, &mut outer);
            outer.append(&mut deep);
            deep = outer;
        }
        let mutation_and_operation = 4 * size_of::<Mutation>() + 4 * size_of::<Operation>();
        assert!(lists::<ApplyRequest>(&deep, usize::MAX).unwrap() <= 2 * mutation_and_operation);
    }

    /// Whatever the codec accepts, the walk accepts too, but for groups, which no bytes of this test begin.
    #[test]
    fn nonsense_is_survived_and_what_can_be_decoded_is_let_through() {
        let mut decoded = 0;
        for seed in 0..20_000_u32 {
            let mut state = seed;
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [0x12, 0x0a, 0x20, 0, 1, 2, 3, 6][(state >> 29) as usize]
            })
            .take(12)
            .collect();
            if ApplyRequest::decode(&bytes[..]).is_ok() {
                decoded += 1;
                lists::<ApplyRequest>(&bytes, usize::MAX).unwrap();
            }
        }
        assert!(decoded > 100, "{decoded}");
    }
}
