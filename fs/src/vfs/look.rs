//! Asking the server, and when an answer is believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cyx_client::{Error, Located};
use cyx_core::error::ErrorCode;
use cyx_core::ids::InodeId;
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;

use super::Inner;
use super::index::NameIndex;
use super::node::{Edge, KEPT, Listing, Name, Node, Seen, lock};
use crate::attributes::Kind;
use crate::errno::Errno;

/// How often something is asked again because it changed on the way.
const ROUNDS: u32 = 6;
/// After so many names of a directory were asked for one by one, all are.
const READ_AHEAD_AFTER: u32 = 3;
/// Of directories with more than [`KEPT`] names is remembered only which they have, once so many were asked for one by one.
const INDEX_AFTER: u32 = 32;
/// Inodes asked for in one call. With the largest metadata that there can be the answer is still a message.
const INODES_PER_CALL: usize = 500;

/// The entries of a directory, in no particular order.
pub(crate) struct Listed {
    pub(crate) entries: Vec<(Box<[u8]>, Edge)>,
    /// Where the counter of its names stood; `None` if they changed faster than they could be asked for.
    pub(crate) moved: Option<u64>,
}

impl Inner {
    /// Where a name leads, as far as can be known: from memory if that is to be believed, else from the server.
    pub(crate) async fn find(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Edge>, Errno> {
        if !directory.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.keep_key(directory).await;
        let edge = self.find_in(directory, name).await?;
        if let Some(edge) = &edge {
            self.keep_key(&edge.node).await;
        }
        Ok(edge)
    }

    async fn find_in(&self, directory: &Arc<Node>, name: &[u8]) -> Result<Option<Edge>, Errno> {
        for round in 1.. {
            let (moved, moves, all, index) = {
                let mut listing = directory.listing();
                listing.used = Some(Instant::now());
                match remembered(directory, &listing, name) {
                    Remembered::Edge(edge) => return Ok(Some(edge)),
                    Remembered::Nothing => return Ok(None),
                    Remembered::No => {}
                }
                listing.misses += 1;
                // Who decides what there is needs to know what there is not.
                let often = listing.misses > READ_AHEAD_AFTER || (listing.misses > 1 && directory.home.local.decides());
                // What is not believed any more counts as not known, if an answer of now would be believed for longer than a moment.
                let home = &directory.home;
                let lasts = home.health.get() || home.local.decides();
                let lacks = |seen: Option<&Seen>| seen.is_none_or(|seen| lasts && !home.believes(seen));
                let all = often && lacks(listing.complete.as_ref()) && !listing.large;
                // Of a large one only which names there are, when many were asked for.
                let indexed = listing.index.as_ref().map(|(seen, _)| seen);
                let index = listing.large && lacks(indexed) && listing.misses > INDEX_AFTER;
                if all || index {
                    listing.misses = 0;
                }
                (listing.moved, directory.home.course(), all, index)
            };
            if all && self.list(directory).await.is_ok() {
                continue;
            }
            if index && self.index(directory).await.is_ok() {
                continue;
            }
            let seen = directory.home.seen_now();
            let keys = directory.directory();
            let asking = async {
                self.settle(&directory.home, &[directory.id]).await?;
                directory.home.bucket.lookup_one(&keys, name).await
            };
            let found = match directory.home.health.ask(asking).await {
                Ok(found) => found,
                // Neither can a name that no entry has lead anywhere, nor one in a directory that is gone.
                Err(Error::Invalid { .. }) => return Ok(None),
                Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
                Err(error) if error.is_transient() && round == 1 => {
                    // What is known has to do.
                    directory.home.health.set_offline();
                    match remembered(directory, &directory.listing(), name) {
                        Remembered::Edge(edge) => return Ok(Some(edge)),
                        Remembered::Nothing => return Ok(None),
                        Remembered::No => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            };
            let edge = found.map(|located| self.edge(directory, &located, seen, moves)).transpose()?;
            let mut listing = directory.listing();
            if listing.moved != moved {
                if round < ROUNDS {
                    continue;
                }
                // It changes faster than it can be asked for; what was decided here meanwhile is known all the same.
                return Ok(match remembered(directory, &listing, name) {
                    Remembered::Edge(edge) => Some(edge),
                    Remembered::Nothing => None,
                    Remembered::No => edge,
                });
            }
            let known = edge.clone().map_or(Name::Nothing(seen), Name::Leads);
            listing.names.insert(name.into(), known);
            directory.bound(listing);
            return Ok(edge);
        }
        Err(Errno::EBUSY)
    }

    /// The node of an entry that was opened. `course`: that of the bucket when the server was asked.
    pub(crate) fn edge(
        &self,
        directory: &Arc<Node>,
        located: &Located,
        seen: Seen,
        course: (u64, u64),
    ) -> Result<Edge, Errno> {
        let kind = Kind::from_number(located.entry.kind).map_err(|_| directory.broken("an entry's kind"))?;
        let home = &directory.home;
        let facts_seen = Seen { stale: home.course() != course || home.local.touches(&[located.id]), ..seen };
        let (node, made) = self.table.get_or_make(home.id, located.id, None, |ino| {
            Node::new(ino, Arc::clone(home), located.id, kind, located.key.clone(), &located.inode, facts_seen)
        });
        if !made {
            node.take_located(located, facts_seen);
        }
        // What was committed here since is not in the answer, and was not told to a node that was not there.
        if let Some((version, size)) = home.flights.committed_since(located.id, located.inode.version) {
            lock(&node.facts).take_commit(version, size);
        } else if made && home.course() != course {
            lock(&node.facts).disbelieve();
        }
        if kind == Kind::File
            && made
            && let Some(content) = self.store.existing(home.id, located.id)
        {
            // Written by an earlier run, or before the kernel forgot the file.
            node.note_times(&content);
            lock(&node.file).content = Some(content);
        }
        if matches!(kind, Kind::File | Kind::Directory) {
            lock(&node.file).place = Some((Arc::downgrade(directory), located.name.as_slice().into()));
        }
        Ok(Edge { node, version: located.entry.version, seen })
    }

    /// Makes sure that what is known of an inode is to be believed.
    pub(crate) async fn fresh(&self, node: &Arc<Node>) -> Result<(), Errno> {
        self.keep_key(node).await;
        for _ in 0..ROUNDS {
            let moved = {
                let facts = lock(&node.facts);
                // Attributes that are known to be old are better than none.
                if node.home.believes(&facts.seen) || node.home.health.offline() {
                    return Ok(());
                }
                facts.moved
            };
            let seen = node.home.seen_now();
            let mut asked = match self.ask_inodes(node, &[node.id]).await {
                Err(_) if node.home.health.offline() => return Ok(()),
                asked => asked?,
            };
            let Some(inode) = asked.remove(&node.id) else {
                return self.gone(node);
            };
            let mut facts = lock(&node.facts);
            if facts.moved == moved {
                facts.take(&inode, seen);
                if facts.nlink > 0 {
                    // Before its name can be removed here again.
                    self.has_name(node);
                }
                return Ok(());
            }
        }
        // It changes faster than it can be asked for: what is known is as good as any answer.
        Ok(())
    }

    /// As [`Self::fresh`], for many inodes of a bucket with few calls. Those that are gone stay as they are.
    pub(crate) async fn fresh_many(&self, nodes: &[Arc<Node>]) -> Result<(), Errno> {
        let stale: Vec<(&Arc<Node>, u64)> = nodes
            .iter()
            .filter_map(|node| {
                let facts = lock(&node.facts);
                let is_good = node.home.believes(&facts.seen) || node.home.health.offline();
                (!is_good).then_some((node, facts.moved))
            })
            .collect();
        for part in stale.chunks(INODES_PER_CALL) {
            let Some((first, _)) = part.first() else { continue };
            let ids: Vec<InodeId> = part.iter().map(|(node, _)| node.id).collect();
            let seen = first.home.seen_now();
            let mut inodes = match self.ask_inodes(first, &ids).await {
                Err(_) if first.home.health.offline() => return Ok(()),
                inodes => inodes?,
            };
            for (node, moved) in part {
                let mut facts = lock(&node.facts);
                if let Some(inode) = inodes.remove(&node.id)
                    && facts.moved == *moved
                {
                    facts.take(&inode, seen);
                }
            }
        }
        Ok(())
    }

    async fn ask_inodes(&self, node: &Node, ids: &[InodeId]) -> Result<HashMap<InodeId, pb::Inode>, Errno> {
        let request =
            pb::GetInodesRequest { bucket: bytes_of(node.home.id), ids: ids.iter().copied().map(bytes_of).collect() };
        let asking = async {
            self.settle(&node.home, ids).await?;
            self.client.meta.get_inodes(request).await
        };
        let answer = match node.home.health.ask(asking).await {
            Ok(answer) => answer,
            // The bucket itself is not there any more.
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(HashMap::new()),
            Err(error) => {
                if error.is_transient() {
                    node.home.health.set_offline();
                }
                return Err(error.into());
            }
        };
        let mut inodes = HashMap::with_capacity(answer.inodes.len());
        for inode in answer.inodes {
            let id = InodeId::try_from(&inode.id[..]).map_err(|_| node.broken("the id of an inode"))?;
            inodes.insert(id, inode);
        }
        Ok(inodes)
    }

    /// The server no longer has the inode: open files go on as they were, everything else is over.
    fn gone(&self, node: &Arc<Node>) -> Result<(), Errno> {
        let mut facts = lock(&node.facts);
        facts.nlink = 0;
        let open = lock(&node.file).handles > 0;
        if open { Ok(()) } else { Err(Errno::ESTALE) }
    }

    /// Reads a whole directory. Entries that are not authentic are left out, with an error in the log.
    pub(crate) async fn list(&self, directory: &Arc<Node>) -> Result<Listed, Errno> {
        let mut listed: Vec<(Box<[u8]>, Edge)> = Vec::new();
        self.keep_key(directory).await;
        for _ in 0..ROUNDS {
            let (moved, moves) = {
                let mut listing = directory.listing();
                listing.used = Some(Instant::now());
                if let Some(all) = whole(directory, &listing) {
                    return Ok(all);
                }
                (listing.moved, directory.home.course())
            };
            if let Err(error) = self.settle(&directory.home, &[directory.id]).await {
                if error.is_transient()
                    && let Some(all) = whole(directory, &directory.listing())
                {
                    return Ok(all);
                }
                return Err(error.into());
            }
            let seen = directory.home.seen_now();
            let mut found = Vec::new();
            let mut broken = false;
            let mut reading = directory.home.bucket.read(&directory.directory())?;
            loop {
                match directory.home.health.ask(reading.next_batch()).await {
                    Ok(Some(batch)) => {
                        for located in batch {
                            match located {
                                Ok(located) => found.push(located),
                                Err(error) => {
                                    broken = true;
                                    tracing::error!(%error, directory = %directory.id, "an entry is left out");
                                }
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        if error.is_transient() {
                            directory.home.health.set_offline();
                            if let Some(all) = whole(directory, &directory.listing()) {
                                return Ok(all);
                            }
                        }
                        return Err(error.into());
                    }
                }
            }
            listed.clear();
            for located in &found {
                listed.push((located.name.as_slice().into(), self.edge(directory, located, seen, moves)?));
            }
            let mut listing = directory.listing();
            if listing.moved != moved {
                continue;
            }
            listing.large = listed.len() > KEPT;
            let mut index = NameIndex::default();
            let is_indexed = listing.large && !broken && listed.iter().all(|(name, _)| index.add(name));
            listing.index = is_indexed.then_some((seen, index));
            let known =
                listed.iter().take(KEPT).map(|(name, edge)| (name.clone(), Name::Leads(edge.clone()))).collect();
            let old = std::mem::replace(&mut listing.names, known);
            listing.complete = (!broken && !listing.large).then_some(seen);
            listing.used = Some(Instant::now());
            drop(listing);
            drop(old);
            return Ok(Listed { entries: listed, moved: Some(moved) });
        }
        // It changes all the time: a listing that lies between two states is what every filesystem gives then.
        Ok(Listed { entries: listed, moved: None })
    }

    /// Finds out which names a large directory has.
    async fn index(&self, directory: &Arc<Node>) -> Result<(), Errno> {
        self.settle(&directory.home, &[directory.id]).await?;
        let moved = directory.names_moved();
        let seen = directory.home.seen_now();
        let mut index = NameIndex::default();
        let mut reading = directory.home.bucket.read(&directory.directory())?;
        while let Some(batch) = directory.home.health.ask(reading.next_batch()).await? {
            for located in batch {
                // One that is not authentic could be any.
                if !index.add(&located?.name) {
                    return Err(Errno::ENOSPC);
                }
            }
        }
        let mut listing = directory.listing();
        if listing.moved == moved {
            listing.index = Some((seen, index));
        }
        Ok(())
    }
}

pub(super) enum Remembered {
    Edge(Edge),
    Nothing,
    No,
}

pub(super) fn remembered(directory: &Node, listing: &Listing, name: &[u8]) -> Remembered {
    let home = &directory.home;
    match listing.names.get(name) {
        Some(Name::Leads(edge)) if home.believes(&edge.seen) => Remembered::Edge(edge.clone()),
        Some(Name::Nothing(seen)) if home.believes(seen) => Remembered::Nothing,
        // As it was known last: nobody can say better.
        Some(Name::Unknown(Some(edge))) if home.health.offline() => Remembered::Edge(edge.clone()),
        Some(Name::Unknown(None)) if home.health.offline() && listing.complete.is_some() => Remembered::Nothing,
        None if listing.complete.as_ref().is_some_and(|seen| home.believes(seen)) => Remembered::Nothing,
        None if listing.index.as_ref().is_some_and(|(seen, index)| home.believes(seen) && index.lacks(name)) => {
            Remembered::Nothing
        }
        _ => Remembered::No,
    }
}

/// All entries of a directory, if they are known and to be believed.
pub(super) fn whole(directory: &Node, listing: &Listing) -> Option<Listed> {
    let home = &directory.home;
    listing.complete.as_ref().filter(|seen| home.believes(seen))?;
    let mut entries = Vec::with_capacity(listing.names.len());
    for (name, known) in &listing.names {
        match known {
            Name::Leads(edge) if home.believes(&edge.seen) => entries.push((name.clone(), edge.clone())),
            Name::Nothing(seen) if home.believes(seen) => {}
            Name::Unknown(last) if home.health.offline() => {
                entries.extend(last.iter().map(|edge| (name.clone(), edge.clone())));
            }
            _ => return None,
        }
    }
    Some(Listed { entries, moved: Some(listing.moved) })
}
