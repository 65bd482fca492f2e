//! Content in both directions: seal, code and place; fetch, verify, decode and open.
//!
//! A [`Transfer`] owns what all transfers of a program share: connections to nodes, memory, coders. [`Transfer::uploads`]
//! begins uploads into a bucket. One upload can be read in this order:
//!
//! | file | what it does |
//! |---|---|
//! | [`tuning`] | sizes and times |
//! | [`budget`] | memory by permits |
//! | [`source`] | plain bytes into a segment's buffer |
//! | [`upload`] | cuts, seals and sends a source, segment by segment |
//! | [`coded`] | shards and hashes of a segment |
//! | [`lease`] | the right to put segments on nodes |
//! | [`place`] | one segment onto its nodes, with spares and a quorum |
//! | [`content`] | what is stored and not committed yet |
//! | [`put`], [`pack`] | commits: one file of any size, many small ones |
//! | [`patch`] | commits that change parts of files and keep the rest |
//! | [`across`] | copies from one bucket to another |
//! | [`resume`], [`journal`] | an interrupted upload goes on |
//!
//! [`progress`] is what both tell while they run; [`outage`] waits while hardly any node can be reached.
//!
//! And one download in this: [`reader`] (a verified version, ranges of it), [`fetch`] (a range of a segment, late and dead nodes
//! left behind), [`liar`] (who sent wrong bytes), [`download`] (everything in order), [`save`] (into the
//! local filesystem, [`direct`] past its cache). [`health`] asks nodes whether all of it is still there, [`verify`] has them prove it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyx_core::erasure::Coder;
use cyx_core::scheme::Scheme;

pub(crate) mod across;
pub(crate) mod budget;
pub(crate) mod coded;
pub mod content;
pub(crate) mod direct;
pub mod download;
pub(crate) mod fetch;
pub mod health;
pub(crate) mod journal;
pub(crate) mod lease;
pub(crate) mod liar;
pub(crate) mod outage;
pub mod pack;
pub mod patch;
pub(crate) mod place;
pub mod progress;
pub mod put;
pub mod reader;
pub(crate) mod resume;
pub mod save;
pub mod source;
pub mod tuning;
pub mod upload;
pub mod verify;

pub use content::SegmentOutcome;
pub use health::FileHealth;
pub use pack::SmallFile;
pub use patch::{Ahead, OnItsWay, Patch, Patched, Patches, PlainSource, Shared as SharedRange, WriteLease};
pub use progress::{FileOutcome, Progress, Silent};
pub use put::{Condition, OnConflict, Place, Put, PutOptions};
pub use reader::{FileReader, FrameCache, KnownVersion};
pub use save::SaveOptions;
pub use source::Source;
pub use tuning::Tuning;
pub use upload::Uploads;
pub use verify::{Depth, FileVerified, Verifier};

use crate::client::Client;
use crate::nodes::{NodePool, SessionProof};
use crate::tree::types::Bucket;
use budget::Budget;
use coded::Coders;
use outage::Outage;

/// The transfer engine. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
}

struct Shared {
    pool: NodePool,
    budget: Budget,
    reserve: Budget,
    coders: Coders,
    tuning: Tuning,
    outage: Outage,
    home: Option<PathBuf>,
    cache: Option<Arc<dyn FrameCache>>,
}

impl Transfer {
    /// An engine for a client. `home` is the folder of the program's private files, in which interrupted transfers are
    /// remembered; without one nothing is resumed.
    #[must_use]
    pub fn new(client: &Client, home: Option<&Path>, tuning: Tuning) -> Self {
        Self::with_session(Arc::<crate::session::Session>::clone(&client.session), home, tuning)
    }

    /// As [`Self::new`], with a cache of sealed frames that everything which is read and written goes through.
    #[must_use]
    pub fn with_cache(client: &Client, home: Option<&Path>, tuning: Tuning, cache: Arc<dyn FrameCache>) -> Self {
        Self::make(Arc::<crate::session::Session>::clone(&client.session), home, tuning, Some(cache))
    }

    /// An engine for whoever proves a session.
    pub(crate) fn with_session(session: Arc<dyn SessionProof>, home: Option<&Path>, tuning: Tuning) -> Self {
        Self::make(session, home, tuning, None)
    }

    fn make(
        session: Arc<dyn SessionProof>,
        home: Option<&Path>,
        tuning: Tuning,
        cache: Option<Arc<dyn FrameCache>>,
    ) -> Self {
        let shared = Shared {
            pool: NodePool::new(session, tuning.patience),
            budget: Budget::new(tuning.memory),
            reserve: Budget::new(tuning.reserve),
            coders: Coders::default(),
            tuning,
            outage: Outage::default(),
            home: home.map(Path::to_owned),
            cache,
        };
        Self { shared: Arc::new(shared) }
    }

    /// An engine with memory of its own, that shares connections and what is known about nodes.
    pub(crate) fn beside(&self, tuning: Tuning) -> Self {
        let shared = Shared {
            pool: self.shared.pool.clone(),
            budget: Budget::new(tuning.memory),
            reserve: Budget::new(tuning.reserve),
            coders: Coders::default(),
            tuning,
            outage: Outage::default(),
            home: self.shared.home.clone(),
            cache: self.shared.cache.clone(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins uploads into a bucket.
    #[must_use]
    pub fn uploads(&self, bucket: &Bucket) -> Uploads {
        Uploads::new(self, bucket)
    }

    /// The connections to storage nodes.
    #[must_use]
    pub fn pool(&self) -> &NodePool {
        &self.shared.pool
    }

    /// Sizes and times.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.shared.tuning
    }

    pub(crate) fn outage(&self) -> &Outage {
        &self.shared.outage
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// Memory for what degraded reads need beside what they read.
    pub(crate) fn reserve(&self) -> &Budget {
        &self.shared.reserve
    }

    pub(crate) fn coder(&self, scheme: Scheme) -> Arc<Coder> {
        self.shared.coders.get(scheme)
    }

    pub(crate) fn cache(&self) -> Option<&Arc<dyn FrameCache>> {
        self.shared.cache.as_ref()
    }

    pub(crate) fn home(&self) -> Option<&Path> {
        self.shared.home.as_deref()
    }
}
