//! A node with all that is needed to talk to it, checked once when the server names it.

use bytes::Bytes;
use cyx_core::grant::{CLOCK_SKEW_SECONDS, Grant};
use cyx_core::ids::{BucketTag, GrantId, NodeId};
use cyx_core::units::RECEIPT_LIFETIME_SECONDS;
use cyx_proto::convert::{self, InvalidField, array};
use cyx_proto::meta::v1 as pb;

use super::{NodeError, Problem};

/// A storage node, where it is, and what this client may do there.
#[derive(Clone, Debug)]
pub struct NodeAccess {
    /// The node.
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
    /// Its Ed25519 key, to which TLS is pinned and with which it signs receipts.
    pub public_key: [u8; 32],
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The server's grant for it, if it gave one.
    pub grant: Option<AccessGrant>,
    /// Whether the server believes that it is alive.
    pub alive: bool,
}

/// A grant as the server issued it.
#[derive(Clone, Debug)]
pub struct AccessGrant {
    /// The signed bytes, for the node.
    pub bytes: Bytes,
    /// Its id, which receipts repeat.
    pub id: GrantId,
    /// First Unix second of its life.
    pub not_before: u64,
    /// Unix second at which it ends.
    pub expires: u64,
    /// Most bytes that may be moved under it.
    pub allowance: u64,
    /// What this node knows the bucket by.
    pub tag: BucketTag,
}

/// Longest address that is believed, a DNS name with a port and then some.
const ADDRESS_MAX: usize = 280;

impl TryFrom<pb::NodeAccess> for NodeAccess {
    type Error = InvalidField;

    fn try_from(access: pb::NodeAccess) -> Result<Self, InvalidField> {
        let public_key = array(&access.public_key, "node.public_key")?;
        let node: NodeId = convert::id(&access.node, "node.node")?;
        if node != NodeId::from_public_key(&public_key) {
            return Err(InvalidField { field: "node.public_key" });
        }
        if access.address.is_empty() || access.address.len() > ADDRESS_MAX {
            return Err(InvalidField { field: "node.address" });
        }
        let grant = if access.grant.is_empty() {
            None
        } else {
            let read = Grant::read_unchecked(&access.grant).map_err(|_| InvalidField { field: "node.grant" })?;
            if read.node != node {
                return Err(InvalidField { field: "node.grant" });
            }
            let tag = convert::id(&access.bucket_tag, "node.bucket_tag")?;
            let Grant { id, not_before, expires, allowance, .. } = read;
            Some(AccessGrant { bytes: access.grant, id, not_before, expires, allowance, tag })
        };
        Ok(Self { node, address: access.address, public_key, tls: access.tls, grant, alive: access.alive })
    }
}

impl AccessGrant {
    /// Whether a receipt of this time can ever be taken by the server, which takes what was stored under the grant for as long as
    /// receipts live, and no receipt that is older than that or of a time to come. This client's own clock does not matter.
    pub(super) const fn may_have_receipt_of(&self, issued: u64) -> bool {
        let last = self.expires.saturating_add(RECEIPT_LIFETIME_SECONDS).saturating_add(CLOCK_SKEW_SECONDS);
        issued.saturating_add(RECEIPT_LIFETIME_SECONDS) >= self.not_before && issued <= last
    }
}

impl NodeAccess {
    /// The grant.
    ///
    /// # Errors
    /// [`Problem::NoGrant`] if the server gave none.
    pub fn grant(&self) -> Result<&AccessGrant, Problem> {
        self.grant.as_ref().ok_or(Problem::NoGrant)
    }

    /// An error of this node.
    #[must_use]
    pub fn error(&self, problem: Problem) -> NodeError {
        NodeError { node: self.node, address: self.address.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_of_a_time_at_which_a_server_may_take_them() {
        let (id, tag) = (GrantId([1; 16]), BucketTag([2; 16]));
        let grant = AccessGrant { bytes: Bytes::new(), id, not_before: 200_000, expires: 203_600, allowance: 1, tag };
        let day = 24 * 3600;
        for (issued, may) in [
            (0, false),
            (200_000 - day - 1, false),
            (200_000 - day, true),
            (203_600 + day + 120, true),
            (203_600 + day + 121, false),
            (u64::MAX, false),
        ] {
            assert_eq!(grant.may_have_receipt_of(issued), may, "{issued}");
        }
    }

    #[test]
    fn a_key_that_does_not_make_the_id_is_refused() {
        let access = pb::NodeAccess {
            node: Bytes::copy_from_slice(&NodeId::from_public_key(&[1; 32]).0),
            address: "127.0.0.1:1".to_owned(),
            public_key: Bytes::copy_from_slice(&[1; 32]),
            ..Default::default()
        };
        assert!(NodeAccess::try_from(access.clone()).is_ok());
        let other = pb::NodeAccess { public_key: Bytes::copy_from_slice(&[2; 32]), ..access.clone() };
        assert_eq!(NodeAccess::try_from(other).unwrap_err().field, "node.public_key");
        let nonsense = pb::NodeAccess { grant: Bytes::from_static(b"grant"), ..access };
        assert_eq!(NodeAccess::try_from(nonsense).unwrap_err().field, "node.grant");
    }
}
