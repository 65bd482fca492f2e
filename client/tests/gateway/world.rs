//! A gateway, a person who is logged in, and a bucket.

use cyx_client::{Bucket, Client, TreePath};
use tempfile::TempDir;

use super::Gateway;

pub struct World {
    pub gateway: Gateway,
    pub home: TempDir,
    pub client: Client,
    pub bucket: Bucket,
}

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

impl World {
    /// The bucket `photos` is empty.
    pub async fn new() -> Self {
        let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
        let client = gateway.client(home.path()).await;
        let bucket = client.create_bucket("photos", false).await.unwrap();
        Self { gateway, home, client, bucket }
    }

    /// Another process of the same home folder.
    pub async fn again(&self) -> Client {
        Client::open(&self.gateway.config(self.home.path())).await.unwrap()
    }

    /// The bucket as another process of the same home folder opens it.
    pub async fn reopened(&self) -> Bucket {
        self.again().await.bucket("photos").await.unwrap()
    }

    /// How often something was called.
    pub fn calls(&self, name: &str) -> u32 {
        self.gateway.state().calls.get(name).copied().unwrap_or_default()
    }
}
