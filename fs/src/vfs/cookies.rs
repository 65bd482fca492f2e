//! Cookies of the names of a directory: where a listing goes on behind each.
//!
//! The kernel keeps one listing of a directory for everybody, and drops it when it likes: whoever has read a part goes on behind the same cookie in another
//! one. Therefore a name keeps its cookie from listing to listing, whatever comes and goes around it. Then nothing that stays is skipped or told twice.

/// The cookies of the names of a listing, sorted by both.
#[derive(Debug, Default)]
pub(crate) struct Places(Vec<(Box<[u8]>, u64)>);

/// The last cookie before those of names: that of `..`.
pub(crate) const DOTS: u64 = 2;
/// Between two names that are listed for the first time. Others come in between, each time they are listed half as far apart at worst.
const STEP: u64 = 1 << 40;
/// The kernel takes a cookie for a signed number.
const LAST: u64 = 1 << 62;

impl Places {
    pub(crate) fn new(places: impl Iterator<Item = (Box<[u8]>, u64)>) -> Self {
        Self(places.collect())
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Cookies for names, which are sorted. Those that have one here keep it, unless there is no room for the others.
    pub(crate) fn cookies(&self, names: &[&[u8]]) -> Vec<u64> {
        let mut kept = self.0.iter().peekable();
        let known: Vec<Option<u64>> = names
            .iter()
            .map(|name| {
                while kept.next_if(|(other, _)| **other < **name).is_some() {}
                kept.next_if(|(same, _)| **same == **name).map(|(_, cookie)| *cookie)
            })
            .collect();
        spread(&known).or_else(|| spread(&vec![None; names.len()])).unwrap_or_default()
    }
}

/// Gives a cookie to those that have none. `None` if there is no room.
fn spread(known: &[Option<u64>]) -> Option<Vec<u64>> {
    let mut cookies = Vec::with_capacity(known.len());
    let mut last = DOTS;
    for run in known.chunk_by(|before, _| before.is_none()) {
        // New ones, and the one behind them that has a cookie, if there is one.
        let next = run.last().copied().flatten();
        let new = run.len() - usize::from(next.is_some());
        let parts = new as u64 + 1;
        let step = next.map_or_else(|| STEP.min((LAST - last) / parts), |next| (next - last) / parts);
        if step == 0 {
            return None;
        }
        for _ in 0..new {
            last += step;
            cookies.push(last);
        }
        if let Some(next) = next {
            last = next;
            cookies.push(next);
        }
    }
    Some(cookies)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn next(last: &Places, names: &[&[u8]]) -> Places {
        let cookies = last.cookies(names);
        assert_eq!(cookies.len(), names.len());
        assert!(cookies.is_sorted_by(|a, b| a < b) && cookies.iter().all(|cookie| (DOTS + 1..=LAST).contains(cookie)));
        Places::new(names.iter().map(|name| Box::from(*name)).zip(cookies))
    }

    #[test]
    fn a_name_keeps_its_cookie_whatever_comes_and_goes_around_it() {
        let mut last = next(&Places::default(), &[b"b", b"d", b"f"]);
        let first: BTreeMap<Box<[u8]>, u64> = last.0.iter().cloned().collect();
        let listings: [&[&[u8]]; 5] = [
            &[b"a", b"b", b"d", b"f", b"g"],
            &[b"d", b"e", b"ee", b"f"],
            &[b"a", b"c", b"d", b"f"],
            &[b"d", b"f", b"x", b"y", b"z"],
            &[b"d", b"f"],
        ];
        for names in listings {
            last = next(&last, names);
            for (name, cookie) in &last.0 {
                if matches!(&**name, b"d" | b"f") {
                    assert_eq!(first[name], *cookie, "{names:?}");
                }
            }
        }
        assert_eq!(next(&last, &[]).len(), 0);
    }

    #[test]
    fn where_there_is_no_room_all_get_another_place() {
        let mut last = next(&Places::default(), &[b"a", b"z"]);
        let (mut names, mut listings) = (vec![b"a".to_vec(), b"z".to_vec()], 0);
        let before = last.0[1].1;
        while last.0.last().is_some_and(|(_, cookie)| *cookie == before) {
            names.insert(names.len() - 1, format!("name-{listings:03}").into_bytes());
            last = next(&last, &names.iter().map(Vec::as_slice).collect::<Vec<_>>());
            listings += 1;
        }
        assert!((30..50).contains(&listings), "{listings}");
    }
}
