//! What several test modules need, those of cyx-crypto among them.

use std::fs;
use std::path::{Path, PathBuf};

/// A small deterministic generator (SplitMix64): tests that use it fail the same way every time.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Bytes as lines of 32, so that a change shows where it is.
fn to_text(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex::encode(line) + "\n").collect()
}

fn from_text(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// Reads a frozen layout.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = vectors().join(format!("{name}.hex"));
    from_text(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Compares with a frozen layout.
pub(crate) fn assert_frozen(name: &str, bytes: &[u8]) {
    if std::env::var_os("CYX_BLESS").is_some() {
        fs::create_dir_all(vectors()).unwrap();
        fs::write(vectors().join(format!("{name}.hex")), to_text(bytes)).unwrap();
    }
    assert_eq!(to_text(&vector(name)), to_text(bytes), "{name} is not what it was");
}

/// Compares with the frozen malformed forms of a layout, lines of `what: hex`, and checks that each is refused.
pub(crate) fn assert_malformed(name: &str, cases: &[(&str, Vec<u8>)], refused: impl Fn(&[u8]) -> bool) {
    let path = vectors().join(format!("{name}.malformed"));
    let text: String = cases.iter().map(|(what, bytes)| format!("{what}: {}\n", hex::encode(bytes))).collect();
    if std::env::var_os("CYX_BLESS").is_some() {
        fs::create_dir_all(vectors()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let frozen = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(frozen, text, "{name} is not malformed as it was");
    for line in frozen.lines() {
        let (what, bytes) = line.split_once(':').unwrap();
        assert!(refused(&from_text(bytes)), "{name}, {what}: was accepted");
    }
}

/// Changes some bytes as a fuzzer would: flips, small and extreme values, cuts, repeats and insertions.
pub(crate) fn mutate(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        if changed.is_empty() {
            changed.push(0);
        }
        let at = numbers.below(changed.len());
        match numbers.below(8) {
            0 => changed[at] ^= 1 << numbers.below(8),
            1 => changed[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
            2 => changed[at] = numbers.next().to_le_bytes()[0],
            3 => changed.truncate(at),
            4 => {
                let end = at + 1 + numbers.below(changed.len() - at);
                let part = changed[at..end].to_vec();
                changed.extend(part);
            }
            5 => {
                let more = numbers.below(40);
                let more = numbers.bytes(more);
                changed.splice(at..at, more);
            }
            6 => {
                let end = at + 1 + numbers.below(changed.len() - at);
                changed.drain(at..end);
            }
            _ => {
                // A whole number where a count or an offset may be.
                let number = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, numbers.next()][numbers.below(6)];
                for (place, byte) in changed[at..].iter_mut().zip(number.to_le_bytes()) {
                    *place = byte;
                }
            }
        }
    }
    changed
}
