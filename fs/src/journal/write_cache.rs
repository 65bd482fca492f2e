//! What was written last, in memory beside the file it went to: a long file is sent while it is written, and what is sent soon need not be
//! read and opened again.

use std::collections::VecDeque;

use bytes::Bytes;

/// Shorter writes are read from the file.
const LEAST: usize = 64 << 10;

/// The bytes of the last long writes.
pub(super) struct WriteCache {
    most: usize,
    held: usize,
    /// Sequences, ascending, and bytes.
    writes: VecDeque<(u64, Bytes)>,
}

impl WriteCache {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, held: 0, writes: VecDeque::new() }
    }

    /// Keeps the bytes of a write, and forgets the oldest ones for it.
    pub(super) fn put(&mut self, sequence: u64, data: &Bytes) {
        if data.len() < LEAST {
            return;
        }
        self.held += data.len();
        self.writes.push_back((sequence, data.clone()));
        while self.held > self.most
            && let Some((_, oldest)) = self.writes.pop_front()
        {
            self.held -= oldest.len();
        }
    }

    /// The bytes of a write. Whoever is their last reader takes them away.
    pub(super) fn get(&mut self, sequence: u64, last: bool) -> Option<Bytes> {
        let at = self.writes.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        if !last {
            return self.writes.get(at).map(|(_, data)| data.clone());
        }
        let (_, data) = self.writes.remove(at)?;
        self.held -= data.len();
        Some(data)
    }

    /// Nothing of it is needed any more.
    pub(super) fn clear(&mut self) {
        (self.held, self.writes) = (0, VecDeque::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(byte: u8) -> Bytes {
        Bytes::from(vec![byte; LEAST])
    }

    #[test]
    fn the_last_writes_are_there_until_they_are_taken() {
        let mut recent = WriteCache::new(3 * LEAST);
        recent.put(1, &Bytes::from_static(b"short"));
        for number in 2..6 {
            recent.put(number, &data(u8::try_from(number).unwrap()));
        }
        assert_eq!(recent.held, 3 * LEAST);
        assert!(recent.get(1, false).is_none() && recent.get(2, false).is_none(), "short, and too old");
        assert_eq!(recent.get(3, false).unwrap(), data(3));
        assert_eq!(recent.get(4, true).unwrap(), data(4));
        assert!(recent.get(4, false).is_none() && recent.get(4, true).is_none(), "taken");
        assert_eq!(recent.get(3, true).unwrap(), data(3));
        assert_eq!((recent.held, recent.writes.len()), (LEAST, 1), "behind one that nobody takes away");
        recent.put(9, &data(9));
        assert_eq!(recent.get(9, true).unwrap(), data(9));
        assert_eq!(recent.get(5, true).unwrap(), data(5));
        assert_eq!((recent.held, recent.writes.len()), (0, 0));
        recent.put(10, &data(1));
        recent.clear();
        assert!(recent.held == 0 && recent.get(10, true).is_none());
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut recent = WriteCache::new(0);
        recent.put(1, &data(1));
        assert!(recent.held == 0 && recent.get(1, true).is_none());
    }
}
