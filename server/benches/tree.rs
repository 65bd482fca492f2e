//! How fast the tree takes in small files and lists a directory, on SQLite in a temporary folder.
//!
//! `cargo bench -p cyx-server --bench tree` prints one line per figure.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use cyx_core::extent::{BlobHeader, Extent, tree};
use cyx_core::ids::{AccountId, BlobId, BucketId, GrantId, InodeId, LeaseId, NodeId, Random as _, SessionId, TxnId};
use cyx_core::writers::{WriterAction, WriterList};
use cyx_core::{commit, sign};
use cyx_proto::convert::bytes_of;
use cyx_proto::meta::v1 as pb;
use cyx_server::db::{Backend, Db, DbConfig, DbError, Location};
use cyx_server::time::{now_ns, now_seconds};
use cyx_server::tree::apply::{self, Batch, Outcome};
use cyx_server::tree::buckets::{self, NewBucket};
use cyx_server::tree::plan::{Network, PlanContext};
use cyx_server::tree::{Actor, Settings, TreeError, read};
use ed25519_dalek::SigningKey;

const BATCHES: usize = 10;
const FILES: usize = 1000;
const PLAIN: u64 = 4096;

type Failure = Box<dyn Error>;

struct NoNetwork;

impl Network for NoNetwork {
    fn node_key(&self, _: NodeId) -> Option<[u8; 32]> {
        None
    }

    fn store_grant_id(&self, _: LeaseId, _: NodeId) -> GrantId {
        GrantId([0; 16])
    }
}

struct Bench {
    db: Db,
    actor: Actor,
    key: SigningKey,
    bucket: BucketId,
    root: InodeId,
    context: PlanContext,
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let location = Location::Sqlite(folder.path().join("cyx.db"));
    let db = Db::open(&DbConfig { location, connections: 2 }).await?;
    let bench = Bench::prepare(db).await?;
    for (name, fast) in [("short way", true), ("general way", false)] {
        let requests: Vec<pb::ApplyRequest> = (0..BATCHES).map(|_| bench.request()).collect::<Result<_, _>>()?;
        let (mut checking, mut applying) = (0.0, 0.0);
        for request in requests {
            let begin = Instant::now();
            let mut batch = Batch::check(request, bench.actor, Settings::default(), &bench.context)?;
            batch.fast = fast;
            checking += begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            bench.apply(batch).await?;
            applying += begin.elapsed().as_secs_f64();
        }
        let count = (BATCHES * FILES) as f64;
        let rate = count / (checking + applying);
        say(&format!(
            "create + commit of {PLAIN} bytes, {name}: {rate:.0} files/s ({:.1} us checking, {:.1} us writing each)",
            checking / count * 1e6,
            applying / count * 1e6
        ))?;
    }
    let begin = Instant::now();
    let (mut after, mut count) = (None, 0);
    let mut snapshot = bench.db.read().await?;
    while count < 10_000 {
        let page = read::page(&mut snapshot, bench.bucket, bench.root, after.as_ref(), read::PAGE).await?;
        let messages: Vec<_> = page.rows.iter().map(|(entry, inode)| (entry.to_pb(), inode.to_pb())).collect();
        count += std::hint::black_box(messages).len();
        after = page.rows.into_iter().last().map(|(entry, _)| entry.token);
    }
    say(&format!("listing {count} entries: {:.0} ms", begin.elapsed().as_secs_f64() * 1e3))
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

impl Bench {
    async fn prepare(db: Db) -> Result<Self, Failure> {
        let actor = Actor { account: AccountId::random(), session: SessionId::random() };
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = key.verifying_key().to_bytes();
        let (bucket, root) = (BucketId::random(), InodeId::random());
        let first = WriterList::empty(bucket).next(WriterAction::Add, public, 0).sign(&key);
        let request = pb::CreateBucketRequest {
            id: bytes_of(bucket),
            root: bytes_of(root),
            name_token: b"bench".as_slice().into(),
            sealed_name: b"bench".as_slice().into(),
            wrapped_root_key: vec![1; 60].into(),
            first_writer: first.into(),
            root_attributes: Some(pb::Attributes::default()),
            durable: false,
            ..pb::CreateBucketRequest::default()
        };
        let new = Arc::new(NewBucket::check(request, public)?);
        let made: Result<(), TreeError> = db
            .write(move |conn| {
                let new = Arc::clone(&new);
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO account (id, username, username_key, email, email_key, verified, role, plan, limit_bytes, \
                         traffic_limit_bytes, salt, memory_kib, passes, lanes, auth_hash, wrapped_account_key, \
                         recovery_wrapped_account_key, signing_public_key, exchange_public_key, wrapped_private_keys, created_ns) \
                         VALUES ($1, 'b', 'b', 'b', 'b', 1, 'basic', 'free', $2, 0, $1, 1, 1, 1, $1, $1, $1, $1, $1, $1, 0)",
                    )
                    .bind(actor.account.to_vec())
                    .bind(1_i64 << 40)
                    .execute(&mut *conn)
                    .await
                    .map_err(DbError::from)?;
                    buckets::create(conn, Backend::Sqlite, actor, &new, now_ns()).await?;
                    Ok(())
                })
            })
            .await;
        made?;
        let mut snapshot = db.read().await?;
        let row = buckets::open(&mut snapshot, actor.account, bucket).await?;
        let context = PlanContext {
            bucket,
            writers: Arc::new(buckets::writer_list(&mut snapshot, &row).await?),
            network: Arc::new(NoNetwork),
            file_max: cyx_core::units::FILE_MAX,
            now: now_seconds(),
        };
        drop(snapshot);
        Ok(Self { db, actor, key, bucket, root, context })
    }

    fn request(&self) -> Result<pb::ApplyRequest, Failure> {
        let mutations = (0..FILES).map(|_| self.small_file()).collect::<Result<_, _>>()?;
        Ok(pb::ApplyRequest { bucket: bytes_of(self.bucket), mutations, ..pb::ApplyRequest::default() })
    }

    fn small_file(&self) -> Result<pb::Mutation, Failure> {
        use pb::operation::Operation as Op;
        let inode = InodeId::random();
        let extent = Extent {
            file_offset: 0,
            len: PLAIN,
            blob: BlobId::random(),
            blob_offset: 0,
            key_epoch: 0,
            header: BlobHeader::new(PLAIN)?,
            wrapped_key: [5; 60],
        };
        let length = extent.header.sealed_len();
        let built = tree::build(std::slice::from_ref(&extent))?;
        let writer = sign::key_id(&self.key.verifying_key().to_bytes());
        let (bucket, root) = (self.bucket, built.root);
        let signed = commit::Commit { bucket, inode, version: 1, base: 0, size: PLAIN, root, writer };
        let place = Some(pb::blob::Place::Inline(vec![0; usize::try_from(length)?].into()));
        let pages =
            built.pages.into_iter().map(|(id, content)| pb::Page { id: id.to_vec().into(), content: content.into() });
        let file = pb::Create {
            inode: bytes_of(inode),
            kind: pb::InodeKind::File.into(),
            directory: bytes_of(self.root),
            names: vec![pb::NameToken { epoch: 0, name: inode.to_vec().repeat(2).into() }],
            wrapped_key: vec![9; 60].into(),
            attributes: Some(pb::Attributes::default()),
            ..pb::Create::default()
        };
        let content = pb::Commit {
            inode: bytes_of(inode),
            size: PLAIN,
            root_page: root.to_vec().into(),
            pages: pages.collect(),
            blobs: vec![pb::Blob { id: bytes_of(extent.blob), length, place }],
            writer: bytes_of(writer),
            signature: signed.sign(&self.key).to_vec().into(),
            ..pb::Commit::default()
        };
        let operations = [Op::Create(file), Op::Commit(content)];
        let operations = operations.into_iter().map(|operation| pb::Operation { operation: Some(operation) });
        Ok(pb::Mutation { txn: bytes_of(TxnId::random()), operations: operations.collect(), time_ns: None })
    }

    async fn apply(&self, batch: Batch) -> Result<(), Failure> {
        let (batch, backend) = (Arc::new(batch), self.db.backend());
        let outcome = self
            .db
            .write(move |conn| {
                let batch = Arc::clone(&batch);
                Box::pin(async move { apply::apply(conn, backend, &batch, now_ns()).await })
            })
            .await?;
        match outcome {
            Outcome::Applied(applied) if applied.results.iter().all(|result| result.fault.is_none()) => Ok(()),
            _ => Err("a mutation was refused".into()),
        }
    }
}
