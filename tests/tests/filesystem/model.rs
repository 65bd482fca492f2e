//! The filesystem against a naive model: random operations on few names, done on two machines in turns or on one, must give the same
//! results and leave the same tree as a model that keeps everything in a vector. Failing sequences are shrunk.

use std::collections::BTreeMap;

use bytes::Bytes;
use cyx_fs::vfs::{RenameFlags, SetXattr};
use cyx_fs::{Errno, Filesystem, Ino, Kind, SetAttr};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::support::{ME, NEW, READ, WRITE, World, bucket, content, list, until};

/// Names are few, so that operations meet.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Deepest directory.
const DEPTH: usize = 3;

pub(super) type Path = Vec<usize>;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Create(Path),
    Mkdir(Path),
    Symlink(Path),
    Fifo(Path),
    Unlink(Path),
    Rmdir(Path),
    Rename(Path, Path, u8),
    Link(Path, Path),
    Write(Path, u16, Vec<u8>),
    Truncate(Path, u16),
    Chmod(Path, u32),
    SetXattr(Path, u8, u8),
    RemoveXattr(Path, u8),
    Commit,
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(0..NAMES.len(), 1..=DEPTH)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => path().prop_map(Step::Create),
        4 => path().prop_map(Step::Mkdir),
        1 => path().prop_map(Step::Symlink),
        1 => path().prop_map(Step::Fifo),
        2 => path().prop_map(Step::Unlink),
        2 => path().prop_map(Step::Rmdir),
        5 => (path(), path(), 0..4_u8).prop_map(|(from, to, flags)| Step::Rename(from, to, flags)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        3 => (path(), 0..40_u16, prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, offset, data)| Step::Write(at, offset, data)),
        1 => (path(), 0..60_u16).prop_map(|(at, len)| Step::Truncate(at, len)),
        1 => (path(), 0..0o10000_u32).prop_map(|(at, mode)| Step::Chmod(at, mode)),
        1 => (path(), 0..3_u8, any::<u8>()).prop_map(|(at, name, value)| Step::SetXattr(at, name, value)),
        1 => (path(), 0..3_u8).prop_map(|(at, name)| Step::RemoveXattr(at, name)),
        1 => Just(Step::Commit),
    ]
}

/// An inode of the model.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    nlink: u32,
    names: BTreeMap<usize, usize>,
    data: Vec<u8>,
    xattrs: BTreeMap<u8, u8>,
}

pub(super) struct Model {
    nodes: Vec<Node>,
}

pub(super) type Done = Result<(), Errno>;

impl Model {
    pub(super) fn new() -> Self {
        let mut model = Self { nodes: Vec::new() };
        model.add(Kind::Directory, 0o755);
        model
    }

    fn add(&mut self, kind: Kind, mode: u32) -> usize {
        let nlink = if kind == Kind::Directory { 2 } else { 1 };
        self.nodes.push(Node { kind, mode, nlink, names: BTreeMap::new(), data: Vec::new(), xattrs: BTreeMap::new() });
        self.nodes.len() - 1
    }

    fn is_dir(&self, at: usize) -> bool {
        self.nodes[at].kind == Kind::Directory
    }

    fn step_down(&self, at: usize, name: usize) -> Result<usize, Errno> {
        if !self.is_dir(at) {
            return Err(Errno::ENOTDIR);
        }
        self.nodes[at].names.get(&name).copied().ok_or(Errno::ENOENT)
    }

    fn find(&self, path: &[usize]) -> Result<usize, Errno> {
        path.iter().try_fold(0, |at, name| self.step_down(at, *name))
    }

    /// The directory of a path, its last name, and what that leads to.
    fn place(&self, path: &[usize]) -> Result<(usize, usize, Option<usize>), Errno> {
        let (name, above) = path.split_last().unwrap();
        let directory = self.find(above)?;
        match self.step_down(directory, *name) {
            Ok(found) => Ok((directory, *name, Some(found))),
            Err(Errno::ENOENT) => Ok((directory, *name, None)),
            Err(errno) => Err(errno),
        }
    }

    fn make(&mut self, path: &[usize], kind: Kind, mode: u32) -> Done {
        let (directory, name, None) = self.place(path)? else { return Err(Errno::EEXIST) };
        // A directory below one with the set-group-ID bit has it too.
        let inherited = if kind == Kind::Directory { self.nodes[directory].mode & 0o2000 } else { 0 };
        let made = self.add(kind, mode | inherited);
        self.nodes[directory].names.insert(name, made);
        self.nodes[directory].nlink += u32::from(kind == Kind::Directory);
        Ok(())
    }

    fn remove(&mut self, path: &[usize], dir: bool) -> Done {
        let (directory, name, Some(found)) = self.place(path)? else { return Err(Errno::ENOENT) };
        match (self.is_dir(found), dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !self.nodes[found].names.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.nodes[directory].names.remove(&name);
        self.nodes[directory].nlink -= u32::from(dir);
        self.nodes[found].nlink -= 1;
        Ok(())
    }

    fn link(&mut self, from: &[usize], to: &[usize]) -> Done {
        let found = self.find(from)?;
        let (directory, name, taken) = self.place(to)?;
        if self.is_dir(found) {
            return Err(Errno::EPERM);
        }
        if taken.is_some() {
            return Err(Errno::EEXIST);
        }
        self.nodes[directory].names.insert(name, found);
        self.nodes[found].nlink += 1;
        Ok(())
    }

    fn rename(&mut self, from: &[usize], to: &[usize], flags: RenameFlags) -> Done {
        let (old, old_name, source) = self.place(from)?;
        let (new, new_name, target) = self.place(to)?;
        let source = source.ok_or(Errno::ENOENT)?;
        if flags.no_replace && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.exchange && target.is_none() {
            return Err(Errno::ENOENT);
        }
        if target == Some(source) {
            return Ok(());
        }
        if let Some(target) = target.filter(|_| !flags.exchange) {
            match (self.is_dir(source), self.is_dir(target)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) if !self.nodes[target].names.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        let source_dir = u32::from(self.is_dir(source));
        let target_dir = target.map_or(0, |target| u32::from(self.is_dir(target)));
        self.nodes[old].nlink -= source_dir;
        self.nodes[new].nlink -= target_dir;
        self.nodes[old].names.remove(&old_name);
        self.nodes[new].names.insert(new_name, source);
        self.nodes[new].nlink += source_dir;
        if let Some(target) = target {
            if flags.exchange {
                self.nodes[old].names.insert(old_name, target);
                self.nodes[old].nlink += target_dir;
            } else {
                self.nodes[target].nlink -= 1;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[usize]) -> Result<&mut Node, Errno> {
        let found = self.find(path)?;
        match self.nodes[found].kind {
            Kind::File => Ok(&mut self.nodes[found]),
            Kind::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn apply(&mut self, step: &Step) -> Done {
        match step {
            Step::Create(path) => self.make(path, Kind::File, 0o644),
            Step::Mkdir(path) => self.make(path, Kind::Directory, 0o755),
            Step::Symlink(path) => self.make(path, Kind::Symlink, 0o777),
            Step::Fifo(path) => self.make(path, Kind::Fifo, 0o600),
            Step::Unlink(path) => self.remove(path, false),
            Step::Rmdir(path) => self.remove(path, true),
            Step::Rename(from, to, flags) => self.rename(from, to, rename_flags(*flags)),
            Step::Link(from, to) => self.link(from, to),
            Step::Write(path, offset, data) => {
                let file = self.file(path)?;
                let start = usize::from(*offset);
                file.data.resize(file.data.len().max(start + data.len()), 0);
                file.data[start..start + data.len()].copy_from_slice(data);
                Ok(())
            }
            Step::Truncate(path, len) => {
                self.file(path)?.data.resize(usize::from(*len), 0);
                Ok(())
            }
            Step::Chmod(path, mode) => {
                let found = self.find(path)?;
                self.nodes[found].mode = *mode;
                Ok(())
            }
            Step::SetXattr(path, name, value) => {
                let found = self.find(path)?;
                self.nodes[found].xattrs.insert(*name, *value);
                Ok(())
            }
            Step::RemoveXattr(path, name) => {
                let found = self.find(path)?;
                self.nodes[found].xattrs.remove(name).map(|_| ()).ok_or(Errno::ENODATA)
            }
            Step::Commit => Ok(()),
        }
    }

    /// Everything that can be seen, a line for each path; files with several names show which are the same.
    pub(super) fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut first: BTreeMap<usize, String> = BTreeMap::new();
        self.dump_below(0, "", &mut first, &mut lines);
        lines
    }

    fn dump_below(&self, at: usize, path: &str, first: &mut BTreeMap<usize, String>, lines: &mut Vec<String>) {
        for (name, child) in &self.nodes[at].names {
            let path = format!("{path}/{}", NAMES[*name]);
            let node = &self.nodes[*child];
            let same = first.entry(*child).or_insert_with(|| path.clone()).clone();
            let xattrs: Vec<String> = node.xattrs.iter().map(|(name, value)| format!("user.{name}={value}")).collect();
            lines.push(line(
                &path,
                node.kind,
                node.mode,
                node.nlink,
                &node.data,
                node.data.len() as u64,
                &xattrs,
                &same,
            ));
            if self.is_dir(*child) {
                self.dump_below(*child, &path, first, lines);
            }
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "a line has that many columns")]
fn line(
    path: &str,
    kind: Kind,
    mode: u32,
    nlink: u32,
    data: &[u8],
    size: u64,
    xattrs: &[String],
    same: &str,
) -> String {
    format!("{path} {kind} {mode:o} {nlink} {size} {data:?} {xattrs:?} = {same}")
}

fn rename_flags(flags: u8) -> RenameFlags {
    RenameFlags { no_replace: flags == 1, exchange: flags == 2 }
}

/// A step on the real thing.
pub(super) async fn real(fs: &Filesystem, root: Ino, step: &Step) -> Done {
    let find = async |path: &[usize]| {
        let mut at = root;
        for name in path {
            at = fs.lookup(at, NAMES[*name].as_bytes()).await?.ino;
        }
        Ok::<Ino, Errno>(at)
    };
    let place = async |path: &[usize]| {
        let (name, above) = path.split_last().unwrap();
        let directory = find(above).await?;
        // The kernel walks a path before it asks for anything at its end.
        match fs.getattr(directory, None).await?.kind {
            Kind::Directory => Ok::<(Ino, &'static [u8]), Errno>((directory, NAMES[*name].as_bytes())),
            _ => Err(Errno::ENOTDIR),
        }
    };
    match step {
        Step::Create(path) => {
            let (parent, name) = place(path).await?;
            let (_, handle) = fs.create(parent, name, 0o644, NEW, ME).await?;
            fs.release(handle).await;
            Ok(())
        }
        Step::Mkdir(path) => {
            let (parent, name) = place(path).await?;
            fs.mkdir(parent, name, 0o755, ME).await.map(|_| ())
        }
        Step::Symlink(path) => {
            let (parent, name) = place(path).await?;
            fs.symlink(parent, name, b"target", ME).await.map(|_| ())
        }
        Step::Fifo(path) => {
            let (parent, name) = place(path).await?;
            fs.mknod(parent, name, Kind::Fifo, 0o600, 0, ME).await.map(|_| ())
        }
        Step::Unlink(path) => {
            let (parent, name) = place(path).await?;
            fs.unlink(parent, name).await
        }
        Step::Rmdir(path) => {
            let (parent, name) = place(path).await?;
            fs.rmdir(parent, name).await
        }
        Step::Rename(from, to, flags) => {
            let ((parent, name), (new_parent, new_name)) = (place(from).await?, place(to).await?);
            fs.rename(parent, name, new_parent, new_name, rename_flags(*flags)).await
        }
        Step::Link(from, to) => {
            let (ino, (parent, name)) = (find(from).await?, place(to).await?);
            fs.link(ino, parent, name).await.map(|_| ())
        }
        Step::Write(path, offset, data) => {
            let handle = fs.open_file(find(path).await?, WRITE).await?;
            let written = fs.write(handle, u64::from(*offset), Bytes::copy_from_slice(data)).await;
            fs.flush(handle).await?;
            fs.release(handle).await;
            written.map(|_| ())
        }
        Step::Truncate(path, len) => {
            let set = SetAttr { size: Some(u64::from(*len)), ..SetAttr::default() };
            fs.setattr(find(path).await?, set, ME).await.map(|_| ())
        }
        Step::Chmod(path, mode) => {
            let set = SetAttr { mode: Some(*mode), ..SetAttr::default() };
            fs.setattr(find(path).await?, set, ME).await.map(|_| ())
        }
        Step::SetXattr(path, name, value) => {
            let name = format!("user.{name}");
            fs.setxattr(find(path).await?, name.as_bytes(), value.to_string().as_bytes(), SetXattr::Any).await
        }
        Step::RemoveXattr(path, name) => fs.removexattr(find(path).await?, format!("user.{name}").as_bytes()).await,
        Step::Commit => {
            assert_eq!(fs.drain(&|_| {}).await, Ok(0));
            Ok(())
        }
    }
}

pub(super) async fn dump(fs: &Filesystem, root: Ino) -> Vec<String> {
    let mut first: BTreeMap<Ino, String> = BTreeMap::new();
    let mut lines = Vec::new();
    let mut waiting = vec![(root, String::new())];
    while let Some((at, path)) = waiting.pop() {
        for (name, kind, attr) in list(fs, at).await {
            let path = format!("{path}/{name}");
            let mut xattrs = Vec::new();
            for name in
                fs.listxattr(attr.ino, ME).await.unwrap().split(|byte| *byte == 0).filter(|name| !name.is_empty())
            {
                let value = fs.getxattr(attr.ino, name).await.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                xattrs.push(format!("{}={}", text(name), text(&value)));
            }
            let data = if kind == Kind::File { content(fs, attr.ino).await } else { Vec::new() };
            let shown = if kind == Kind::File { attr.size } else { 0 };
            lines.push((path.clone(), kind, attr, data, shown, xattrs));
            if kind == Kind::Directory {
                waiting.push((attr.ino, path));
            }
        }
    }
    lines.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    let lines = lines.into_iter().map(|(path, kind, attr, data, size, xattrs)| {
        let same = first.entry(attr.ino).or_insert_with(|| path.clone()).clone();
        line(&path, kind, attr.mode, attr.nlink, &data, size, &xattrs, &same)
    });
    lines.collect()
}

/// Moving a directory below itself is refused, whatever else is wrong with it: which error comes first is the kernel's decision.
pub(super) fn is_loop(step: &Step) -> bool {
    match step {
        Step::Rename(from, to, _) => from != to && (to.starts_with(from) || from.starts_with(to)),
        _ => false,
    }
}

async fn run(first: &Filesystem, second: Option<(&Filesystem, Ino)>, root: Ino, steps: &[Step]) {
    let mut model = Model::new();
    for (number, step) in steps.iter().enumerate() {
        if is_loop(step) {
            let before = dump(first, root).await;
            // Through a name that does not exist, or that is no directory, it may be no loop at all.
            if real(first, root, step).await.is_err() {
                assert_eq!(dump(first, root).await, before, "step {number} failed and changed something: {step:?}");
                continue;
            }
            assert_eq!(model.apply(step), Ok(()), "step {number} cannot succeed: {step:?}");
            continue;
        }
        let (fs, root) = match second {
            // What the other did has to arrive first.
            Some((other, their_root)) if number % 5 == 4 => {
                let expected = model.dump();
                assert_eq!(first.drain(&|_| {}).await, Ok(0));
                until("the other machine sees the same", async || dump(other, their_root).await == expected).await;
                (other, their_root)
            }
            _ => (first, root),
        };
        let result = real(fs, root, step).await;
        assert_eq!(result, model.apply(step), "step {number}: {step:?}");
        if let Some((other, _)) = second
            && number % 5 == 4
        {
            assert_eq!(other.drain(&|_| {}).await, Ok(0));
            let expected = model.dump();
            // The number of the root is the same on both machines.
            until("the first machine sees the same", async || dump(first, root).await == expected).await;
        }
    }
    assert_eq!(dump(first, root).await, model.dump());
}

fn check(two_machines: bool, cases: u32, steps: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let world = World::new();
    let (first, second) = runtime.block_on(async { (world.machine(|_| {}).await, world.machine(|_| {}).await) });
    let (work, theirs) =
        runtime.block_on(async { (bucket(&first.fs, "work").await, bucket(&second.fs, "work").await) });
    let number = std::cell::Cell::new(0);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&prop::collection::vec(step(), 1..steps), |steps| {
        number.set(number.get() + 1);
        let name = format!("case-{}", number.get());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let root = first.fs.mkdir(work, name.as_bytes(), 0o755, ME).await.unwrap().ino;
                let other = if two_machines {
                    until("the case is seen", async || second.fs.lookup(theirs, name.as_bytes()).await.is_ok()).await;
                    let their_root = second.fs.lookup(theirs, name.as_bytes()).await.unwrap().ino;
                    assert_eq!(their_root, root, "the same file has the same number everywhere");
                    Some((&second.fs, their_root))
                } else {
                    None
                };
                run(&first.fs, other, root, &steps).await;
            });
        }));
        outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
            TestCaseError::fail(text)
        })
    });
    result.unwrap();
    runtime.block_on(async {
        let handle = first.fs.open_file(work, READ).await;
        assert_eq!(handle, Err(Errno::EISDIR));
        first.fs.shutdown().await;
        second.fs.shutdown().await;
    });
}

#[test]
fn one_machine_does_what_the_model_does() {
    check(false, 60, 60);
}

#[test]
fn two_machines_in_turns_do_what_the_model_does() {
    check(true, 10, 30);
}
