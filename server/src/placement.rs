//! Where new shards go, and who may store and read them.
//!
//! Placements are leased, not computed per file: a client gets ordered nodes with a store grant for each, an allowance and an end, and
//! uses them for many segments. The same few placements serve everybody, so that rows stay few and so that there are few sets of
//! nodes whose common failure hurts.
//!
//! | file | what it does |
//! |---|---|
//! | [`choice`] | chooses nodes: weights, diversity, regions |
//! | [`pool`] | the placements in use, and when a new one is made |
//! | [`rows`] | placements and leases in the database |
//! | [`lease`] | handing out, consuming and releasing leases |
//! | [`grants`] | signing grants; read access |
//! | [`cluster`] | what users see of the network |

pub mod choice;
pub mod cluster;
pub mod grants;
pub mod lease;
pub mod pool;
pub mod rows;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cyx_core::ids::{NodeId, PlacementId};
use cyx_core::scheme::Scheme;

pub use self::grants::{ReadFrom, ReaderOf};
pub use self::lease::{LeaseError, LeaseRequest, Session};
pub use self::rows::{IDLE_SECONDS, Lease, consume, nodes, pending_bytes};

use self::choice::Diversity;
use self::grants::ReadGrants;
use self::pool::Pool;
use crate::db::{Db, DbError};
use crate::keys::ServerKeys;
use crate::nodes::{NetworkOptions, Registry};

/// Ordered nodes for the shards of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its id.
    pub id: PlacementId,
    /// The scheme of its segments.
    pub scheme: Scheme,
    /// Node of shard i. At least as many as the scheme's write quorum; the shards behind the last one have no node.
    pub nodes: Vec<NodeId>,
}

/// Hands out placements and access to nodes.
pub struct Placements {
    db: Db,
    keys: Arc<ServerKeys>,
    registry: Registry,
    options: NetworkOptions,
    pool: Mutex<Pool>,
    reads: Mutex<ReadGrants>,
}

impl Placements {
    /// Loads the placements in use.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn load(
        db: Db,
        keys: Arc<ServerKeys>,
        registry: Registry,
        options: NetworkOptions,
    ) -> Result<Self, DbError> {
        let open = rows::load_open(&mut *db.read().await?).await?;
        let (pool, reads) = (Mutex::new(Pool::new(open)), Mutex::new(ReadGrants::default()));
        Ok(Self { db, keys, registry, options, pool, reads })
    }

    /// Whether nodes that are likely to fail together may hold shards of one segment.
    #[must_use]
    pub const fn diversity(&self) -> Diversity {
        if self.options.allow_colocated { Diversity::Colocated } else { Diversity::Apart }
    }

    /// Takes a placement into use that is in the database already.
    pub fn adopt(&self, placement: Placement) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).add(Arc::new(placement));
    }

    /// Takes all placements out of use that name one of these nodes; which they were.
    pub fn close_those_of(&self, nodes: &HashSet<NodeId>) -> Vec<PlacementId> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.close(|placement| placement.nodes.iter().any(|node| nodes.contains(node)))
    }
}
