//! Changing the tree: one change that is decided here, if this machine alone changes the bucket, or by the server.
//!
//! Times of a change are decided here, so that attributes do not jump when its answer or its echo arrives.

use std::sync::Arc;

use bytes::Bytes;
use cyx_client::meta::fault_error;
use cyx_client::{Error, IntegrityError, Result};
use cyx_core::error::ErrorCode;
use cyx_core::ids::{InodeId, TimeOrdered as _, TxnId};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_proto::meta::v1::operation::Operation as Op;

use super::Inner;
use super::local::note::{Named, Note};
use super::local::{Decided, Turn};
use super::node::{Edge, Name, Node, Opened, lock};
use crate::attributes::Kind;
use crate::content::journal_error;
use crate::journal::{FileId, Room, Watch};

/// How often something is decided again because somebody else was faster.
pub(crate) const DECISIONS: u32 = 16;

/// How often the server is asked again that was away for a moment.
const ATTEMPTS: u32 = 3;

/// What this machine knows of a file that is to lose a name.
pub(crate) struct Known {
    /// Its newest version.
    version: u64,
    /// It has no other name.
    last: bool,
    /// Which later ones are its own.
    watch: Arc<Watch>,
}

/// A change that is to be made.
pub(crate) struct Change {
    pub(crate) operation: Op,
    /// When it was decided.
    pub(crate) stamp: i64,
    /// Sequence numbers that it takes.
    pub(crate) changes: u8,
    /// What was written to this file has to be committed before. Only the machine that decides alone can see to that.
    pub(crate) after: Option<InodeId>,
    /// What is known of the file that loses a name.
    pub(crate) loses: Option<Known>,
    /// What the server was asked for before, and did not answer: it may be done.
    pub(crate) asked: Option<pb::Mutation>,
    /// What gets a name.
    pub(crate) named: Option<Named>,
}

impl Change {
    /// A change that takes one sequence number and waits for nothing.
    pub(crate) fn new(operation: Op, stamp: i64) -> Self {
        Self { operation, stamp, changes: 1, after: None, loses: None, asked: None, named: None }
    }

    /// What is sent. If the same was asked for before, that: one transaction is not done twice.
    fn mutation(&mut self) -> pb::Mutation {
        if let Some(asked) = self.asked.take().filter(|asked| {
            matches!(asked.operations.as_slice(), [pb::Operation { operation: Some(asked) }] if is_same(asked, &self.operation))
        }) {
            return asked;
        }
        let operations = vec![pb::Operation { operation: Some(self.operation.clone()) }];
        pb::Mutation { txn: bytes_of(TxnId::now()), operations, time_ns: Some(self.stamp) }
    }
}

/// What became of a change.
pub(crate) enum Applied {
    /// It is decided here.
    Here,
    /// The server did it, and says what is there now.
    There(Vec<pb::OperationResult>),
}

/// Two removals or renames of the same inode from the same name, to the same name, of the same that is there.
fn is_same(one: &Op, other: &Op) -> bool {
    let child = |expected: &Option<pb::Expected>| expected.as_ref().map(|expected| expected.child.clone());
    match (one, other) {
        (Op::Unlink(one), Op::Unlink(other)) => {
            let plain = |unlink: &pb::Unlink| pb::Unlink { expected: None, ..unlink.clone() };
            plain(one) == plain(other) && child(&one.expected) == child(&other.expected)
        }
        (Op::Rename(one), Op::Rename(other)) => {
            // Keys are wrapped anew each time.
            let plain = |rename: &pb::Rename| pb::Rename {
                expected: None,
                replaced: None,
                new_wrapped_key: Bytes::new(),
                exchanged_wrapped_key: Bytes::new(),
                ..rename.clone()
            };
            plain(one) == plain(other)
                && child(&one.expected) == child(&other.expected)
                && child(&one.replaced) == child(&other.replaced)
        }
        _ => false,
    }
}

/// Somebody else was faster: what is there now decides.
pub(crate) fn decide_again(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Retry | ErrorCode::StaleKey)
}

/// What an operation on an entry expects to find.
pub(crate) fn expected(edge: &Edge) -> pb::Expected {
    pb::Expected { child: bytes_of(edge.node.id), entry_version: edge.version }
}

impl Inner {
    /// What is known here of a file, for a change by which it loses a name: when that is sent, others may have written to it.
    pub(crate) fn known_of(&self, node: &Node, turn: Turn) -> Option<Known> {
        if node.kind != Kind::File || !turn.is_here() {
            return None;
        }
        // Watched before: a commit that ends in between is among those that are known, or among those that are remembered.
        let watch = Arc::new(self.store.journal().watch(FileId { bucket: node.home.id, inode: node.id }));
        let content = self.content_if_any(node).and_then(|content| content.version());
        let version = lock(&node.facts).version.max(content.map_or(0, |known| known.version));
        Some(Known { version, last: lock(&node.facts).nlink <= 1, watch })
    }

    /// Makes a change: here, if it is this machine's turn, else there. `asked` is what the server was asked for in vain, if it is to be decided
    /// again without it.
    pub(crate) async fn apply(
        &self,
        home: &Opened,
        turn: Turn,
        mut change: Change,
        asked: &mut Option<pb::Mutation>,
    ) -> Result<Applied> {
        // Of these the server would find out more than is looked at for its sake.
        let is_judged = matches!(change.operation, Op::Unlink(_) | Op::Rename(_));
        let mutation = change.mutation();
        let Change { changes, after, loses, named, .. } = change;
        let (known, last) = (loses.as_ref().map(|known| known.version), loses.as_ref().is_some_and(|known| known.last));
        let note = Note { bucket: home.id, mutation: mutation.clone(), changes, after, known, last, named };
        let watch = loses.map(|known| known.watch);
        if turn.is_here() && self.decide(home, turn, &note, watch.as_ref()).await? {
            return Ok(Applied::Here);
        }
        let again =
            |message: &str| Error::Server { code: ErrorCode::Retry, message: message.to_owned(), request_id: None };
        if after.is_some() {
            // Its turn is over: what has to be committed before has to be looked at again.
            return Err(again("somebody else wants to write"));
        }
        let mut attempts = 0;
        let (answer, flight) = loop {
            attempts += 1;
            let flight = home.flights.begin();
            let asking = async {
                self.send_before(home, &mutation).await?;
                loop {
                    if let Some(answer) = self.call(home, vec![mutation.clone()]).await? {
                        return Ok::<_, Error>(answer);
                    }
                }
            };
            match asking.await {
                Ok(answer) => break (answer, flight),
                Err(error) if error.is_transient() && home.health.offline() => {
                    drop(flight);
                    let turn = home.local.turn();
                    if is_judged && turn.is_here() {
                        *asked = Some(mutation);
                        return Err(again("the server is away"));
                    }
                    // The same transaction: should it have arrived after all, it is not done twice.
                    if self.decide(home, turn, &note, watch.as_ref()).await? {
                        return Ok(Applied::Here);
                    }
                    if attempts >= ATTEMPTS {
                        return Err(error);
                    }
                    // It is back.
                }
                Err(error) => return Err(error),
            }
        };
        let mut results = answer.results;
        let result = results.pop().ok_or(IntegrityError::Mismatch("a mutation has no result"))?;
        if let Some(fault) = &result.fault {
            let error = fault_error(fault);
            if error.code() == ErrorCode::StaleKey {
                home.doubt_keys();
            }
            return Err(error);
        }
        // The number is that of the present, which is not that of the change if an earlier answer is repeated.
        if !result.replayed {
            home.flights.made(answer.sequence, u64::from(changes));
        }
        drop(flight);
        Ok(Applied::There(result.operations))
    }

    /// Decides a change here. False if its turn is over.
    async fn decide(&self, home: &Opened, turn: Turn, note: &Note, watch: Option<&Arc<Watch>>) -> Result<bool> {
        let journal = self.store.journal();
        let record = note.record();
        let hold = |inode| {
            if let Some(content) = self.store.existing(home.id, inode) {
                content.hold();
            }
        };
        let decided = journal.with_room(|| {
            let decided = home.local.decide(
                turn,
                note.clone(),
                watch.cloned(),
                || journal.offer_to(Room::Small, &record),
                hold,
            )?;
            Ok(match decided {
                Decided::Here => Some(true),
                Decided::Late => Some(false),
                Decided::Full => None,
            })
        });
        decided.await.map_err(journal_error)
    }
}

impl Node {
    /// A name in this directory leads to an inode now, by a change of this machine. `moved`: where the counter stood before; what
    /// was heard since may be newer than the answer.
    pub(crate) fn set_name(self: &Arc<Self>, name: &[u8], node: &Arc<Node>, version: u64, moved: u64) {
        let seen = self.home.seen_now();
        let edge = Edge { node: Arc::clone(node), version, seen };
        let mut listing = self.listing();
        let known = if listing.moved == moved { Name::Leads(edge) } else { Name::Unknown(Some(edge)) };
        listing.moved += 1;
        listing.add_to_index(name);
        let old = listing.names.insert(name.into(), known);
        self.bound(listing);
        drop(old);
        lock(&node.file).place = Some((Arc::downgrade(self), name.into()));
    }

    /// For sure a name in this directory leads to an inode.
    pub(crate) fn leads(&self, name: &[u8], node: &Arc<Self>) -> bool {
        match self.listing().names.get(name) {
            Some(Name::Leads(edge)) => edge.node.id == node.id && self.home.believes(&edge.seen),
            _ => false,
        }
    }

    /// A name in this directory leads nowhere now, by a change of this machine. `moved` as for [`Self::set_name`].
    pub(crate) fn drop_name(&self, name: &[u8], moved: u64) {
        let seen = self.home.seen_now();
        let mut listing = self.listing();
        let unheard = listing.moved == moved;
        listing.moved += 1;
        let known = if !unheard {
            listing.names.insert(name.into(), Name::Unknown(None))
        } else if listing.complete.is_some() {
            listing.names.remove(name)
        } else {
            listing.names.insert(name.into(), Name::Nothing(seen))
        };
        self.bound(listing);
        drop(known);
    }

    /// What is known of a name is wrong. Without the server nothing better is to be had; once it is back, it tells.
    pub(crate) fn doubt_name(&self, name: &[u8]) {
        if self.home.health.offline() {
            return;
        }
        let mut listing = self.listing();
        listing.doubt(name);
        self.bound(listing);
    }

    /// Somebody else changed where a name leads.
    pub(crate) fn disbelieve_name(&self, name: &[u8]) {
        let mut listing = self.listing();
        listing.disbelieve(name);
        self.bound(listing);
    }

    /// Its attributes were changed here.
    pub(crate) fn attributes_changed(&self, change: &pb::SetAttributes) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        let attributes = &mut facts.attributes;
        attributes.mode = change.mode.unwrap_or(attributes.mode);
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.mtime_ns = change.mtime_ns.unwrap_or(attributes.mtime_ns);
        attributes.atime_ns = change.atime_ns.unwrap_or(attributes.atime_ns);
        attributes.ctime_ns = change.ctime_ns.unwrap_or(attributes.ctime_ns);
    }

    /// Its extended attributes were changed here.
    pub(crate) fn meta_changed(&self, sealed: Bytes, stamp: i64) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        facts.sealed_meta = sealed;
        facts.meta_version += 1;
        facts.xattrs = None;
        facts.attributes.ctime_ns = stamp;
    }

    /// It got another name here.
    pub(crate) fn gain_link(&self, stamp: i64) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        facts.nlink = facts.nlink.saturating_add(1);
        facts.attributes.ctime_ns = stamp;
    }

    /// Its name was changed here.
    pub(crate) fn name_changed(&self, stamp: i64) {
        let mut facts = lock(&self.facts);
        facts.moved += 1;
        facts.attributes.ctime_ns = stamp;
    }
}
