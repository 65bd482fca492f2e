//! Every layout of this crate, frozen, and malformed forms of each that must be refused.

use cyx_core::chunk;
use cyx_core::commit::Commit;
use cyx_core::deletion::DeletionOrder;
use cyx_core::exit::ExitReceipt;
use cyx_core::extent::{BlobHeader, Child, Page, PageId};
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketId, BucketTag, ChunkId, GrantId, InodeId, KeyId, NodeId, SegmentId};
use cyx_core::keeplist::{Incarnation, KeepList};
use cyx_core::order::{Order, Terms};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_core::sign;
use cyx_core::writers::{WriterAction, WriterList};
use ed25519_dalek::SigningKey;

use crate::extents::extent;
use crate::support::{assert_frozen, assert_malformed, vector, vectors};

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn public() -> [u8; 32] {
    key().verifying_key().to_bytes()
}

pub(crate) const NODE: NodeId = NodeId([2; 16]);
pub(crate) const BUCKET: BucketId = BucketId([8; 16]);
pub(crate) const NOW: u64 = 1500;

pub(crate) fn grant() -> Grant {
    Grant {
        key: sign::key_id(&public()),
        id: GrantId([1; 16]),
        node: NODE,
        session_key: [3; 32],
        operations: Operations::STORE.and(Operations::READ),
        allowance: 1 << 30,
        not_before: 1000,
        expires: 2000,
        tags: vec![BucketTag([4; 16]), BucketTag([5; 16])],
    }
}

pub(crate) fn receipt() -> Receipt {
    let chunk = |byte| ReceivedChunk { id: ChunkId([byte; 16]), length: 524_800, root: [byte + 1; 32] };
    Receipt {
        node: NodeId::from_public_key(&public()),
        grant: GrantId([1; 16]),
        issued: NOW,
        chunks: vec![chunk(6), chunk(8)],
    }
}

pub(crate) const KEPT: [ChunkId; 2] = [ChunkId([1; 16]), ChunkId([2; 16])];

pub(crate) fn keep_list() -> KeepList {
    KeepList {
        key: sign::key_id(&public()),
        node: NODE,
        incarnation: Incarnation { time: 1_700_000_000, random: 77 },
        sequence: 12,
        before: 1_699_900_000,
        first: ChunkId([0; 16]),
        last: ChunkId([0x7f; 16]),
    }
}

pub(crate) fn deletion() -> DeletionOrder {
    DeletionOrder { key: sign::key_id(&public()), node: NODE, issued: NOW, chunks: KEPT.to_vec() }
}

pub(crate) fn exit() -> ExitReceipt {
    let key = sign::key_id(&public());
    ExitReceipt { key, node: NODE, began: 1000, ended: NOW, chunks: 12, bytes: 6_297_600 }
}

pub(crate) fn order() -> Order {
    Order { node: NODE, grant: GrantId([1; 16]), traffic: 5_000_000 }
}

pub(crate) fn terms() -> Terms {
    Terms { node: NODE, grant: GrantId([1; 16]), session_key: public(), allowance: 1 << 30 }
}

pub(crate) fn commit() -> Commit {
    Commit {
        bucket: BUCKET,
        inode: InodeId([7; 16]),
        version: 4,
        base: 3,
        size: 5_000_000_000,
        root: PageId([6; 32]),
        writer: sign::key_id(&public()),
    }
}

pub(crate) fn leaf() -> Page {
    Page::Leaf(vec![extent(0, 4096, 1, 0), extent(4096, 100, 2, 900), extent(1 << 40, 1, 3, 1)])
}

pub(crate) fn branch() -> Page {
    let child = |first_offset, byte| Child { first_offset, id: PageId([byte; 32]) };
    Page::Branch { level: 1, children: vec![child(0, 1), child(1 << 32, 2), child(1 << 33, 3)] }
}

/// Two entries: the owner is added, then removed.
pub(crate) fn writer_entries() -> Vec<Vec<u8>> {
    let mut list = WriterList::empty(BUCKET);
    let heir = SigningKey::from_bytes(&[0x44; 32]).verifying_key().to_bytes();
    [(WriterAction::Add, public(), 0), (WriterAction::Remove, public(), 9), (WriterAction::HandOver, heir, 12)]
        .into_iter()
        .map(|(action, who, sequence)| {
            let entry = list.next(action, who, sequence).sign(&key());
            list.append(&public(), &entry).unwrap();
            entry
        })
        .collect()
}

pub(crate) fn find(id: KeyId) -> Option<[u8; 32]> {
    (id == sign::key_id(&public())).then(public)
}

#[test]
fn signed_words_are_frozen() {
    assert_frozen("grant", &grant().sign(&key()));
    assert_frozen("receipt", &receipt().sign(&key()));
    assert_frozen("keep-list", &keep_list().sign(&KEPT, &key()));
    assert_frozen("deletion-order", &deletion().sign(&key()));
    assert_frozen("exit-receipt", &exit().sign(&key()));
    assert_frozen("order", &order().sign(&key()));
    assert_frozen("commit-body", &commit().body());
    assert_frozen("commit-signature", &commit().sign(&key()));
    assert_frozen("commit-body-2", &commit().body_after(41));
    assert_frozen("commit-signature-2", &commit().sign_after(41, &key()));
    let recovery = cyx_core::auth::recovery_body(
        cyx_core::ids::SessionId([1; 16]),
        &[2; 16],
        cyx_core::auth::StretchParams::DEFAULT,
        &[3; 32],
        b"by password",
        b"by words",
    );
    assert_frozen("recovery-body", &recovery);
    for (index, entry) in writer_entries().iter().enumerate() {
        assert_frozen(&format!("writer-entry-{index}"), entry);
    }
}

#[test]
fn pages_are_frozen() {
    assert_frozen("page-leaf", &leaf().encode());
    assert_frozen("page-branch", &branch().encode());
    assert_frozen("blob-header", &BlobHeader::new(5 << 20).unwrap().to_bytes());
}

#[test]
fn derived_ids_are_frozen() {
    assert_frozen("node-id", NodeId::from_public_key(&public()).as_bytes());
    assert_frozen("key-id", sign::key_id(&public()).as_bytes());
    assert_frozen("chunk-id", chunk::chunk_id(SegmentId([1; 16]), 13).as_bytes());
}

#[test]
fn frozen_layouts_are_read() {
    assert_eq!(Grant::verify(&vector("grant"), find, NODE, NOW), Ok(grant()));
    assert_eq!(Receipt::verify(&vector("receipt"), &public()), Ok(receipt()));
    let kept: Vec<u8> = KEPT.iter().flat_map(|id| id.0).collect();
    assert_eq!(KeepList::verify(&vector("keep-list"), &kept, find, NODE), Ok((keep_list(), KEPT.to_vec())));
    assert_eq!(DeletionOrder::verify(&vector("deletion-order"), find, NODE, NOW), Ok(deletion()));
    assert_eq!(ExitReceipt::verify(&vector("exit-receipt"), find, NODE), Ok(exit()));
    assert_eq!(Order::verify(&vector("order"), &terms()), Ok(order()));
    assert_eq!(commit().verify(&public(), &vector("commit-signature")), Ok(()));
    assert_eq!(commit().verify(&public(), &vector("commit-signature-2")), Ok(()));
    assert_eq!(Page::decode(&vector("page-leaf")), Ok(leaf()));
    assert_eq!(Page::decode(&vector("page-branch")), Ok(branch()));
    let entries = [vector("writer-entry-0"), vector("writer-entry-1"), vector("writer-entry-2")];
    assert_eq!(WriterList::verify(BUCKET, &public(), &entries).unwrap().len(), 3);
}

/// The bytes with one of them changed.
fn with(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] = value;
    changed
}

/// Malformed in the ways that every layout can be.
fn common(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("magic alone", bytes[..4].to_vec()),
        ("other magic", with(bytes, 3, b'?')),
        ("unknown version", with(bytes, 4, 2)),
        ("version zero", with(bytes, 4, 0)),
        ("last byte missing", bytes[..bytes.len() - 1].to_vec()),
        ("one byte too many", [bytes, &[0]].concat()),
    ]
}

#[test]
fn malformed_pages_are_refused() {
    let refuse = |bytes: &[u8]| Page::decode(bytes).is_err();
    let bytes = leaf().encode();
    let mut cases = common(&bytes);
    cases.extend([
        ("level 1 with extents", with(&bytes, 5, 1)),
        ("level 8", with(&bytes, 5, 8)),
        ("no entries", bytes[..6].iter().copied().chain([0, 0]).collect()),
        ("fewer entries than said", with(&bytes, 6, 4)),
        ("more entries than said", with(&bytes, 6, 2)),
        ("65,535 entries", with(&with(&bytes, 6, 0xff), 7, 0xff)),
        ("extent without bytes", Page::Leaf(vec![extent(0, 0, 1, 0)]).encode()),
        ("extents that overlap", Page::Leaf(vec![extent(0, 5, 1, 0), extent(4, 5, 1, 0)]).encode()),
        ("extents out of order", Page::Leaf(vec![extent(9, 1, 1, 0), extent(4, 5, 1, 0)]).encode()),
        ("extent beyond its blob", Page::Leaf(vec![extent(0, 2, 1, (1 << 20) - 1)]).encode()),
        ("extent whose end overflows", Page::Leaf(vec![extent(u64::MAX, 2, 1, 0)]).encode()),
        ("unknown blob format", with(&bytes, 8 + 44, 2)),
        ("odd frame size", with(&bytes, 8 + 45, 1)),
    ]);
    assert_malformed("page-leaf", &cases, refuse);

    let bytes = branch().encode();
    let child = |first_offset, byte| Child { first_offset, id: PageId([byte; 32]) };
    let page = |children| Page::Branch { level: 1, children }.encode();
    let mut cases = common(&bytes);
    cases.extend([
        ("level 0 with children", with(&bytes, 5, 0)),
        ("equal offsets", page(vec![child(4, 1), child(4, 2)])),
        ("falling offsets", page(vec![child(4, 1), child(3, 2)])),
        ("the empty root as a child", page(vec![child(4, 0)])),
    ]);
    assert_malformed("page-branch", &cases, refuse);
}

#[test]
fn malformed_signed_words_are_refused() {
    // Most are refused for their signature too; here it counts that they are not even read.
    let bytes = grant().sign(&key());
    let mut cases = common(&bytes);
    cases.extend([
        ("unknown operation", with(&bytes, 5 + 16 * 3 + 32, 4)),
        ("more tags than said", with(&bytes, bytes.len() - 64 - 34, 1)),
        ("65,535 tags", with(&with(&bytes, bytes.len() - 64 - 34, 0xff), bytes.len() - 64 - 33, 0xff)),
    ]);
    assert_malformed("grant", &cases, |bytes| Grant::read_unchecked(bytes).is_err());

    let bytes = receipt().sign(&key());
    let mut cases = common(&bytes);
    cases.push(("fewer chunks than said", with(&bytes, 5 + 16 * 2 + 8, 3)));
    assert_malformed("receipt", &cases, |bytes| Receipt::read_unchecked(bytes).is_err());

    let bytes = &writer_entries()[0];
    let mut cases = common(bytes);
    cases.push(("unknown action", with(bytes, 5 + 16 + 4 + 32, 4)));
    assert_malformed("writer-entry", &cases, |bytes| cyx_core::writers::WriterEntry::read_unchecked(bytes).is_err());

    let cases = common(&keep_list().sign(&KEPT, &key()));
    let kept: Vec<u8> = KEPT.iter().flat_map(|id| id.0).collect();
    assert_malformed("keep-list", &cases, |bytes| KeepList::verify(bytes, &kept, find, NODE).is_err());

    let cases = common(&order().sign(&key()));
    assert_malformed("order", &cases, |bytes| Order::read_unchecked(bytes).is_err());

    let cases = common(&exit().sign(&key()));
    assert_malformed("exit-receipt", &cases, |bytes| ExitReceipt::verify(bytes, find, NODE).is_err());

    let cases = common(&deletion().sign(&key()));
    assert_malformed("deletion-order", &cases, |bytes| DeletionOrder::verify(bytes, find, NODE, NOW).is_err());
}

#[test]
fn every_vector_is_documented() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats");
    let text: String =
        std::fs::read_dir(docs).unwrap().map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap()).collect();
    for file in std::fs::read_dir(vectors()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("`core/tests/vectors/{name}`")), "docs/formats does not mention {name}");
    }
}
