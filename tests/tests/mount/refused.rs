//! What happens when content cannot be committed at the moment when it has to be.

use std::fs::{self, File};

use cyx_tests::mount::{Mount, unavailable};
use cyx_tests::{Cluster, noise, wait_until};

/// A program saves by writing beside and renaming over, while no storage node can be reached: it is told, and neither the old nor the new
/// content is lost.
#[test]
fn a_rename_over_a_file_whose_content_cannot_be_stored_fails_and_loses_nothing() {
    if unavailable() {
        return;
    }
    let cluster = Cluster::start(1);
    let user = cluster.user("saver");
    user.ok(["bucket", "create", "work"]);
    let args = ["--bucket", "work"];
    let mut mount = Mount::start(&user, "m", &args);
    let (old, new) = (noise(1, 300_000), noise(2, 400_000));
    fs::write(mount.join("document"), &old).unwrap();
    mount.settle();
    cluster.kill_node(0);
    fs::write(mount.join("document.new"), &new).unwrap();
    File::open(mount.join("document.new")).unwrap().sync_all().unwrap();
    let refused = fs::rename(mount.join("document.new"), mount.join("document"));
    match refused {
        Err(error) => {
            let code = rustix::io::Errno::from_io_error(&error);
            assert!(matches!(code, Some(rustix::io::Errno::IO | rustix::io::Errno::TIMEDOUT)), "{error}");
            assert!(fs::read(mount.join("document")).unwrap() == old, "what was to be replaced is there");
            assert!(fs::read(mount.join("document.new")).unwrap() == new, "so is what was to replace it");
        }
        // Where names are decided on this machine the rename is promised, and what it needs is sent before it.
        Ok(()) => assert!(fs::read(mount.join("document")).unwrap() == new),
    }
    let renamed = fs::symlink_metadata(mount.join("document.new")).is_err();
    // Also not when the mount is killed now.
    mount.kill();
    fs::remove_dir_all(mount.cache_dir().join("cache")).unwrap();
    cluster.start_node(0);
    mount.again(&args);
    if !renamed {
        assert!(fs::read(mount.join("document")).unwrap() == old);
        assert!(fs::read(mount.join("document.new")).unwrap() == new);
        let again = || fs::rename(mount.join("document.new"), mount.join("document")).is_ok();
        wait_until("the same works when the node is back", again);
    }
    assert!(fs::read(mount.join("document")).unwrap() == new);
    mount.settle();
    mount.unmount();
    assert!(user.read("work", "document") == new);
}
