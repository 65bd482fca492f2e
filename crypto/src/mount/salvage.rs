//! Reads a file of a journal as far as it can be read, also behind what is damaged in it.
//!
//! A power cut leaves a *torn end*: the beginning of a record, or zeros. What lies there was promised to nobody. Everything else that does
//! not open is *damage*: something that was durable is lost, and what lies behind it was promised all the same. So damage is stepped over
//! to the next record that opens, and told.

use std::ops::Range;

use cyx_core::wire::DecodeError;

use super::format::{
    FILE_HEADER_LEN, RECORD_HEADER_LEN, RECORD_OVERHEAD, Record, open, read_file_header, read_record_header,
};
use super::{RecordCipher, TAG_LEN};

/// Magic and version of a record.
const RECORD_START: &[u8; 5] = b"cyxQ\x01";
/// Where the id of a file lies.
const FILE_ID: Range<usize> = 5..21;
/// Bytes that are opened in vain before looking for further records ends, for each byte of the file: foreign bytes may look like
/// the beginnings of long records everywhere.
const VAIN: usize = 8;

/// A record and where it lies.
pub struct Found {
    /// Its place in the order of all records.
    pub sequence: u64,
    /// What it holds.
    pub record: Record,
    /// Where it begins in the file.
    pub at: usize,
    /// Its sealed bytes.
    pub len: usize,
}

/// What can be read of a file.
pub struct Salvaged {
    /// Id of the file.
    pub file: [u8; 16],
    /// Sequence of the first record, as the header says, or, if that is damaged, of the first one that can be read.
    pub first: u64,
    /// The records in order.
    pub records: Vec<Found>,
    /// What is damaged.
    pub damaged: Vec<Range<usize>>,
    /// Bytes of a torn end.
    pub torn: usize,
}

/// Reads a file.
///
/// # Errors
/// [`DecodeError`] if neither its header nor any record is whole.
pub fn salvage(bytes: &[u8], cipher: impl FnOnce(&[u8; 16]) -> RecordCipher) -> Result<Salvaged, DecodeError> {
    let header = bytes.get(..FILE_HEADER_LEN).ok_or(DecodeError::Truncated)?;
    let named = read_file_header(header);
    let file = match &named {
        Ok((file, _)) => *file,
        // The id may be whole all the same; whether it is shows in the records.
        Err(_) => header.get(FILE_ID).and_then(|id| id.try_into().ok()).ok_or(DecodeError::Truncated)?,
    };
    let cipher = cipher(&file);
    let mut salvaged = Salvaged { file, first: 0, records: Vec::new(), damaged: Vec::new(), torn: 0 };
    let mut at = FILE_HEADER_LEN;
    let mut vain = bytes.len().saturating_mul(VAIN).saturating_add(super::format::RECORD_MAX);
    while at < bytes.len() {
        let Some((from, sequence, end, record)) = salvaged.next(bytes, at, &cipher, &mut vain) else {
            let rest = bytes.get(at..).unwrap_or_default();
            if is_torn(rest) {
                salvaged.torn = rest.len();
            } else {
                salvaged.damaged.push(at..bytes.len());
            }
            break;
        };
        let expected = salvaged.records.last().map(|last| last.sequence + 1);
        if from > at || expected.is_some_and(|expected| expected != sequence) {
            salvaged.damaged.push(at..from);
        }
        match record {
            Some(record) => salvaged.records.push(Found { sequence, record, at: from, len: end - from }),
            // It is whole, but nothing that this program knows.
            None => salvaged.damaged.push(from..end),
        }
        at = end;
    }
    let begins = salvaged.records.first().map(|first| first.sequence);
    match (named, begins) {
        (Ok((_, first)), None) => salvaged.first = first,
        (Ok((_, first)), Some(begins)) => {
            let begins_damaged = salvaged.damaged.first().is_some_and(|damaged| damaged.start == FILE_HEADER_LEN);
            salvaged.first = if begins_damaged { first.min(begins) } else { begins };
            if first != begins && !begins_damaged {
                salvaged.damaged.insert(0, 0..FILE_HEADER_LEN);
            }
        }
        (Err(_), Some(begins)) => {
            salvaged.first = begins;
            salvaged.damaged.insert(0, 0..FILE_HEADER_LEN);
        }
        (Err(error), None) => return Err(error),
    }
    Ok(salvaged)
}

impl Salvaged {
    /// The next whole record at or behind `at`: where it begins, its sequence, where it ends, and what it holds if that is known.
    fn next(
        &self,
        bytes: &[u8],
        at: usize,
        cipher: &RecordCipher,
        vain: &mut usize,
    ) -> Option<(usize, u64, usize, Option<Record>)> {
        let least = self.records.last().map_or(0, |last| last.sequence + 1);
        let mut from = at;
        loop {
            let begins = bytes.get(from..)?.windows(RECORD_START.len()).position(|bytes| bytes == RECORD_START)?;
            from += begins;
            if let Some((len, sequence)) = header_at(bytes, from).filter(|(_, sequence)| *sequence >= least)
                && let Some(sealed) = bytes.get(from..from + RECORD_OVERHEAD + len)
            {
                match open(cipher, sequence, sealed.to_vec()) {
                    Ok(plain) => return Some((from, sequence, from + sealed.len(), Record::decode(&plain).ok())),
                    Err(_) => *vain = vain.checked_sub(sealed.len())?,
                }
            }
            from += 1;
        }
    }
}

fn header_at(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    read_record_header(bytes.get(at..at + RECORD_HEADER_LEN)?).ok()
}

/// Whether bytes behind the last record may be what a power cut leaves of one that was being written: a beginning of it, in which
/// the disk may not have what came last.
fn is_torn(rest: &[u8]) -> bool {
    let written = rest.len() - rest.iter().rev().take_while(|byte| **byte == 0).count();
    let begins = rest.get(..written.min(RECORD_START.len())).is_some_and(|start| RECORD_START.starts_with(start));
    if !begins {
        return false;
    }
    match header_at(rest, 0) {
        // Zeros in the place of the header's end.
        None => written < RECORD_HEADER_LEN,
        Some((len, _)) => match rest.get(RECORD_HEADER_LEN + len..RECORD_OVERHEAD + len) {
            None => true,
            Some(tag) => tag == [0; TAG_LEN],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{file_header, seal};
    use super::*;
    use crate::keys::AccountKey;
    use bytes::Bytes;

    const ID: [u8; 16] = [0x66; 16];

    fn cipher(id: &[u8; 16]) -> RecordCipher {
        RecordCipher::new(&AccountKey::from_bytes([0x61; 32]).derive_mount_key(), id)
    }

    fn record(number: u8) -> Record {
        Record::Note { tag: number, data: Bytes::from(vec![number; 40]) }
    }

    /// A file of some records and where each ends.
    fn sample(count: u8) -> (Vec<u8>, Vec<usize>) {
        let cipher = cipher(&ID);
        let mut bytes = file_header(&ID, 100);
        let mut ends = vec![bytes.len()];
        for number in 0..count {
            bytes.extend(seal(&cipher, 100 + u64::from(number), &record(number)).unwrap());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn numbers(salvaged: &Salvaged) -> Vec<u8> {
        salvaged
            .records
            .iter()
            .map(|found| {
                let Record::Note { tag, .. } = found.record else { panic!("a note") };
                assert_eq!(found.sequence, 100 + u64::from(tag));
                tag
            })
            .collect()
    }

    #[test]
    fn a_flipped_bit_costs_the_record_that_it_is_in_and_is_told() {
        let (bytes, ends) = sample(4);
        for bit in 0..bytes.len() * 8 {
            let at = bit / 8;
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|end| at < *end).unwrap();
            if FILE_ID.contains(&at) {
                // Without the right key nothing opens.
                let salvaged = salvage(&changed, cipher).unwrap();
                assert!(salvaged.records.is_empty() && !salvaged.damaged.is_empty(), "bit {bit}");
                continue;
            }
            let salvaged = salvage(&changed, cipher).unwrap();
            let left: Vec<u8> = (0..4).filter(|number| hit == 0 || usize::from(*number) != hit - 1).collect();
            assert_eq!(numbers(&salvaged), left, "bit {bit}");
            // The last record with a greater length looks like one of which the end is missing.
            let grown = hit == 4 && (5..9).contains(&(at - ends[3])) && changed[at] > bytes[at];
            let told = !salvaged.damaged.is_empty();
            assert!(told || (grown && salvaged.torn > 0), "bit {bit}");
        }
    }

    #[test]
    fn a_cut_at_any_byte_is_a_torn_end_and_no_damage() {
        let (bytes, ends) = sample(3);
        for cut in FILE_HEADER_LEN..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            // The file may be as long as it was to become, with zeros where nothing arrived: whole sectors of them, so never a part
            // of a tag alone.
            let mut zeroed = bytes[..cut].to_vec();
            zeroed.resize(bytes.len(), 0);
            let in_tag = ends.iter().any(|end| (1..TAG_LEN).contains(&end.saturating_sub(cut)));
            for bytes in [&bytes[..cut], if in_tag { &bytes[..cut] } else { &zeroed }] {
                let salvaged = salvage(bytes, cipher).unwrap();
                assert_eq!(salvaged.records.len(), whole, "cut at {cut}");
                assert_eq!(salvaged.torn, bytes.len() - ends[whole], "cut at {cut}");
                assert!(salvaged.damaged.is_empty(), "cut at {cut}");
            }
        }
        for cut in 0..FILE_HEADER_LEN {
            assert!(salvage(&bytes[..cut], cipher).is_err());
        }
    }

    #[test]
    fn a_record_that_was_cut_out_is_missed() {
        let (bytes, ends) = sample(4);
        let cut = [&bytes[..ends[1]], &bytes[ends[2]..]].concat();
        let salvaged = salvage(&cut, cipher).unwrap();
        assert_eq!(numbers(&salvaged), [0, 2, 3]);
        assert!(salvaged.damaged.len() == 1 && salvaged.damaged[0] == (ends[1]..ends[1]));
        // Nor do records come again.
        let twice = [&bytes[..ends[2]], &bytes[ends[1]..]].concat();
        let salvaged = salvage(&twice, cipher).unwrap();
        assert_eq!(numbers(&salvaged), [0, 1, 2, 3]);
        assert!(!salvaged.damaged.is_empty());
    }

    #[test]
    fn bytes_that_look_like_records_everywhere_do_not_take_for_ever() {
        let mut bytes = file_header(&ID, 1);
        let mut header = RECORD_START.to_vec();
        header.extend((1_000_000_u32).to_le_bytes());
        header.extend(7_u64.to_le_bytes());
        while bytes.len() < 1 << 21 {
            bytes.extend(&header);
        }
        let salvaged = salvage(&bytes, cipher).unwrap();
        assert!(salvaged.records.is_empty() && !salvaged.damaged.is_empty());
    }
}
