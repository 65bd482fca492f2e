//! Keys that their bucket's owner replaces while it is mounted.
//!
//! What is sealed under an older key is read as before. For what is new the newest key is needed: of whatever an event says that its
//! key was replaced, it is asked for before the next use; and if the server refuses a change because of an older key, of everything
//! that is used after that.

use std::sync::Arc;

use super::Inner;
use super::node::{Node, lock};

impl Inner {
    /// Gets the newest key of an inode if the one that is known may be another. If that does not work now, the server will say so.
    pub(crate) async fn keep_key(&self, node: &Arc<Node>) {
        if !node.doubts_key() {
            return;
        }
        let level = node.key_level();
        match node.home.health.ask(node.home.bucket.renewed_key(node.id)).await {
            Ok((key, history)) => {
                lock(&node.facts).take_key(&key, &history);
                node.trust_key(level);
            }
            // Nothing leads to it, or not yet: nobody replaces its key.
            Err(error) if error.code() == cyx_core::error::ErrorCode::NotFound => node.trust_key(level),
            Err(error) => tracing::debug!(%error, inode = %node.id, "the newest key is not known"),
        }
    }
}
