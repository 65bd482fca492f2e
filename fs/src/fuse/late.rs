//! What becomes of a request that is done behind its deadline, when the kernel takes it for one that failed.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cyx_client::tree::change::{NewKind, attributes_now, mutation};
use tokio::sync::oneshot;

use super::task::{Changed, Counted, Counters, Created, Kept, LONG, Listed, Opened, OpenedDir, Outcome, run};
use crate::gateway::world::{World, path};
use crate::vfs::{Options, Top};
use crate::{Attr, Errno, Filesystem, Handle, Ino, Invalidator, ROOT_INO};

/// Remembers what the kernel was told to forget.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Invalidator for Told {
    fn overtake(&self) {}

    fn inode(&self, ino: Ino, range: Range<u64>) {
        self.note(format!("{ino}: {range:?}"));
    }

    fn inode_then(&self, ino: Ino, then: Box<dyn FnOnce() + Send>) {
        self.inode(ino, 0..u64::MAX);
        then();
    }

    fn entry(&self, parent: Ino, name: &[u8]) {
        self.note(format!("{parent}/{}", String::from_utf8_lossy(name)));
    }

    fn delete(&self, parent: Ino, ino: Ino, name: &[u8]) {
        self.note(format!("{parent}/{} is not {ino}", String::from_utf8_lossy(name)));
    }
}

/// A filesystem with a directory `sub` and a file `file`.
struct Mounted {
    fs: Filesystem,
    told: Arc<Told>,
    _world: World,
    _folder: tempfile::TempDir,
}

impl Mounted {
    async fn new() -> Self {
        let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
        world.bucket.make_directory(&path("sub"), 0o755).await.unwrap();
        let root = world.bucket.root_directory();
        let file = world.bucket.prepare(&root, b"file", NewKind::File, attributes_now(0o644)).unwrap();
        world.bucket.apply(vec![mutation(vec![file.operation])]).await.unwrap().remove(0).unwrap();
        let options = Options { top: Top::Bucket("photos".to_owned()), ..Options::new(folder.path().to_owned()) };
        let fs = Filesystem::open(world.again().await, options).await.unwrap();
        let told = Arc::new(Told::default());
        fs.set_invalidator(Arc::<Told>::clone(&told));
        Self { fs, told, _world: world, _folder: folder }
    }

    /// An inode of which the kernel is yet to be told.
    async fn look_up(&self, name: &[u8]) -> Attr {
        self.fs.lookup(ROOT_INO, name).await.unwrap()
    }

    /// Inodes that the kernel knows as far as is known here, and what is open.
    fn counted(&self) -> (u64, u64) {
        let state = self.fs.state();
        (state.inodes, state.handles)
    }

    async fn opened(&self) -> Handle {
        let attr = self.look_up(b"file").await;
        let handle = self.fs.open_file(attr.ino, crate::vfs::OpenFlags { read: true, ..Default::default() }).await;
        self.fs.forget(attr.ino, 1);
        handle.unwrap()
    }

    /// A request with this outcome, which is there when the request was given up.
    async fn late<T: Outcome>(&self, outcome: T) {
        let (given_up, until_then) = oneshot::channel();
        let operation = async {
            let _ = until_then.await;
            Ok(outcome)
        };
        let answer = |result: Result<T, Errno>| {
            assert!(matches!(result, Err(Errno::ETIMEDOUT)));
            given_up.send(()).unwrap();
        };
        run(&self.fs, &Counters::default(), 0, Duration::ZERO, operation, answer).await;
    }
}

#[tokio::test]
async fn the_kernel_forgets_what_a_late_request_changed_and_only_then() {
    let mounted = Mounted::new().await;
    let names = || Kept::Names(vec![(ROOT_INO, b"old".to_vec()), (7, b"new".to_vec())]);
    let in_time = async { Ok(Changed((), names())) };
    let answer = |result: Result<Changed<()>, Errno>| assert!(result.is_ok());
    run(&mounted.fs, &Counters::default(), 0, LONG, in_time, answer).await;
    assert!(mounted.told.take().is_empty(), "it knows");
    mounted.late(Changed((), names())).await;
    assert_eq!(mounted.told.take(), [format!("{ROOT_INO}/old"), "7/new".to_owned()]);
    mounted.late(Changed(3_u64, Kept::Content(9))).await;
    assert_eq!(mounted.told.take(), [format!("9: {:?}", 0..u64::MAX)]);
}

#[tokio::test]
async fn nothing_stays_counted_or_open_that_the_kernel_does_not_know_of() {
    let mounted = Mounted::new().await;
    let fs = &mounted.fs;
    let before = mounted.counted();
    let (inodes, handles) = before;

    let looked_up = Counted(mounted.look_up(b"sub").await);
    assert_eq!(mounted.counted(), (inodes + 1, handles));
    mounted.late(looked_up).await;
    assert_eq!(mounted.counted(), before);

    let opened = Opened(mounted.opened().await);
    assert_eq!(mounted.counted().1, handles + 1);
    mounted.late(opened).await;
    assert_eq!(mounted.counted(), before);

    let created = Created(mounted.look_up(b"file").await, mounted.opened().await);
    assert_eq!(mounted.counted(), (inodes + 1, handles + 1));
    mounted.late(created).await;
    assert_eq!(mounted.counted(), before);

    let (handle, remember) = fs.opendir(ROOT_INO).await.unwrap();
    let listed = Listed(fs.readdir(handle, 0, true, 100).await.unwrap());
    assert_eq!(mounted.counted(), (inodes + 2, handles + 1));
    mounted.late(listed).await;
    mounted.late(OpenedDir(handle, remember)).await;
    assert_eq!(mounted.counted(), before);
}
