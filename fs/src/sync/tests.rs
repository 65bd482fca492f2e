//! What is believed around a stream of changes that breaks, against the fake gateway of the client's tests.

use cyx_core::ids::BucketId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::gateway::world::{World, path};
use crate::vfs::node::{UNWATCHED, lock};
use crate::vfs::{Options, Top};
use crate::{Filesystem, Ino, ROOT_INO};

/// Waits until something holds, which certainly comes.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// What is sent here comes over the next stream, which stands until this is dropped.
fn next_stream(world: &World) -> UnboundedSender<pb::Event> {
    let (events, more) = unbounded_channel();
    world.gateway.state().more_events = Some(more);
    events
}

/// Everything that was changed was sent.
fn beat(bucket: BucketId) -> pb::Event {
    let positions = vec![pb::Position { bucket: bytes_of(bucket), sequence: 1 }];
    pb::Event { event: Some(pb::event::Event::Beat(pb::Beat { server_time: 1, positions })) }
}

/// Mode of a directory, of which was learnt longer ago than is believed without a stream, and whether the server was asked.
async fn mode_of(fs: &Filesystem, world: &World, ino: Ino) -> (u32, bool) {
    lock(&fs.inner.table.by_number(ino).unwrap().facts).seen.at -= 2 * UNWATCHED;
    let before = world.calls("get_inodes");
    let attr = fs.getattr(ino, None).await.unwrap();
    (attr.mode, world.calls("get_inodes") > before)
}

#[tokio::test]
async fn when_the_stream_stands_again_nothing_is_believed_before_what_was_missed_was_heard() {
    let world = World::new().await;
    world.bucket.make_directory(&path("sub"), 0o755).await.unwrap();
    let (folder, events) = (tempfile::tempdir().unwrap(), next_stream(&world));
    let options = Options { top: Top::Bucket("photos".to_owned()), ..Options::new(folder.path().to_owned()) };
    let fs = Filesystem::open(world.again().await, options).await.unwrap();
    let health = &fs.inner.health;
    until(|| health.signs() > 0).await;
    assert!(!health.get(), "it is connected, and nothing came");
    events.send(beat(world.bucket.id)).unwrap();
    until(|| health.get()).await;
    let sub = fs.lookup(ROOT_INO, b"sub").await.unwrap().ino;
    assert_eq!(mode_of(&fs, &world, sub).await, (0o755, false));

    let (signs, again) = (health.signs(), next_stream(&world));
    drop(events);
    until(|| !health.get()).await;
    assert_eq!(fs.ttl(), UNWATCHED, "nor does the kernel believe it for longer");
    // By another machine, and this one is not told yet.
    world.gateway.state().inodes.values_mut().for_each(|inode| {
        inode.attributes.iter_mut().for_each(|attributes| attributes.mode = 0o700);
    });
    until(|| health.signs() > signs).await;
    assert!(!health.get(), "it is connected again, and what was missed was not heard");
    assert_eq!(mode_of(&fs, &world, sub).await, (0o700, true));
    again.send(beat(world.bucket.id)).unwrap();
    until(|| health.get()).await;
    assert_eq!(mode_of(&fs, &world, sub).await, (0o700, false));
}
