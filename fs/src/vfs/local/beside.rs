//! Names for what cannot have the one that it was given here: the name itself if it is free by now, else `name (conflict <host> <date>)` beside it.
//! If its directory was removed, in the nearest one above that is there.

use std::sync::Arc;

use bytes::Bytes;
use cyx_client::tree::list::Walked;
use cyx_client::tree::names::DirectoryKeys;
use cyx_client::{Directory, Error, Result, TreePath};
use cyx_core::ids::InodeId;
use cyx_core::inode::InodeKind;
use cyx_proto::convert::{bytes_of, id};
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::note::Named;
use super::queue::Item;
use super::refused::{Instead, instead_of};
use crate::sync::conflicts::conflict_name;
use crate::vfs::Inner;
use crate::vfs::node::{Node, Opened, links, lock};

/// Names that are tried for something.
const NAMES: u32 = 100;
/// No directory lies deeper.
const DEPTH_MAX: usize = 4096;

/// A free name, and the key of what gets it, wrapped for that.
struct Place {
    directory: Bytes,
    names: Vec<pb::NameToken>,
    wrapped_key: Bytes,
    keys: Arc<DirectoryKeys>,
}

/// An entry that does not exist on the server, to be opened with the keys of its directory.
fn entry_of(directory: &Bytes, names: &[pb::NameToken], child: &Bytes, kind: i32, wrapped_key: &Bytes) -> pb::Entry {
    pb::Entry {
        directory: directory.clone(),
        name: names.last().cloned(),
        child: child.clone(),
        kind,
        wrapped_key: wrapped_key.clone(),
        version: 0,
    }
}

impl Inner {
    /// Something new under a name that is free. `None` if there is none.
    pub(super) async fn created_beside(
        &self,
        home: &Opened,
        create: &pb::Create,
        item: &Item,
    ) -> Result<Option<Instead>> {
        let entry = entry_of(&create.directory, &create.names, &create.inode, create.kind, &create.wrapped_key);
        let Some(place) = self.place_beside(home, &entry, item, true).await? else { return Ok(None) };
        let Place { directory, names, wrapped_key, keys } = place;
        let created = pb::Create { directory, names, wrapped_key, ..create.clone() };
        Ok(Some(Instead::named(instead_of(&item.mutation, Op::Create(created)), keys)))
    }

    /// A second name that is free. `None` if there is none, or the file is not there any more.
    pub(super) async fn linked_beside(&self, home: &Opened, link: &pb::Link, item: &Item) -> Result<Option<Instead>> {
        let inode = self.inode_at_server(home, &link.inode).await?.filter(|inode| links(inode) > 0);
        let Some(inode) = inode else { return Ok(None) };
        let entry = entry_of(&link.directory, &link.names, &link.inode, inode.kind, &link.wrapped_key);
        let Some(place) = self.place_beside(home, &entry, item, true).await? else { return Ok(None) };
        let Place { directory, names, wrapped_key, keys } = place;
        let linked = pb::Link { directory, names, wrapped_key, ..link.clone() };
        Ok(Some(Instead::named(instead_of(&item.mutation, Op::Link(linked)), keys)))
    }

    /// A rename to a name that is free. `None` if what was to be renamed is not where it was, or may stay there because there is no directory to
    /// put it into.
    pub(super) async fn renamed_beside(
        &self,
        home: &Opened,
        rename: &pb::Rename,
        item: &Item,
    ) -> Result<Option<Instead>> {
        let Some(expected) = rename.expected.as_ref().filter(|_| !rename.exchange) else { return Ok(None) };
        let source = self.entry_at_server(home, &rename.directory, &rename.names).await?;
        let Some(source) = source.filter(|source| source.child == expected.child) else { return Ok(None) };
        let (new_names, wrapped) = (&rename.new_names, &rename.new_wrapped_key);
        let entry = entry_of(&rename.new_directory, new_names, &source.child, source.kind, wrapped);
        let Some(place) = self.place_beside(home, &entry, item, item.redirected).await? else { return Ok(None) };
        let Place { directory, names, wrapped_key, keys } = place;
        let renamed = pb::Rename {
            expected: Some(pb::Expected { child: source.child.clone(), entry_version: source.version }),
            new_directory: directory,
            new_names: names,
            new_wrapped_key: wrapped_key,
            replaced: None,
            ..rename.clone()
        };
        Ok(Some(Instead::named(instead_of(&item.mutation, Op::Rename(renamed)), keys)))
    }

    /// A free name for what an entry was to lead to; in a directory above if its own is gone and it `must` have one.
    async fn place_beside(&self, home: &Opened, entry: &pb::Entry, item: &Item, must: bool) -> Result<Option<Place>> {
        let mut directory: InodeId = id(&entry.directory, "entry.directory")?;
        let child: InodeId = id(&entry.child, "entry.child")?;
        let is_there = self.is_there(home, directory).await?;
        if !is_there && !must {
            return Ok(None);
        }
        // Not to be looked for in the whole bucket if it can only be in vain.
        let mut keys = if is_there || item.named.is_none() { self.keys_of(home, directory).await? } else { None };
        let named = match (&item.named, &keys) {
            (Some(named), _) => named.clone(),
            (None, Some(keys)) => {
                let (name, _, key) = keys.open_entry(entry)?;
                let kind = InodeKind::from_number(entry.kind).map_err(Error::decode("the kind of what gets a name"))?;
                Named { kind, key, name }
            }
            (None, None) => return Ok(None),
        };
        if !is_there {
            let Some(above) = self.nearest_above(home, directory).await? else { return Ok(None) };
            (directory, keys) = (above.id, Some(Arc::new(DirectoryKeys::new(&above.directory())?)));
        }
        let Some(keys) = keys else { return Ok(None) };
        let Named { kind, key, name } = named;
        let found = self.free_name(home, (directory, &keys), &name, is_there, &item.mutation).await?;
        let Some((names, beside)) = found else { return Ok(None) };
        if let Some(beside) = beside {
            let (name, beside) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&beside));
            let why = if is_there {
                "was made or changed elsewhere"
            } else {
                "lost its directory, which was removed elsewhere"
            };
            self.report_conflict(&format!(
                "{name:?} {why} at the same time; what has that name here is kept as {beside:?}"
            ));
        }
        self.doubt_everything(home);
        let wrapped_key = keys.wrap(&names, child, kind, &key)?.into();
        Ok(Some(Place { directory: bytes_of(directory), names, wrapped_key, keys }))
    }

    /// Whether the server has a directory to put something into.
    async fn is_there(&self, home: &Opened, directory: InodeId) -> Result<bool> {
        Ok(self.inodes_at_server(home, &[directory]).await?.iter().any(|inode| links(inode) > 0))
    }

    /// The nearest directory above one that was removed, as far as is known where that was; or the root of the bucket. `None` if the bucket is
    /// not open any more.
    pub(crate) async fn nearest_above(&self, home: &Opened, directory: InodeId) -> Result<Option<Arc<Node>>> {
        let mut at = self.table.by_id(home.id, directory);
        for _ in 0..DEPTH_MAX {
            let Some(node) = at else { break };
            at = lock(&node.file).place.as_ref().and_then(|(above, _)| above.upgrade());
            match &at {
                Some(above) if self.is_there(home, above.id).await? => return Ok(at),
                _ => {}
            }
        }
        Ok(self.buckets.root(home.id))
    }

    /// The name itself if it is free in a directory and `plain` enough, else one that says why it is not; and that one.
    async fn free_name(
        &self,
        home: &Opened,
        (directory, keys): (InodeId, &DirectoryKeys),
        name: &[u8],
        plain: bool,
        mutation: &pb::Mutation,
    ) -> Result<Option<(Vec<pb::NameToken>, Option<Vec<u8>>)>> {
        if plain {
            let names = keys.tokens(name)?;
            if !self.is_taken(home, directory, &names).await? {
                return Ok(Some((names, None)));
            }
        }
        let at = mutation.time_ns.unwrap_or_else(crate::vfs::now_ns);
        for number in 1..=NAMES {
            let wanted = conflict_name(name, &self.options.host, at, number);
            let names = keys.tokens(&wanted)?;
            if !self.is_taken(home, directory, &names).await? {
                return Ok(Some((names, Some(wanted))));
            }
        }
        Ok(None)
    }

    async fn is_taken(&self, home: &Opened, directory: InodeId, tokens: &[pb::NameToken]) -> Result<bool> {
        Ok(self.entry_at_server(home, &bytes_of(directory), tokens).await?.is_some())
    }

    /// The keys of a directory that the server has. Not by way of what is known here, which waits for the queue.
    async fn keys_of(&self, home: &Opened, directory: InodeId) -> Result<Option<Arc<DirectoryKeys>>> {
        if let Some(node) = self.table.by_id(home.id, directory) {
            let known = node.directory();
            return Ok(Some(Arc::new(DirectoryKeys::new(&known)?)));
        }
        let mut walk = home.bucket.walk(&TreePath::root(), true).await?;
        while let Some(found) = walk.next().await {
            let Walked::Item(item) = found else { continue };
            if item.located.id == directory {
                let located = item.located;
                let known = Directory {
                    id: located.id,
                    key: located.key.clone(),
                    key_history: located.inode.key_history,
                    attributes: None,
                };
                return Ok(Some(Arc::new(DirectoryKeys::new(&known)?)));
            }
        }
        Ok(None)
    }
}
