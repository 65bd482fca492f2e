//! Random sequences of operations against a plain model of a POSIX tree: same answers, same tree, and the invariants hold.

use std::collections::{BTreeMap, HashMap};

use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TrashId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;
use pb::unlink::Mode;
use proptest::prelude::*;

use super::support::*;
use crate::tree::model::InodeKind;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Inodes are numbered; sequences are short, so numbers are reused rarely enough and often enough.
const INODES: u8 = 12;

#[derive(Debug, Clone, Copy)]
enum Step {
    Create { inode: u8, directory: u8, name: usize, kind: InodeKind },
    Link { inode: u8, directory: u8, name: usize },
    Unlink { directory: u8, name: usize, mode: Mode },
    Rename { directory: u8, name: usize, new_directory: u8, new_name: usize, exchange: bool, no_replace: bool },
    Commit { inode: u8, len: u64, stale: bool },
    Restore { which: usize },
    Purge { which: usize },
    PassTime { days: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let inode = || 0..INODES;
    let name = || 0..NAMES.len();
    let kind = prop_oneof![3 => Just(InodeKind::File), 4 => Just(InodeKind::Directory), 1 => Just(InodeKind::Fifo)];
    let mode = prop_oneof![
        3 => Just(Mode::File),
        2 => Just(Mode::Directory),
        3 => Just(Mode::Trash),
        1 => Just(Mode::Purge)
    ];
    prop_oneof![
        8 => (inode(), inode(), name(), kind)
            .prop_map(|(inode, directory, name, kind)| Step::Create { inode, directory, name, kind }),
        2 => (inode(), inode(), name()).prop_map(|(inode, directory, name)| Step::Link { inode, directory, name }),
        4 => (inode(), name(), mode).prop_map(|(directory, name, mode)| Step::Unlink { directory, name, mode }),
        6 => (inode(), name(), inode(), name(), any::<bool>(), any::<bool>()).prop_map(
            |(directory, name, new_directory, new_name, exchange, no_replace)| Step::Rename {
                directory, name, new_directory, new_name, exchange, no_replace: no_replace && !exchange,
            }
        ),
        5 => (inode(), 1_u64..2000, prop::bool::weighted(0.2))
            .prop_map(|(inode, len, stale)| Step::Commit { inode, len, stale }),
        2 => any::<usize>().prop_map(|which| Step::Restore { which }),
        1 => any::<usize>().prop_map(|which| Step::Purge { which }),
        1 => prop_oneof![Just(2_i64), Just(40)].prop_map(|days| Step::PassTime { days }),
    ]
}

#[derive(Debug, Clone)]
struct Node {
    kind: InodeKind,
    entries: BTreeMap<usize, u8>,
    size: u64,
    version: u64,
    /// Day of its removal, if no entry leads to it.
    unlinked: Option<i64>,
}

#[derive(Debug, Clone)]
struct Trashed {
    id: TrashId,
    directory: u8,
    name: usize,
    child: u8,
    day: i64,
}

/// What the tree should be. Inode 0 is the root.
#[derive(Debug)]
struct Model {
    nodes: HashMap<u8, Node>,
    trash: Vec<Trashed>,
    day: i64,
}

type Outcome = Result<(), ErrorCode>;

impl Model {
    fn new() -> Self {
        let root = Node { kind: InodeKind::Directory, entries: BTreeMap::new(), size: 0, version: 0, unlinked: None };
        Self { nodes: HashMap::from([(0, root)]), trash: Vec::new(), day: 0 }
    }

    fn links(&self, inode: u8) -> usize {
        self.nodes.values().flat_map(|node| node.entries.values()).filter(|child| **child == inode).count()
    }

    fn nlink(&self, inode: u8) -> usize {
        let node = &self.nodes[&inode];
        if node.kind != InodeKind::Directory {
            return self.links(inode);
        }
        let removed = node.unlinked.is_some() && !self.trash.iter().any(|trashed| trashed.child == inode);
        if removed { 0 } else { 2 + self.subdirectories(node) }
    }

    fn subdirectories(&self, node: &Node) -> usize {
        node.entries.values().filter(|child| self.nodes[child].kind == InodeKind::Directory).count()
    }

    fn directory(&self, inode: u8) -> Result<&Node, ErrorCode> {
        match self.nodes.get(&inode) {
            Some(node) if node.kind != InodeKind::Directory => Err(ErrorCode::NotDirectory),
            Some(node) if node.unlinked.is_none() => Ok(node),
            _ => Err(ErrorCode::NotFound),
        }
    }

    /// What a name leads to, whatever became of its directory.
    fn child(&self, directory: u8, name: usize) -> Option<u8> {
        self.nodes.get(&directory)?.entries.get(&name).copied()
    }

    fn is_below(&self, at: u8, top: u8) -> bool {
        let parent = |inode: u8| {
            self.nodes.iter().find(|(_, node)| node.entries.values().any(|child| *child == inode)).map(|(id, _)| *id)
        };
        let mut at = Some(at);
        while let Some(inode) = at {
            if inode == top {
                return true;
            }
            at = parent(inode);
        }
        false
    }

    fn create(&mut self, inode: u8, directory: u8, name: usize, kind: InodeKind) -> Outcome {
        if self.directory(directory)?.entries.contains_key(&name) || self.nodes.contains_key(&inode) {
            return Err(ErrorCode::AlreadyExists);
        }
        self.nodes.insert(inode, Node { kind, entries: BTreeMap::new(), size: 0, version: 0, unlinked: None });
        self.put(directory, name, inode);
        Ok(())
    }

    fn put(&mut self, directory: u8, name: usize, inode: u8) {
        self.nodes.get_mut(&directory).unwrap().entries.insert(name, inode);
    }

    fn take(&mut self, directory: u8, name: usize) {
        self.nodes.get_mut(&directory).unwrap().entries.remove(&name);
    }

    fn link(&mut self, inode: u8, directory: u8, name: usize) -> Outcome {
        self.directory(directory)?;
        let node = self.nodes.get(&inode).ok_or(ErrorCode::NotFound)?;
        if node.kind == InodeKind::Directory {
            return Err(ErrorCode::IsDirectory);
        }
        if self.links(inode) == 0 {
            return Err(ErrorCode::NotFound);
        }
        if self.child(directory, name).is_some() {
            return Err(ErrorCode::AlreadyExists);
        }
        self.put(directory, name, inode);
        Ok(())
    }

    fn can_remove(&self, child: u8, mode: Mode) -> Outcome {
        let node = &self.nodes[&child];
        let is_directory = node.kind == InodeKind::Directory;
        match mode {
            Mode::File if is_directory => Err(ErrorCode::IsDirectory),
            Mode::Directory if !is_directory => Err(ErrorCode::NotDirectory),
            Mode::Directory if !node.entries.is_empty() => Err(ErrorCode::NotEmpty),
            _ => Ok(()),
        }
    }

    fn unlink(&mut self, directory: u8, name: usize, mode: Mode, trash: &pb::MutationResult) -> Outcome {
        let child = self.child(directory, name).ok_or(ErrorCode::NotFound)?;
        self.can_remove(child, mode)?;
        self.take(directory, name);
        match mode {
            Mode::Trash => {
                let id = TrashId::try_from(&trash.operations[0].trash[..]).unwrap();
                self.trash.push(Trashed { id, directory, name, child, day: self.day });
                self.note_loss(child);
            }
            Mode::Purge => self.destroy(child),
            _ => self.note_loss(child),
        }
        Ok(())
    }

    fn note_loss(&mut self, inode: u8) {
        let day = self.day;
        if self.links(inode) == 0 {
            self.nodes.get_mut(&inode).unwrap().unlinked.get_or_insert(day);
        }
    }

    /// Removes an inode and all below it, as far as nothing else leads there.
    fn destroy(&mut self, inode: u8) {
        let trashed = self.trash.iter().any(|trashed| trashed.child == inode);
        if self.links(inode) > 0 || trashed {
            self.note_loss(inode);
            return;
        }
        let node = self.nodes.remove(&inode).unwrap();
        let of_it = |trashed: &mut Trashed| node.kind == InodeKind::Directory && trashed.directory == inode;
        let thrown_away: Vec<Trashed> = self.trash.extract_if(.., of_it).collect();
        for child in node.entries.into_values().chain(thrown_away.into_iter().map(|trashed| trashed.child)) {
            // A child with two names in here is destroyed with the last of them.
            if self.nodes.contains_key(&child) {
                self.destroy(child);
            }
        }
    }

    fn rename(&mut self, from: (u8, usize), to: (u8, usize), exchange: bool, no_replace: bool) -> Outcome {
        let child = self.child(from.0, from.1).ok_or(ErrorCode::NotFound)?;
        self.directory(from.0)?;
        self.directory(to.0)?;
        let target = self.child(to.0, to.1).filter(|_| from != to || no_replace);
        match target {
            Some(_) if no_replace => return Err(ErrorCode::AlreadyExists),
            None if exchange => return Err(ErrorCode::NotFound),
            _ => {}
        }
        let is_directory = |model: &Self, inode: u8| model.nodes[&inode].kind == InodeKind::Directory;
        if is_directory(self, child) && from.0 != to.0 && self.is_below(to.0, child) {
            return Err(ErrorCode::Loop);
        }
        let Some(target) = target else {
            self.take(from.0, from.1);
            self.put(to.0, to.1, child);
            return Ok(());
        };
        if target == child {
            return Ok(());
        }
        if exchange {
            if is_directory(self, target) && from.0 != to.0 && self.is_below(from.0, target) {
                return Err(ErrorCode::Loop);
            }
            self.put(from.0, from.1, target);
            self.put(to.0, to.1, child);
            return Ok(());
        }
        match (is_directory(self, child), is_directory(self, target)) {
            (true, false) => return Err(ErrorCode::NotDirectory),
            (false, true) => return Err(ErrorCode::IsDirectory),
            (true, true) => self.can_remove(target, Mode::Directory)?,
            (false, false) => {}
        }
        self.take(from.0, from.1);
        self.put(to.0, to.1, child);
        self.note_loss(target);
        Ok(())
    }

    fn commit(&mut self, inode: u8, len: u64, stale: bool) -> Outcome {
        let has_name = self.links(inode) > 0;
        let node = self.nodes.get_mut(&inode).ok_or(ErrorCode::NotFound)?;
        match node.kind {
            InodeKind::File if stale || !has_name => Err(ErrorCode::Conflict),
            InodeKind::File => {
                (node.size, node.version) = (len, node.version + 1);
                Ok(())
            }
            InodeKind::Directory => Err(ErrorCode::IsDirectory),
            _ => Err(ErrorCode::InvalidArgument),
        }
    }

    fn restore(&mut self, at: usize) -> Outcome {
        let Trashed { directory, name, child, .. } = self.trash[at].clone();
        self.directory(directory)?;
        if self.child(directory, name).is_some() {
            return Err(ErrorCode::AlreadyExists);
        }
        if self.nodes[&child].kind == InodeKind::Directory && self.is_below(directory, child) {
            return Err(ErrorCode::Loop);
        }
        if !self.is_below(directory, 0) {
            return Err(ErrorCode::NotFound);
        }
        self.trash.remove(at);
        self.put(directory, name, child);
        self.nodes.get_mut(&child).unwrap().unlinked = None;
        Ok(())
    }

    fn purge(&mut self, at: usize) {
        let child = self.trash.remove(at).child;
        self.destroy(child);
    }

    fn pass(&mut self, days: i64) {
        self.day += days;
        while let Some(at) = self.trash.iter().position(|trashed| trashed.day + 30 <= self.day) {
            self.purge(at);
        }
        let trashed: Vec<u8> = self.trash.iter().map(|trashed| trashed.child).collect();
        let day = self.day;
        let expired = |id: &u8, node: &Node| node.unlinked.is_some_and(|at| at + 30 <= day) && !trashed.contains(id);
        self.nodes.retain(|id, node| !expired(id, node));
    }

    /// Bytes that count.
    fn used(&self) -> u64 {
        let live = |id: &u8| self.links(*id) > 0 || self.trash.iter().any(|trashed| trashed.child == *id);
        self.nodes.iter().filter(|(id, node)| node.version > 0 && live(id)).map(|(_, node)| sealed(node.size)).sum()
    }
}

fn id(tree: &TestTree, inode: u8) -> InodeId {
    if inode == 0 { tree.root } else { InodeId([inode; 16]) }
}

async fn run(steps: &[Step]) {
    let tree = TestTree::new().await;
    let mut model = Model::new();
    // An inode number that is free again may be used for something else; what is left of the past must not matter.
    for (number, step) in steps.iter().enumerate() {
        let (expected, result) = perform(&tree, &mut model, step).await;
        let result = result.map_or(Ok(()), |result| code(&result).map_or(Ok(()), Err));
        assert_eq!(result, expected, "step {number}: {step:?}\n{model:#?}");
    }
    compare(&tree, &model).await;
    tree.check().await;
    // In the end everything can be cleared away, and then nothing is left.
    let names: Vec<(usize, u8)> = model.nodes[&0].entries.iter().map(|(name, child)| (*name, *child)).collect();
    for (name, child) in names {
        ok(&tree.one(unlink(tree.root, NAMES[name], id(&tree, child), Mode::Trash)).await);
    }
    tree.pass_seconds(100 * 24 * 3600);
    tree.collect().await;
    tree.pass_seconds(100 * 24 * 3600);
    tree.collect().await;
    assert_eq!(tree.bytes().await, (0, 0, 0));
    tree.check().await;
    let mut read = tree.test.db.read().await.unwrap();
    for (table, left) in
        [("inode", 1), ("entry", 0), ("trash", 0), ("purge", 0), ("version", 0), ("extent_page", 0), ("blob", 0)]
    {
        let text = sqlx::AssertSqlSafe(format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}"));
        let count: i64 = sqlx::query_scalar(text).fetch_one(&mut *read).await.unwrap();
        assert_eq!(count, left, "{table}");
    }
}

async fn perform(tree: &TestTree, model: &mut Model, step: &Step) -> (Outcome, Option<pb::MutationResult>) {
    match *step {
        Step::Create { inode, directory, name, kind } => {
            let result = tree.one(create(id(tree, inode), id(tree, directory), NAMES[name], kind)).await;
            (model.create(inode, directory, name, kind), Some(result))
        }
        Step::Link { inode, directory, name } => {
            let result = tree.one(link(id(tree, inode), id(tree, directory), NAMES[name])).await;
            (model.link(inode, directory, name), Some(result))
        }
        Step::Unlink { directory, name, mode } => {
            let child = model.child(directory, name).unwrap_or(0);
            let result = tree.one(unlink(id(tree, directory), NAMES[name], id(tree, child), mode)).await;
            let expected = match result.fault {
                // The model needs the id of the trash entry, which only a success has.
                Some(_) => match model.child(directory, name) {
                    Some(child) => model.can_remove(child, mode),
                    None => Err(ErrorCode::NotFound),
                },
                None => model.unlink(directory, name, mode, &result),
            };
            (expected, Some(result))
        }
        Step::Rename { directory, name, new_directory, new_name, exchange, no_replace } => {
            let child = model.child(directory, name).unwrap_or(0);
            let same = (directory, name) == (new_directory, new_name);
            let target = model.child(new_directory, new_name).filter(|_| !same);
            let replaced = match target {
                Some(target) => expect(id(tree, target)),
                None if exchange => expect(tree.root),
                None => None,
            };
            let from = (id(tree, directory), NAMES[name]);
            let request = pb::Rename {
                replaced,
                exchange,
                no_replace,
                exchanged_wrapped_key: vec![6; 60].into(),
                ..rename_of(from, id(tree, child), (id(tree, new_directory), NAMES[new_name]))
            };
            let result = tree.one(Op::Rename(request)).await;
            (model.rename((directory, name), (new_directory, new_name), exchange, no_replace), Some(result))
        }
        Step::Commit { inode, len, stale } => {
            let version = model.nodes.get(&inode).map_or(0, |node| node.version);
            let base = if stale { version + 1 } else { version };
            let result = tree.one(Op::Commit(tree.small(id(tree, inode), base, len))).await;
            (model.commit(inode, len, stale), Some(result))
        }
        Step::Restore { which } | Step::Purge { which } if model.trash.is_empty() => {
            let _ = which;
            (Ok(()), None)
        }
        Step::Restore { which } => {
            let at = which % model.trash.len();
            let restore = pb::TrashRestore { trash: bytes_of(model.trash[at].id), ..pb::TrashRestore::default() };
            let result = tree.one(Op::TrashRestore(restore)).await;
            (model.restore(at), Some(result))
        }
        Step::Purge { which } => {
            let at = which % model.trash.len();
            let purge = pb::TrashPurge { trash: vec![bytes_of(model.trash[at].id)] };
            let result = tree.one(Op::TrashPurge(purge)).await;
            model.purge(at);
            (Ok(()), Some(result))
        }
        Step::PassTime { days } => {
            tree.pass_seconds(days * 24 * 3600);
            tree.collect().await;
            model.pass(days);
            (Ok(()), None)
        }
    }
}

async fn compare(tree: &TestTree, model: &Model) {
    for (number, node) in &model.nodes {
        let inode = tree.inode(id(tree, *number)).await.unwrap_or_else(|| panic!("inode {number} is missing"));
        let says = (inode.kind, inode.nlink as usize, inode.size, inode.version, inode.deleted_ns != 0);
        let is = (node.kind, model.nlink(*number), node.size, node.version, node.unlinked.is_some());
        assert_eq!(says, is, "inode {number}");
        let entries: BTreeMap<Vec<u8>, InodeId> =
            tree.list(inode.id).await.into_iter().map(|(entry, _)| (entry.token.name.to_vec(), entry.child)).collect();
        let expected: BTreeMap<Vec<u8>, InodeId> =
            node.entries.iter().map(|(name, child)| (NAMES[*name].as_bytes().to_vec(), id(tree, *child))).collect();
        assert_eq!(entries, expected, "directory {number}");
    }
    let rows = sqlx::query("SELECT id FROM inode").fetch_all(&mut *tree.test.db.read().await.unwrap()).await.unwrap();
    assert_eq!(rows.len(), model.nodes.len(), "inodes that nobody should know");
    assert_eq!(tree.bytes().await.0, model.used());
}

#[test]
fn random_sequences_do_what_a_plain_tree_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases =
        if std::env::var(crate::test_support::POSTGRES_VARIABLE).is_ok_and(|url| !url.is_empty()) { 16 } else { 64 };
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let steps = prop::collection::vec(step(), 1..60);
    let outcome = runner.run(&steps, |steps| {
        runtime.block_on(run(&steps));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
