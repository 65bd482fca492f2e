//! A gateway, storage nodes, and a bucket of somebody who is logged in.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cyx_client::nodes::{Patience, SessionProof as _};
use cyx_client::transfer::{Put, PutOptions, Silent, Source, Transfer, Tuning, Uploads};
use cyx_client::{Bucket, Error, TreePath};
use cyx_core::grant::Operations;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::support::node::FakeNode;

/// Longer than a busy machine stalls.
pub const LONG: Duration = Duration::from_secs(60);

/// Small segments, so that small files have many: 20 frames, 320 KiB.
pub fn tuning() -> Tuning {
    Tuning {
        memory: 8 << 20,
        frames: 20,
        frames_large: 20,
        large_file: 1 << 20,
        stage: 1 << 20,
        stage_after: Duration::from_secs(3600),
        // No node is given up as long as it may only be a stall.
        tail_min: LONG,
        tail_max: LONG,
        late_store: LONG,
        hedge_min: LONG,
        hedge_unknown: LONG,
        patience: Patience { connect: Duration::from_secs(60), idle: Duration::from_secs(120) },
        outage: Duration::ZERO,
        ..Tuning::default()
    }
}

pub struct World {
    pub gateway: Gateway,
    pub nodes: Vec<FakeNode>,
    pub home: TempDir,
    pub bucket: Bucket,
}

impl World {
    pub async fn new(nodes: u8) -> Self {
        let (gateway, home) = (Gateway::start().await, tempfile::tempdir().unwrap());
        let client = gateway.client(home.path()).await;
        let (server, key) = (SigningKey::from_bytes(&[1; 32]), client.session.public_key());
        let mut started = Vec::new();
        for seed in 1..=nodes {
            started.push(FakeNode::start(seed).await);
        }
        let all = Operations::STORE.and(Operations::READ);
        gateway.state().storage.nodes = started.iter().map(|node| node.access(&server, key, all)).collect();
        let bucket = client.create_bucket("b", false).await.unwrap();
        Self { gateway, nodes: started, home, bucket }
    }

    pub fn engine(&self) -> Transfer {
        Transfer::new(self.bucket.client(), Some(self.home.path()), tuning())
    }

    /// With memory for one segment at a time, so that it is known which come first.
    pub fn one_by_one(&self) -> Uploads {
        let tuning = Tuning { memory: 600 << 10, ..tuning() };
        Transfer::new(self.bucket.client(), Some(self.home.path()), tuning).uploads(&self.bucket)
    }

    pub fn uploads(&self) -> Uploads {
        self.engine().uploads(&self.bucket)
    }

    pub async fn put(&self, name: &str, plain: &[u8], options: &PutOptions) -> Result<Put, Error> {
        let uploads = self.uploads();
        let place = uploads.place(&path(name)).await?;
        let source = Source::Bytes(Bytes::copy_from_slice(plain));
        let put = uploads.put(place, source, Some(plain.len() as u64), options, &Silent).await;
        uploads.finish().await;
        put
    }

    pub async fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let located = self.bucket.resolve(&path(name)).await?;
        let reader = self.engine().open(&self.bucket, &located).await?;
        reader.copy_to(0..u64::MAX, Vec::new(), &Silent).await
    }

    pub fn stored(&self) -> u64 {
        self.nodes.iter().map(|node| node.state.stores.load(Ordering::SeqCst)).sum()
    }

    pub fn reads(&self) -> u64 {
        self.nodes.iter().map(|node| node.state.reads.load(Ordering::SeqCst)).sum()
    }
}

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

pub fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 33 & 0xff).unwrap()
    })
    .take(len)
    .collect()
}

pub const SEGMENT: usize = 20 * 16 * 1024;
