//! What gets another name than it was to have. Changes behind it that were decided on the old name are about the new one: what was removed again
//! here is removed, what was renamed gets its name, and what was saved over it takes its place.

use bytes::Bytes;
use cyx_client::tree::names::DirectoryKeys;
use cyx_core::ids::InodeId;
use cyx_proto::meta::v1 as pb;
use pb::operation::Operation as Op;

use super::State;
use super::note::operation_of;
use super::refused::instead_of;

/// A name of an inode.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Link {
    child: Bytes,
    directory: Bytes,
    names: Vec<pb::NameToken>,
}

impl Link {
    fn new(child: &Bytes, directory: &Bytes, names: &[pb::NameToken]) -> Self {
        Self { child: child.clone(), directory: directory.clone(), names: names.to_vec() }
    }

    /// The name that an inode gets by a change.
    pub(super) fn made_by(mutation: &pb::Mutation) -> Option<Self> {
        match operation_of(mutation)? {
            Op::Create(create) => Some(Self::new(&create.inode, &create.directory, &create.names)),
            Op::Link(link) => Some(Self::new(&link.inode, &link.directory, &link.names)),
            Op::Rename(rename) if !rename.exchange => {
                Some(Self::new(&rename.expected.as_ref()?.child, &rename.new_directory, &rename.new_names))
            }
            _ => None,
        }
    }

    fn is(&self, expected: Option<&pb::Expected>, directory: &Bytes, names: &[pb::NameToken]) -> bool {
        expected.is_some_and(|expected| expected.child == self.child)
            && *directory == self.directory
            && names.iter().any(|name| self.names.contains(name))
    }
}

impl State {
    /// From this place on, changes of the one name are about the other one, of a directory with these keys.
    pub(super) fn redirect(&mut self, first: usize, before: &Link, now: &Link, keys: Option<&DirectoryKeys>) {
        for place in first..self.queue.len() {
            let Some(item) = self.queue.get_mut(place) else { return };
            let (directory, names) = (now.directory.clone(), now.names.clone());
            let operation = match operation_of(&item.mutation) {
                Some(Op::Unlink(unlink)) if before.is(unlink.expected.as_ref(), &unlink.directory, &unlink.names) => {
                    Op::Unlink(pb::Unlink { directory, names, ..unlink.clone() })
                }
                Some(Op::Rename(rename)) if before.is(rename.expected.as_ref(), &rename.directory, &rename.names) => {
                    if rename.exchange {
                        return;
                    }
                    item.redirected = true;
                    Op::Rename(pb::Rename { directory, names, ..rename.clone() })
                }
                Some(Op::Rename(rename))
                    if before.is(rename.replaced.as_ref(), &rename.new_directory, &rename.new_names) =>
                {
                    let wrapped = item.named.as_ref().zip(keys).and_then(|(moved, keys)| {
                        let child = InodeId::try_from(&rename.expected.as_ref()?.child[..]).ok()?;
                        keys.wrap(&names, child, moved.kind, &moved.key).ok()
                    });
                    // It gets a name of its own then.
                    let Some(wrapped) = wrapped else { return };
                    let new_wrapped_key = Bytes::from(wrapped);
                    Op::Rename(pb::Rename {
                        new_directory: directory,
                        new_names: names,
                        new_wrapped_key,
                        ..rename.clone()
                    })
                }
                _ => continue,
            };
            let is_over = matches!(&operation, Op::Unlink(_));
            let moved = matches!(&operation, Op::Rename(rename) if rename.names == now.names);
            let mutation = instead_of(&item.mutation, operation);
            self.exchange_mutation(place, mutation);
            if is_over || moved {
                // The name is free from there on.
                return;
            }
            if let Some(taken) = self.queue.get(place).and_then(|item| Link::made_by(&item.mutation)) {
                // Another one has it now.
                let old = Link { child: taken.child.clone(), ..before.clone() };
                return self.redirect(place + 1, &old, &taken, keys);
            }
        }
    }
}
