//! The erasure code against a slow reference, its frozen bytes, and what may be lost.

use cyx_core::erasure::{Coder, CodingError, check_cpu};
use cyx_core::scheme::Scheme;
use proptest::prelude::*;

use crate::support::{Numbers, assert_frozen};

fn schemes() -> Vec<Scheme> {
    let mut all = Scheme::LADDER.to_vec();
    all.extend([Scheme::DURABLE, Scheme::new(1, 3).unwrap(), Scheme::new(17, 15).unwrap()]);
    all
}

fn data(scheme: Scheme, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(seed);
    (0..scheme.k()).map(|_| numbers.bytes(len)).collect()
}

/// All n shards.
fn encode(coder: &Coder, data: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let len = data[0].len();
    let mut parity = vec![vec![0xaa; len]; coder.scheme().m()];
    coder.encode(&data, &mut parity).unwrap();
    data.into_iter().chain(parity).collect()
}

/// GF(2^8) with the polynomial 0x11d, as slow and plain as can be.
mod reference {
    pub(super) fn mul(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1d };
            b >>= 1;
        }
        product
    }

    fn pow(base: u8, exponent: usize) -> u8 {
        (0..exponent).fold(1, |power, _| mul(power, base))
    }

    fn inverse(a: u8) -> u8 {
        (1..=255).find(|b| mul(a, *b) == 1).unwrap()
    }

    fn vandermonde(rows: usize, columns: usize) -> Vec<Vec<u8>> {
        (0..rows).map(|row| (0..columns).map(|column| pow(u8::try_from(row).unwrap(), column)).collect()).collect()
    }

    fn invert(mut matrix: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let size = matrix.len();
        for (at, row) in matrix.iter_mut().enumerate() {
            row.extend((0..size).map(|column| u8::from(column == at)));
        }
        for at in 0..size {
            let pivot = (at..size).find(|row| matrix[*row][at] != 0).unwrap();
            matrix.swap(at, pivot);
            let scale = inverse(matrix[at][at]);
            matrix[at] = matrix[at].iter().map(|value| mul(*value, scale)).collect();
            let pivot_row = matrix[at].clone();
            for (other, row) in matrix.iter_mut().enumerate() {
                let factor = row[at];
                if other != at && factor != 0 {
                    for (value, pivot) in row.iter_mut().zip(&pivot_row) {
                        *value ^= mul(*pivot, factor);
                    }
                }
            }
        }
        matrix.into_iter().map(|row| row[size..].to_vec()).collect()
    }

    /// Rows k to n of Vandermonde(n, k) times the inverse of its top.
    pub(super) fn parity_rows(k: usize, m: usize) -> Vec<Vec<u8>> {
        let top = invert(vandermonde(k, k));
        let product = |row: &Vec<u8>| {
            (0..k).map(|column| (0..k).fold(0, |sum, i| sum ^ mul(row[i], top[i][column]))).collect::<Vec<u8>>()
        };
        vandermonde(k + m, k)[k..].iter().map(product).collect()
    }
}

#[test]
fn parity_is_what_the_documented_matrix_says() {
    for scheme in schemes() {
        let shards = encode(&Coder::new(scheme), data(scheme, 9, 4));
        for (row, parity) in reference::parity_rows(scheme.k(), scheme.m()).iter().zip(&shards[scheme.k()..]) {
            for (column, byte) in parity.iter().enumerate() {
                let sum = (0..scheme.k()).fold(0, |sum, i| sum ^ reference::mul(row[i], shards[i][column]));
                assert_eq!(sum, *byte, "{scheme}");
            }
        }
    }
}

#[test]
fn the_bytes_are_frozen() {
    for scheme in [Scheme::DEFAULT, Scheme::DURABLE, Scheme::LADDER[1], Scheme::LADDER[2], Scheme::LADDER[3]] {
        let shards = encode(&Coder::new(scheme), data(scheme, 32, 1));
        assert_frozen(&format!("erasure-{}-{}", scheme.k(), scheme.m()), &shards.concat());
    }
}

#[test]
fn every_choice_of_k_shards_restores_every_other() {
    let scheme = Scheme::LADDER[2];
    let coder = Coder::new(scheme);
    let shards = encode(&coder, data(scheme, 33, 2));
    let choices = (0_u32..1 << scheme.n()).filter(|choice| choice.count_ones() as usize == scheme.k());
    for choice in choices {
        let has = |index: usize| choice >> index & 1 == 1;
        let present: Vec<(usize, &[u8])> =
            (0..scheme.n()).filter(|i| has(*i)).map(|i| (i, shards[i].as_slice())).collect();
        let mut lost = vec![vec![0x55; 33]; scheme.n()];
        let mut wanted: Vec<(usize, &mut [u8])> =
            lost.iter_mut().enumerate().filter(|(i, _)| !has(*i)).map(|(i, shard)| (i, shard.as_mut_slice())).collect();
        coder.reconstruct(&present, &mut wanted).unwrap();
        for index in (0..scheme.n()).filter(|index| !has(*index)) {
            assert_eq!(lost[index], shards[index], "shard {index} of choice {choice:b}");
        }
    }
}

#[test]
fn plain_copies_and_single_shards_work_too() {
    let copies = Scheme::LADDER[4];
    let shards = encode(&Coder::new(copies), vec![b"the same bytes".to_vec()]);
    assert_eq!(shards[0], shards[1]);
    let single = Coder::new(Scheme::SINGLE);
    assert_eq!(encode(&single, vec![b"one".to_vec()]), [b"one"]);
    assert_eq!(single.reconstruct(&[(0, b"one")], &mut []), Ok(()));
    let mut restored = [0; 3];
    assert_eq!(single.reconstruct(&[], &mut [(0, &mut restored)]), Err(CodingError::TooFew { present: 0, needed: 1 }));
}

#[test]
fn coding_in_place_is_coding() {
    for scheme in schemes() {
        for len in [1, 40_000] {
            let coder = Coder::new(scheme);
            let shards = encode(&coder, data(scheme, len, 3));
            let mut whole = shards[..scheme.k()].concat();
            whole.resize(len * scheme.n(), 0x77);
            coder.encode_in_place(&mut whole).unwrap();
            assert!(whole == shards.concat(), "{scheme}, {len}");
        }
    }
    assert_eq!(Coder::new(Scheme::DEFAULT).encode_in_place(&mut [0; 15]), Err(CodingError::WrongLength));
    assert_eq!(Coder::new(Scheme::DEFAULT).encode_in_place(&mut []), Ok(()));
}

#[test]
fn wrong_input_is_refused() {
    let coder = Coder::new(Scheme::LADDER[3]);
    let (a, b, mut c) = ([1_u8; 4], [2_u8; 4], [0_u8; 4]);
    assert_eq!(coder.encode(&[&a[..]], &mut [&mut c[..]]), Err(CodingError::WrongCount { expected: 2, given: 1 }));
    assert_eq!(coder.encode(&[&a[..], &b[..3]], &mut [&mut c[..]]), Err(CodingError::WrongLength));
    assert_eq!(coder.reconstruct(&[(0, &a)], &mut [(2, &mut c)]), Err(CodingError::TooFew { present: 1, needed: 2 }));
    assert_eq!(coder.reconstruct(&[(0, &a), (0, &b)], &mut [(2, &mut c)]), Err(CodingError::WrongIndex(0)));
    assert_eq!(coder.reconstruct(&[(0, &a), (3, &b)], &mut [(2, &mut c)]), Err(CodingError::WrongIndex(3)));
    assert_eq!(coder.reconstruct(&[(0, &a), (1, &b)], &mut [(1, &mut c)]), Err(CodingError::WrongIndex(1)));
    assert_eq!(coder.reconstruct(&[(0, &a), (1, &b)], &mut [(2, &mut c[..3])]), Err(CodingError::WrongLength));
    assert_eq!(c, [0; 4], "nothing was written");
}

#[test]
fn this_machine_can_run_this_build() {
    assert_eq!(check_cpu(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any k of n restore any column range, whatever the scheme and the length.
    #[test]
    fn any_k_shards_restore_any_columns(
        (k, m) in (1_u32..=20, 0_u32..=12),
        len in 1_usize..40_000,
        seed: u64,
    ) {
        let scheme = Scheme::new(k, m).unwrap();
        let coder = Coder::new(scheme);
        let shards = encode(&coder, data(scheme, len, seed));
        let mut numbers = Numbers(seed ^ 1);
        let mut order: Vec<usize> = (0..scheme.n()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, numbers.below(at + 1));
        }
        let start = numbers.below(len);
        let columns = start..start + 1 + numbers.below(len - start);
        let (kept, lost) = order.split_at(scheme.k());
        let present: Vec<(usize, &[u8])> = kept.iter().map(|i| (*i, &shards[*i][columns.clone()])).collect();
        let mut restored = vec![vec![0; columns.len()]; lost.len()];
        let mut wanted: Vec<(usize, &mut [u8])> =
            lost.iter().zip(&mut restored).map(|(i, bytes)| (*i, bytes.as_mut_slice())).collect();
        coder.reconstruct(&present, &mut wanted).unwrap();
        for (index, bytes) in lost.iter().zip(&restored) {
            prop_assert!(bytes == &shards[*index][columns.clone()], "shard {}", index);
        }
    }
}
