//! A task as the server describes it, checked before anything is done about it.

use cyx_core::chunk::Root;
use cyx_core::grant::Grant;
use cyx_core::ids::{BucketTag, ChunkId, NodeId, TaskId};
use cyx_core::scheme::Scheme;
use cyx_core::units::CHUNK_MAX;
use cyx_proto::convert::{self, InvalidField};
use cyx_proto::node::v1 as pb;

use super::peer::Peer;

/// Longest address that is believed, a DNS name with a port and then some.
const ADDRESS_MAX: usize = 280;
/// Most peers of one answer.
const PEERS_MAX: usize = 1024;

/// A chunk to make.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// How its segment is coded; `None`: the one source has the same bytes.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) shard: u8,
    pub(crate) chunk: ChunkId,
    /// Of the chunk and of every source.
    pub(crate) length: u64,
    pub(crate) root: Root,
    pub(crate) tag: BucketTag,
    pub(crate) sources: Vec<Source>,
}

/// A chunk that it may be made from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) peer: Peer,
    pub(crate) shard: u8,
    pub(crate) chunk: ChunkId,
    pub(crate) root: Root,
    pub(crate) tag: BucketTag,
}

impl Task {
    /// How many sources it needs.
    pub(crate) fn needed(&self) -> usize {
        self.scheme.map_or(1, Scheme::k)
    }

    /// Checks a task of an answer with these peers.
    ///
    /// # Errors
    /// [`InvalidField`].
    pub(crate) fn check(task: &pb::Task, peers: &[Peer]) -> Result<Self, InvalidField> {
        let invalid = |field| InvalidField { field };
        let scheme = Scheme::new(task.k, task.m).map_err(|_| invalid("task.k"))?;
        let coded = match task.kind() {
            pb::task::Kind::Rebuild => Some(scheme),
            pb::task::Kind::Copy => None,
            pb::task::Kind::Unspecified => return Err(invalid("task.kind")),
        };
        let shard = |value: u32, field| {
            let shard = u8::try_from(value).ok().filter(|shard| usize::from(*shard) < scheme.n());
            shard.ok_or(invalid(field))
        };
        let length = u64::from(task.length);
        if length == 0 || length > CHUNK_MAX {
            return Err(invalid("task.length"));
        }
        if task.sources.len() > scheme.n() {
            return Err(invalid("task.sources"));
        }
        let sources = task.sources.iter().map(|source| {
            let peer = usize::try_from(source.peer).ok().and_then(|peer| peers.get(peer));
            Ok(Source {
                peer: peer.cloned().ok_or(invalid("source.peer"))?,
                shard: shard(source.shard, "source.shard")?,
                chunk: convert::id(&source.chunk_id, "source.chunk_id")?,
                root: convert::array(&source.root, "source.root")?,
                tag: convert::id(&source.bucket_tag, "source.bucket_tag")?,
            })
        });
        let sources: Vec<Source> = sources.collect::<Result<_, InvalidField>>()?;
        let checked = Self {
            id: convert::id(&task.task_id, "task.task_id")?,
            scheme: coded,
            shard: shard(task.shard, "task.shard")?,
            chunk: convert::id(&task.chunk_id, "task.chunk_id")?,
            length,
            root: convert::array(&task.root, "task.root")?,
            tag: convert::id(&task.bucket_tag, "task.bucket_tag")?,
            sources,
        };
        let mut shards: Vec<u8> = checked.sources.iter().map(|source| source.shard).collect();
        shards.sort_unstable();
        let twice = shards.windows(2).any(|pair| pair[0] == pair[1]);
        let of_itself = coded.is_some() && shards.contains(&checked.shard);
        if twice || of_itself || checked.sources.len() < checked.needed() {
            return Err(invalid("task.sources"));
        }
        Ok(checked)
    }
}

/// Checks the peers of an answer to the node with this key.
///
/// # Errors
/// [`InvalidField`].
pub(crate) fn peers(peers: &[pb::Peer], own_key: &[u8; 32]) -> Result<Vec<Peer>, InvalidField> {
    let invalid = |field| InvalidField { field };
    if peers.len() > PEERS_MAX {
        return Err(invalid("peers"));
    }
    let check = |peer: &pb::Peer| {
        let public_key = convert::array(&peer.public_key, "peer.public_key")?;
        let node: NodeId = convert::id(&peer.node, "peer.node")?;
        if node != NodeId::from_public_key(&public_key) {
            return Err(invalid("peer.public_key"));
        }
        if peer.address.is_empty() || peer.address.len() > ADDRESS_MAX {
            return Err(invalid("peer.address"));
        }
        let grant = Grant::read_unchecked(&peer.grant).map_err(|_| invalid("peer.grant"))?;
        if grant.node != node || grant.session_key != *own_key {
            return Err(invalid("peer.grant"));
        }
        Ok(Peer {
            node,
            address: peer.address.clone(),
            public_key,
            tls: peer.tls,
            grant: peer.grant.clone(),
            grant_id: grant.id,
            allowance: grant.allowance,
        })
    };
    peers.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cyx_core::grant::Operations;
    use cyx_core::ids::{GrantId, KeyId};
    use ed25519_dalek::SigningKey;

    use super::*;

    const OWN: [u8; 32] = [7; 32];

    fn peer(number: u8) -> pb::Peer {
        let public_key = [number; 32];
        let node = NodeId::from_public_key(&public_key);
        let grant = Grant {
            key: KeyId([0; 16]),
            id: GrantId([number; 16]),
            node,
            session_key: OWN,
            operations: Operations::READ,
            allowance: 1000,
            not_before: 0,
            expires: 1,
            tags: vec![],
        };
        pb::Peer {
            node: node.to_vec().into(),
            address: "127.0.0.1:1".to_owned(),
            public_key: Bytes::copy_from_slice(&public_key),
            tls: false,
            grant: grant.sign(&SigningKey::from_bytes(&[1; 32])).into(),
        }
    }

    fn task(kind: pb::task::Kind) -> pb::Task {
        let source = |shard: u32| pb::Source {
            peer: shard % 3,
            shard,
            chunk_id: vec![1; 16].into(),
            root: vec![2; 32].into(),
            bucket_tag: vec![3; 16].into(),
        };
        let shards = if kind == pb::task::Kind::Copy { 2..3 } else { 0..2 };
        pb::Task {
            task_id: vec![4; 16].into(),
            kind: kind.into(),
            k: 2,
            m: 1,
            shard: 2,
            chunk_id: vec![5; 16].into(),
            length: 100,
            root: vec![6; 32].into(),
            bucket_tag: vec![7; 16].into(),
            sources: shards.map(source).collect(),
            deadline: 9,
        }
    }

    #[test]
    fn only_tasks_that_can_be_done_are_taken() {
        let peers = peers(&[peer(1), peer(2), peer(3)], &OWN).unwrap();
        let (rebuild, copy) = (task(pb::task::Kind::Rebuild), task(pb::task::Kind::Copy));
        assert_eq!(Task::check(&rebuild, &peers).unwrap().needed(), 2);
        assert_eq!(Task::check(&copy, &peers).unwrap().needed(), 1);
        let refused = |change: &dyn Fn(&mut pb::Task)| {
            let mut changed = rebuild.clone();
            change(&mut changed);
            Task::check(&changed, &peers).unwrap_err().field
        };
        assert_eq!(refused(&|task| task.kind = 0), "task.kind");
        assert_eq!(refused(&|task| task.k = 0), "task.k");
        assert_eq!(refused(&|task| task.shard = 3), "task.shard");
        assert_eq!(refused(&|task| task.length = 0), "task.length");
        assert_eq!(refused(&|task| task.length = u32::MAX), "task.length");
        assert_eq!(refused(&|task| task.sources.truncate(1)), "task.sources");
        assert_eq!(refused(&|task| task.sources[1].shard = 0), "task.sources");
        assert_eq!(refused(&|task| task.sources[1].shard = 2), "task.sources");
        assert_eq!(refused(&|task| task.sources[1].peer = 3), "source.peer");
        assert_eq!(refused(&|task| task.root = vec![1; 31].into()), "task.root");
    }

    #[test]
    fn peers_are_who_the_server_says_and_grants_are_for_this_node() {
        assert_eq!(peers(&[peer(1)], &[8; 32]).unwrap_err().field, "peer.grant");
        let other_key = pb::Peer { public_key: vec![9; 32].into(), ..peer(1) };
        assert_eq!(peers(&[other_key], &OWN).unwrap_err().field, "peer.public_key");
        let other_grant = pb::Peer { grant: peer(2).grant, ..peer(1) };
        assert_eq!(peers(&[other_grant], &OWN).unwrap_err().field, "peer.grant");
        let nowhere = pb::Peer { address: String::new(), ..peer(1) };
        assert_eq!(peers(&[nowhere], &OWN).unwrap_err().field, "peer.address");
    }
}
