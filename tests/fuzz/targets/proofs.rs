//! Proofs of chunk ranges: only the bytes under the root are ever returned.
#![no_main]

use cyx_core::{chunk, proof};
use libfuzzer_sys::fuzz_target;

const LEN: usize = 100_000;

fuzz_target!(|data: &[u8]| {
    let chunk_bytes: Vec<u8> = (0..LEN).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    let root = chunk::root(&chunk_bytes);
    let (start, len) = match data {
        [a, b, ..] => (usize::from(*a) * 300, usize::from(*b) * 90 + 1),
        _ => return,
    };
    let range = start as u64..(start + len).min(LEN) as u64;
    if let Ok(found) = proof::verify(&root, LEN as u64, range.clone(), &data[2..]) {
        let expected = &chunk_bytes[start..(start + len).min(LEN)];
        assert_eq!(found, expected);
    }
    // An honest proof with foreign bytes written over its middle.
    let Ok(honest) = proof::prove(std::io::Cursor::new(&chunk_bytes), LEN as u64, range.clone()) else { return };
    let mut changed = honest.bytes.clone();
    let at = changed.len() / 2;
    for (to, from) in changed[at..].iter_mut().zip(&data[2..]) {
        *to = *from;
    }
    if changed != honest.bytes {
        assert!(proof::verify(&root, LEN as u64, range, &changed).is_err());
    }
});
