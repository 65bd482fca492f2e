//! What foreign bytes can do: nothing but be read or be refused.
//!
//! Each parser gets frozen layouts with thousands of mutations. It must not panic, what it reads must be bounded by what it
//! was given, and what it accepts must be the one canonical encoding of what it read.

use std::io::Cursor;

use cyx_core::deletion::DeletionOrder;
use cyx_core::exit::ExitReceipt;
use cyx_core::extent::{BlobHeader, OFFSET_MAX, Page, PageId, PageMap, check_new, tree};
use cyx_core::grant::Grant;
use cyx_core::keeplist::KeepList;
use cyx_core::name::EncryptedName;
use cyx_core::order::Order;
use cyx_core::proof;
use cyx_core::receipt::Receipt;
use cyx_core::sign::SIGNATURE_LEN;
use cyx_core::writers::{WriterEntry, WriterList};

use crate::golden::{self, KEPT, NODE, NOW, find, key, public};
use crate::support::{Numbers, mutate};

const ROUNDS: usize = 4000;

/// Calls `check` with mutations of `bytes` that differ from them.
fn each_mutation(seed: u64, bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut numbers = Numbers(seed);
    for _ in 0..ROUNDS {
        let changed = mutate(bytes, &mut numbers);
        if changed != bytes {
            check(&changed);
        }
    }
}

/// What is signed, without the signature.
fn body(signed: &[u8]) -> &[u8] {
    &signed[..signed.len() - SIGNATURE_LEN]
}

#[test]
fn pages() {
    let (leaf, branch) = (golden::leaf().encode(), golden::branch().encode());
    for bytes in [leaf, branch] {
        let mut accepted = 0;
        each_mutation(1, &bytes, |changed| {
            let Ok(page) = Page::decode(changed) else { return };
            accepted += 1;
            assert_eq!(page.encode(), changed, "not canonical");
            // A server and a client do this with every page they accept; neither may panic.
            let id = PageId::of(changed);
            let pages = PageMap::from([(id, page)]);
            let _ = check_new(&pages, id, OFFSET_MAX);
            let _ = tree::extents_in(&pages, id, 0..OFFSET_MAX);
            let _ = tree::replace(&pages, id, 5..6, &[]);
        });
        assert!(accepted > 100, "the mutations are too coarse to test anything: {accepted}");
    }
}

#[test]
fn headers() {
    each_mutation(2, &BlobHeader::new(40_000).unwrap().to_bytes(), |changed| {
        if let Ok(header) = BlobHeader::from_bytes(changed) {
            assert_eq!(header.to_bytes(), changed);
            assert!(header.frames() >= 1 && header.sealed_len() > header.plain_len());
            let _ = header.sealed_range(header.frames_of(0..u64::MAX));
            let _ = header.plain_range(0..u64::MAX);
        }
    });
}

#[test]
fn grants() {
    each_mutation(3, &golden::grant().sign(&key()), |changed| {
        assert!(Grant::verify(changed, find, NODE, NOW).is_err());
        if let Ok(grant) = Grant::read_unchecked(changed) {
            assert!(grant.tags.len() * 16 < changed.len());
            assert_eq!(body(&grant.sign(&key())), body(changed));
        }
    });
}

#[test]
fn receipts() {
    each_mutation(4, &golden::receipt().sign(&key()), |changed| {
        assert!(Receipt::verify(changed, &public()).is_err());
        if let Ok(receipt) = Receipt::read_unchecked(changed) {
            assert_eq!(body(&receipt.sign(&key())), body(changed));
        }
    });
}

#[test]
fn keep_lists() {
    let bytes = golden::keep_list().sign(&KEPT, &key());
    let kept: Vec<u8> = KEPT.iter().flat_map(|id| id.0).collect();
    each_mutation(5, &bytes, |changed| assert!(KeepList::verify(changed, &kept, find, NODE).is_err()));
    each_mutation(6, &kept, |changed| assert!(KeepList::verify(&bytes, changed, find, NODE).is_err()));
}

#[test]
fn deletion_orders() {
    each_mutation(7, &golden::deletion().sign(&key()), |changed| {
        assert!(DeletionOrder::verify(changed, find, NODE, NOW).is_err());
    });
}

#[test]
fn exit_receipts() {
    each_mutation(21, &golden::exit().sign(&key()), |changed| {
        assert!(ExitReceipt::verify(changed, find, NODE).is_err());
    });
}

#[test]
fn orders() {
    each_mutation(14, &golden::order().sign(&key()), |changed| {
        assert!(Order::verify(changed, &golden::terms()).is_err());
        if let Ok(order) = Order::read_unchecked(changed) {
            assert_eq!(order.body(), body(changed));
        }
    });
}

#[test]
fn writer_entries() {
    let entries = golden::writer_entries();
    each_mutation(8, &entries[1], |changed| {
        if let Ok(entry) = WriterEntry::read_unchecked(changed) {
            assert_eq!(body(&entry.sign(&key())), body(changed));
        }
        let mut list = WriterList::verify(golden::BUCKET, &public(), &entries[..1]).unwrap();
        let before = list.clone();
        assert!(list.append(&public(), changed).is_err());
        assert_eq!(list, before);
    });
}

#[test]
fn proofs() {
    let bytes = Numbers(9).bytes(40_000);
    let whole = proof::prove(Cursor::new(&bytes), 40_000, 100..200).unwrap();
    // Short enough that mutations hit the hashes often.
    let (head, group) = whole.bytes.split_at(5 + 128);
    each_mutation(10, head, |changed| {
        let changed = [changed, group].concat();
        if let Ok(found) = proof::verify(&whole.root, 40_000, 100..200, &changed) {
            assert_eq!(found, &bytes[100..200], "a changed proof proved other bytes");
        }
    });
}

#[test]
fn encrypted_names() {
    each_mutation(11, &[7; 48], |changed| {
        let name = EncryptedName::try_from(changed);
        assert_eq!(name.is_ok(), (32..=272).contains(&changed.len()) && changed.len() % 16 == 0);
    });
}
