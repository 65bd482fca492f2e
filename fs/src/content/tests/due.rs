//! When what could not be committed is tried again.

use tokio::time::{Instant, sleep};

use super::*;

const FILES: u8 = 20;
/// For how long is looked how often they are tried.
const SECONDS: u16 = 600;

/// Files that could not be committed for long, and were all tried at one moment, so that no pause ends soon.
async fn waiting(remote: &Arc<MemoryRemote>, behaviour: Behaviour) -> Mount {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { idle: Duration::ZERO, ..quiet(folder.path()) };
    let (mut mount, _) = open(remote, &options).await;
    mount._folder = Some(folder);
    remote.behave(behaviour);
    for number in 1..=FILES {
        mount.store.content_of(file(number), facts(number)).write(0, Bytes::from_static(b"a")).await.unwrap();
    }
    for _ in 0..10 {
        mount.store.commit_all(None).await.unwrap_err();
    }
    mount
}

/// How long it takes until nothing is left to be committed.
async fn done(mount: &Mount) -> Duration {
    let began = Instant::now();
    while mount.store.status().dirty_files > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_server_is_tried_as_soon_as_that_is_connected_and_not_each_time() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = waiting(&remote, Behaviour::Refuses).await;
    sleep(Duration::from_secs(6)).await;
    remote.behave(Behaviour::Works);
    mount.store.connected();
    assert!(done(&mount).await < Duration::from_secs(1));

    let remote = Arc::new(MemoryRemote::default());
    let mount = waiting(&remote, Behaviour::Refuses).await;
    let before = remote.tried();
    for _ in 0..SECONDS {
        mount.store.connected();
        sleep(Duration::from_secs(1)).await;
    }
    let most = usize::from(FILES) * usize::from(SECONDS) / 5;
    assert!(remote.tried() - before <= most, "a connection that comes and goes is no reason to try all the time");
}

#[tokio::test(start_paused = true)]
async fn of_all_that_wait_for_nodes_one_finds_out_that_they_are_back() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = waiting(&remote, Behaviour::Refuses).await;
    remote.behave(Behaviour::Works);
    assert!(done(&mount).await < Duration::from_secs(12));

    let remote = Arc::new(MemoryRemote::default());
    let _mount = waiting(&remote, Behaviour::Refuses).await;
    let before = remote.tried();
    sleep(Duration::from_secs(SECONDS.into())).await;
    let each_minute = usize::from(FILES) + 6;
    let most = each_minute * usize::from(SECONDS) / 60;
    assert!(remote.tried() - before <= most, "the others wait meanwhile");
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_reason_of_its_own_has_its_pause() {
    let remote = Arc::new(MemoryRemote::default());
    let mount = waiting(&remote, Behaviour::IsFull).await;
    sleep(Duration::from_secs(6)).await;
    let before = remote.tried();
    mount.store.connected();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(remote.tried(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_filled_is_not_committed_before_it_is_whole() {
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { idle: Duration::ZERO, grown: 100, ..quiet(folder.path()) };
    let (mount, _) = open(&remote, &options).await;
    let content = mount.store.content_of(file(1), facts(1));
    content.set_filling(true);
    content.write(0, Bytes::from_static(b"a part, ")).await.unwrap();
    // As when the file has come to exist on the server.
    content.allow();
    content.upload_soon();
    sleep(Duration::from_secs(30)).await;
    mount.store.commit_all(None).await.unwrap();
    assert_eq!(remote.newest_number(file(1)), 0);
    content.write(8, Bytes::from_static(b"the rest")).await.unwrap();
    content.set_filling(false);
    assert!(done(&mount).await < Duration::from_secs(1));
    assert_eq!((remote.content(file(1)), remote.newest_number(file(1))), (b"a part, the rest".to_vec(), 1));
    // Nor is a long one, or if somebody asks for it.
    content.set_filling(true);
    content.write(16, Bytes::from(vec![1; 100])).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(matches!(content.commit().await, Err(ContentError::Filling)));
    content.sync_local().await.unwrap();
    assert_eq!(remote.newest_number(file(1)), 1);
    content.set_filling(false);
    assert!(done(&mount).await < Duration::from_secs(1));
    assert_eq!(remote.content(file(1)).len(), 116);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_to_all_the_time_is_sent_within_five_seconds() {
    const EVERY: Duration = Duration::from_millis(100);
    let remote = Arc::new(MemoryRemote::default());
    let folder = tempfile::tempdir().unwrap();
    let StoreOptions { idle, age, .. } = StoreOptions::new(folder.path().to_owned());
    assert!(idle > EVERY && age == Duration::from_secs(5));
    let (mount, _) = open(&remote, &StoreOptions { idle, age, ..quiet(folder.path()) }).await;
    let content = mount.store.content_of(file(1), facts(1));
    let began = Instant::now();
    while remote.newest_number(file(1)) == 0 {
        content.write(0, Bytes::from_static(b"a")).await.unwrap();
        sleep(EVERY).await;
        assert!(began.elapsed() <= age + 2 * EVERY, "it is not sent while it is written to");
    }
    assert!(began.elapsed() + EVERY >= age, "nor each time");
}
