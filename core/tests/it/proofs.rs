//! Proofs of chunk ranges: what they accept and what they refuse.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use cyx_core::chunk;
use cyx_core::proof::{GROUP, ProofError, prove, verify};
use proptest::prelude::*;

use crate::support::{Numbers, assert_frozen};

#[test]
fn a_proof_is_frozen() {
    let bytes = Numbers(6).bytes(40_000);
    let proof = prove(Cursor::new(&bytes), 40_000, 39_000..39_001).unwrap();
    assert_eq!(proof.root, chunk::root(&bytes));
    // The hash pairs and the last group, which is 7,232 bytes long: its hash stands for it.
    let (hashes, group) = proof.bytes.split_at(5 + 64);
    assert_eq!(group, &bytes[32_768..]);
    assert_frozen("proof-hashes", hashes);
}

#[test]
fn every_flipped_or_missing_byte_is_noticed() {
    let bytes = Numbers(7).bytes(50_000);
    let root = chunk::root(&bytes);
    let range = 20_000..20_100;
    let proof = prove(Cursor::new(&bytes), 50_000, range.clone()).unwrap().bytes;
    for at in (0..proof.len()).filter(|at| *at < 200 || at % 97 == 0) {
        let mut changed = proof.clone();
        changed[at] ^= 4;
        assert!(verify(&root, 50_000, range.clone(), &changed).is_err(), "byte {at}");
        assert!(verify(&root, 50_000, range.clone(), &proof[..at]).is_err(), "cut at {at}");
    }
    let mut longer = proof.clone();
    longer.push(0);
    assert!(verify(&root, 50_000, range.clone(), &longer).is_err());
    assert!(verify(&root, 70_000, range.clone(), &proof).is_err(), "another length");
    assert!(verify(&root, 50_000, 40_000..40_100, &proof).is_err(), "another range");
    assert!(verify(&[0; 32], 50_000, range, &proof).is_err(), "another root");
}

#[test]
fn only_the_last_group_proves_the_length() {
    let bytes = Numbers(8).bytes(50_000);
    let proof = prove(Cursor::new(&bytes), 50_000, 0..1).unwrap();
    assert!(verify(&proof.root, 50_001, 0..1, &proof.bytes).is_ok());
    let proof = prove(Cursor::new(&bytes), 50_000, 49_999..50_000).unwrap();
    assert!(verify(&proof.root, 50_001, 49_999..50_000, &proof.bytes).is_err());
}

#[test]
fn ranges_outside_the_chunk_are_refused() {
    let bytes = [1; 100];
    for range in [0..0, 50..50, 100..101, 0..101, 0..u64::MAX] {
        assert!(matches!(prove(Cursor::new(&bytes), 100, range.clone()), Err(ProofError::OutOfRange)), "{range:?}");
        assert!(matches!(verify(&[0; 32], 100, range, &[]), Err(ProofError::OutOfRange)));
    }
    assert!(matches!(verify(&[0; 32], u64::MAX, 0..1, &[]), Err(ProofError::OutOfRange)));
}

#[test]
fn a_chunk_shorter_than_said_cannot_be_proved() {
    assert!(matches!(prove(Cursor::new([1; 99]), 100, 0..1), Err(ProofError::Read(_))));
}

/// Gives other bytes the second time: a disk that is failing.
struct Unsteady(Cursor<Vec<u8>>);

impl Read for Unsteady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Unsteady {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.0.position() > 0 {
            self.0.get_mut()[0] ^= 1;
        }
        self.0.seek(to)
    }
}

#[test]
fn bytes_that_change_while_they_are_proved_are_noticed() {
    let result = prove(Unsteady(Cursor::new(vec![5; 40_000])), 40_000, 0..1);
    assert!(matches!(result, Err(ProofError::Wrong)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_proof_gives_back_just_the_range(
        len in prop_oneof![1_usize..200, 16_380_usize..16_390, 1_usize..300_000],
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let bytes = numbers.bytes(len);
        let start = numbers.below(len);
        let end = start + 1 + numbers.below(len - start);
        let (total, range) = (len as u64, start as u64..end as u64);
        let proof = prove(Cursor::new(&bytes), total, range.clone()).unwrap();
        prop_assert_eq!(proof.root, chunk::root(&bytes));
        prop_assert!(verify(&proof.root, total, range.clone(), &proof.bytes).unwrap() == bytes[start..end]);
        let groups = range.end.div_ceil(GROUP) - range.start / GROUP;
        // Never more than the touched groups and a path of hash pairs to each end.
        prop_assert!(proof.bytes.len() as u64 <= 5 + groups * (GROUP + 64) + 2 * 20 * 64);
    }
}
