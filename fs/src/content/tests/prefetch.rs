//! What is brought to this machine ahead of readers.

use super::*;

const STEP: usize = 64 << 10;
const SIZE: usize = 4 << 20;

fn pattern(seed: usize) -> Vec<u8> {
    long_pattern(seed, SIZE)
}

fn long_pattern(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at + at / 251 + seed) % 256).unwrap()).collect()
}

async fn commit(content: &Arc<Content>, bytes: &[u8]) {
    for (at, part) in bytes.chunks(1 << 20).enumerate() {
        content.write((at as u64) << 20, Bytes::copy_from_slice(part)).await.unwrap();
    }
    content.commit().await.unwrap();
}

async fn read_in_order(content: &Arc<Content>, steps: std::ops::Range<usize>, expected: &[u8]) {
    for at in steps.map(|step| step * STEP) {
        let read = content.read(at as u64, STEP).await.unwrap();
        assert!(read == expected[at..at + STEP], "at {at}");
    }
}

#[tokio::test]
async fn who_reads_in_order_gets_what_was_brought_and_the_version_is_hardly_read_again() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes = pattern(0);
    commit(&content, &bytes).await;
    read_in_order(&content, 0..SIZE / STEP, &bytes).await;
    // The first two are what shows that somebody reads in order; some may lie across two that were brought.
    assert!(remote.reads() < 10, "{} of {}", remote.reads(), SIZE / STEP);
    // Nothing that was read stays.
    let before = remote.reads();
    read_in_order(&content, 4..6, &bytes).await;
    assert_eq!(remote.reads(), before + 2);
}

#[tokio::test]
async fn what_was_brought_of_a_version_is_not_read_of_the_next() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let (mut bytes, other) = (pattern(0), pattern(7));
    commit(&content, &bytes).await;
    read_in_order(&content, 0..8, &bytes).await;
    let reads = remote.reads();
    // What is changed is read from the journal, what lies around it from what was brought.
    let at = 9 * STEP;
    content.write(at as u64, Bytes::copy_from_slice(&other[at..at + STEP])).await.unwrap();
    bytes[at..at + STEP].copy_from_slice(&other[at..at + STEP]);
    read_in_order(&content, 8..11, &bytes).await;
    assert_eq!(remote.reads(), reads, "something was brought and waits");
    content.write(11 * STEP as u64, Bytes::copy_from_slice(&other[11 * STEP..13 * STEP])).await.unwrap();
    bytes[11 * STEP..13 * STEP].copy_from_slice(&other[11 * STEP..13 * STEP]);
    content.commit().await.unwrap();
    read_in_order(&content, 11..SIZE / STEP, &bytes).await;
}

#[tokio::test]
async fn without_room_in_memory_it_is_read_all_the_same() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { prefetched: 0, ..quiet(folder.path()) };
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes = pattern(0);
    commit(&content, &bytes).await;
    read_in_order(&content, 0..SIZE / STEP, &bytes).await;
    assert_eq!(remote.reads(), SIZE / STEP);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_comes_for_does_not_stay_in_memory() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes = pattern(0);
    commit(&content, &bytes).await;
    read_in_order(&content, 0..8, &bytes).await;
    let reads = remote.reads();
    read_in_order(&content, 8..9, &bytes).await;
    assert_eq!(remote.reads(), reads, "something was brought and waits");
    tokio::time::sleep(Duration::from_secs(4)).await;
    read_in_order(&content, 9..10, &bytes).await;
    assert_eq!(remote.reads(), reads + 1);
}

#[tokio::test(start_paused = true)]
async fn over_a_slow_link_nobody_waits_for_a_long_piece() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = fresh(&remote).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes = pattern(0);
    commit(&content, &bytes).await;
    remote.bring_slowly(64 << 10);
    for step in 0..SIZE / STEP {
        let began = tokio::time::Instant::now();
        read_in_order(&content, step..step + 1, &bytes).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?} at {step}", began.elapsed());
    }
    assert!(remote.reads() < 10, "it is read ahead all the same");
}

#[tokio::test(start_paused = true)]
async fn behind_what_is_cached_nobody_waits_for_a_long_piece_either() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let quiet = quiet(folder.path());
    let journal = Limits { total: 64 << 20, file: 4 << 20, ..quiet.journal };
    let (mount, _) = open(&remote, &StoreOptions { journal, ..quiet }).await;
    let content = mount.store.content_of(file(1), facts(1));
    let bytes = long_pattern(0, 8 * SIZE);
    commit(&content, &bytes).await;
    remote.bring_slowly(256 << 10);
    remote.have_cached(5 * SIZE as u64);
    for step in 0..bytes.len() / STEP {
        let began = tokio::time::Instant::now();
        read_in_order(&content, step..step + 1, &bytes).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?} at {step}", began.elapsed());
    }
}
