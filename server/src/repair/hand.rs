//! Handing tasks to nodes, with sources and grants.
//!
//! A task is planned without sources; they are chosen when its node fetches it, as the nodes are then: those that can be reached and
//! are asked by the fewest others. A few more than k are named, so that one that fails does not make the task fail. One
//! grant per source covers all tasks of an answer; it is bound to the key of the node that fetches, and the orders for the traffic are
//! checked against it.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use cyx_core::grant::{Grant, Operations};
use cyx_core::ids::{BucketTag, GrantId, ID_LEN, NodeId, Random as _, SegmentId, TaskId};
use cyx_core::units::KIB;
use cyx_proto::convert::bytes_of;
use cyx_proto::node::v1 as pb;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use sqlx::Row as _;

use super::plan::Kind;
use super::policy::ShardState;
use super::queue::set_aside;
use super::segment::{self, Segment};
use super::{Nodes, SECOND_NS};
use crate::app::App;
use crate::db::{Backend, Conn, DbError, insert_many};
use crate::error::ApiError;
use crate::nodes::{ClusterEvent, NetworkOptions, NodeRecord};
use crate::time::to_seconds;
use crate::tree::sql;

/// Most tasks of one answer.
const MOST: u32 = 16;
/// Most tasks that a node may name as running.
const RUNNING_MAX: usize = 256;
/// Sources that are named beyond those that are needed.
const SPARE_SOURCES: usize = 2;
/// A task that is not reported so long after it was first handed out is given to another node.
const TASK_NS: i64 = 15 * 60 * SECOND_NS;

/// A task as it stands in the database.
pub(super) struct Row {
    pub(super) id: TaskId,
    pub(super) segment: SegmentId,
    pub(super) shard: u8,
    pub(super) kind: Kind,
    pub(super) target: NodeId,
    /// Where the shard lay when this was planned.
    pub(super) source: Option<NodeId>,
    pub(super) bytes: u64,
    pub(super) asked: Vec<NodeId>,
    handed: bool,
    deadline_ns: i64,
}

const COLUMNS: &str =
    "SELECT id, segment, shard, kind, target, source, bytes, asked, handed_ns, deadline_ns FROM repair_task";

impl Row {
    /// One task. It changes only under the lock of its segment.
    pub(super) async fn load(conn: &mut Conn, id: TaskId) -> Result<Option<Self>, DbError> {
        let text = format!("{COLUMNS} WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_vec()).fetch_optional(conn).await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &sqlx::any::AnyRow) -> Result<Self, DbError> {
        let source = sql::bytes(row, 5)?;
        let asked = sql::bytes(row, 7)?;
        Ok(Self {
            id: sql::id(row, 0)?,
            segment: sql::id(row, 1)?,
            shard: sql::uint(row, 2)?,
            kind: Kind::parse(&row.try_get::<String, _>(3)?),
            target: sql::id(row, 4)?,
            source: if source.is_empty() { None } else { Some(sql::id(row, 5)?) },
            bytes: sql::uint(row, 6)?,
            asked: asked.as_chunks::<ID_LEN>().0.iter().copied().map(NodeId).collect(),
            handed: sql::int(row, 8)? != 0,
            deadline_ns: sql::int(row, 9)?,
        })
    }

    /// The node that events name as the source.
    pub(super) fn shown_source(&self) -> NodeId {
        self.source.or_else(|| self.asked.first().copied()).unwrap_or(self.target)
    }
}

/// A task with the shards that it may be made from.
struct Handed {
    row: Row,
    segment: Segment,
    sources: Vec<(u8, NodeId)>,
}

/// What is handed out, and the grants for it by source.
struct Answer {
    tasks: Vec<Handed>,
    grants: Vec<(NodeId, GrantId, u64)>,
}

/// Hands tasks to a node: those that it had before and does not name as running, then new ones. `now` in Unix nanoseconds.
///
/// # Errors
/// [`ApiError`].
pub async fn fetch(
    app: &App,
    node: &NodeRecord,
    request: &pb::FetchTasksRequest,
    now: i64,
) -> Result<pb::FetchTasksResponse, ApiError> {
    if request.running.len() > RUNNING_MAX {
        return Err(ApiError::invalid(format!("at most {RUNNING_MAX} tasks run at once")));
    }
    let (db, network) = (&app.db, &app.network);
    let most = usize::try_from(request.most.min(MOST)).unwrap_or(0);
    let running: Vec<Bytes> = request.running.clone();
    let (nodes, options, backend) =
        (Nodes::of(&network.registry, network.options.repair_eager), network.options, db.backend());
    let (target, target_key) = (node.id, node.public_key);
    let answer = db
        .write(move |conn| {
            let (nodes, running) = (nodes.clone(), running.clone());
            Box::pin(async move {
                let known: Vec<&[u8]> = running.iter().map(|id| &id[..]).collect();
                let mut answer = choose(conn, backend, target, (&known, most), &nodes, options, now).await?;
                grant(conn, &mut answer, target_key, options, now).await?;
                Ok::<_, DbError>(answer)
            })
        })
        .await?;
    for task in &answer.tasks {
        if !task.row.handed {
            network.registry.publish(ClusterEvent::ReplicationStarted {
                chunk_id: task.segment.chunk(task.row.shard),
                source_node: task.row.source.or(task.sources.first().map(|(_, node)| *node)).unwrap_or(target),
                target_node: target,
            });
        }
    }
    Ok(describe(app, node, &answer, now)?)
}

/// Chooses tasks and their sources, and notes that they were handed out.
async fn choose(
    conn: &mut Conn,
    backend: Backend,
    target: NodeId,
    (running, most): (&[&[u8]], usize),
    nodes: &Nodes,
    options: NetworkOptions,
    now: i64,
) -> Result<Answer, DbError> {
    let grant_ns = sql::as_int(options.grant_seconds).saturating_mul(SECOND_NS);
    let mut answer = Answer { tasks: Vec::new(), grants: Vec::new() };
    let segments: BTreeSet<SegmentId> = tasks_of(conn, target).await?.iter().map(|row| row.segment).collect();
    if segments.is_empty() || most == 0 {
        return Ok(answer);
    }
    segment::lock(conn, &segments).await?;
    // As they are now that nobody else changes them.
    let rows = tasks_of(conn, target).await?;
    let mut readers = readers(conn, target).await?;
    let mut rng = StdRng::from_rng(&mut rand::rng());
    for mut row in rows.into_iter().filter(|row| segments.contains(&row.segment)) {
        if answer.tasks.len() >= most || running.iter().any(|id| **id == row.id.0) {
            continue;
        }
        // Whoever asks for a task again and again gets no more time for it: it would keep the shard from others for ever.
        if !row.handed {
            row.deadline_ns = now.saturating_add(TASK_NS.min(grant_ns));
        } else if row.deadline_ns <= now {
            continue;
        }
        let segment = match Segment::load(conn, row.segment, Some(backend)).await {
            Err(DbError::Corrupt(what)) => {
                set_aside(conn, row.segment, what, now).await?;
                None
            }
            other => other?,
        };
        let Some(segment) = segment else {
            drop_task(conn, row.id).await?;
            continue;
        };
        if segment.is_freed || !is_queued(conn, row.segment, row.shard).await? {
            drop_task(conn, row.id).await?;
            continue;
        }
        let copied = (row.kind == Kind::Copy).then(|| segment.holder(row.shard)).flatten();
        let copied = copied.filter(|from| {
            segment.state(row.shard, nodes) >= ShardState::Leaving && has_room(&readers, *from, options)
        });
        let sources = match copied {
            Some(from) => vec![(row.shard, from)],
            // What cannot be copied any more is made from the others.
            None => {
                row.kind = Kind::Rebuild;
                sources(&segment, row.shard, nodes, &readers, options, &mut rng)
            }
        };
        let needed = if row.kind == Kind::Copy { 1 } else { segment.scheme.k() };
        if sources.len() < needed {
            continue;
        }
        for (_, node) in &sources {
            *readers.entry(*node).or_default() += 1;
        }
        let asked: Vec<u8> = sources.iter().flat_map(|(_, node)| node.0).collect();
        let text = "UPDATE repair_task SET kind = $1, asked = $2, handed_ns = $3, deadline_ns = $4 WHERE id = $5";
        sqlx::query(text)
            .bind(row.kind.as_str())
            .bind(asked)
            .bind(now)
            .bind(row.deadline_ns)
            .bind(row.id.to_vec())
            .execute(&mut *conn)
            .await?;
        answer.tasks.push(Handed { row, segment, sources });
    }
    Ok(answer)
}

/// The tasks of a node, those first that it had before.
async fn tasks_of(conn: &mut Conn, target: NodeId) -> Result<Vec<Row>, DbError> {
    let text = format!("{COLUMNS} WHERE target = $1 ORDER BY handed_ns DESC, created_ns, id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(target.to_vec()).fetch_all(conn).await?;
    rows.iter().map(Row::read).collect()
}

/// Whether a shard is still queued. It is not when the node that it lay on is back.
async fn is_queued(conn: &mut Conn, segment: SegmentId, shard: u8) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT shard FROM repair WHERE segment = $1 AND shard = $2")
        .bind(segment.to_vec())
        .bind(i64::from(shard))
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

async fn drop_task(conn: &mut Conn, task: TaskId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM repair_task WHERE id = $1").bind(task.to_vec()).execute(conn).await?;
    Ok(())
}

/// How many tasks of other nodes read from each node.
async fn readers(conn: &mut Conn, target: NodeId) -> Result<HashMap<NodeId, u64>, DbError> {
    let rows = sqlx::query("SELECT asked FROM repair_task WHERE handed_ns <> 0 AND target <> $1")
        .bind(target.to_vec())
        .fetch_all(conn)
        .await?;
    let mut readers: HashMap<NodeId, u64> = HashMap::new();
    for row in &rows {
        for node in sql::bytes(row, 0)?.as_chunks::<ID_LEN>().0 {
            *readers.entry(NodeId(*node)).or_default() += 1;
        }
    }
    Ok(readers)
}

fn has_room(readers: &HashMap<NodeId, u64>, node: NodeId, options: NetworkOptions) -> bool {
    readers.get(&node).is_none_or(|count| *count < options.repair_tasks_per_node)
}

/// The shards that a shard may be made from: k and a few more, on the nodes that are asked by the fewest. Empty if there are not enough.
fn sources(
    segment: &Segment,
    shard: u8,
    nodes: &Nodes,
    readers: &HashMap<NodeId, u64>,
    options: NetworkOptions,
    rng: &mut StdRng,
) -> Vec<(u8, NodeId)> {
    let usable = |other: u8| {
        let node = segment.holder(other)?;
        let good = other != shard && segment.state(other, nodes) >= ShardState::Leaving;
        (good && has_room(readers, node, options)).then_some((other, node))
    };
    let mut found: Vec<(u8, NodeId)> = segment.shards().filter_map(usable).collect();
    // Between nodes that are asked by as many, chance decides: a node that fails is then not asked every time.
    found.shuffle(rng);
    found.sort_by_key(|(_, node)| readers.get(node).copied().unwrap_or(0));
    found.truncate(segment.scheme.k() + SPARE_SOURCES);
    if found.len() < segment.scheme.k() { Vec::new() } else { found }
}

/// Writes down one grant for each source.
async fn grant(
    conn: &mut Conn,
    answer: &mut Answer,
    session_key: [u8; 32],
    options: NetworkOptions,
    now: i64,
) -> Result<(), DbError> {
    let mut allowances: std::collections::BTreeMap<NodeId, u64> = std::collections::BTreeMap::new();
    for task in &answer.tasks {
        for (_, node) in &task.sources {
            // Twice, for a range that is asked for again after a connection broke.
            *allowances.entry(*node).or_default() += 2 * task.row.bytes + 64 * KIB;
        }
    }
    answer.grants = allowances.into_iter().map(|(node, bytes)| (node, GrantId::random(), bytes)).collect();
    let expires = sql::as_int(to_seconds(now).saturating_add(options.grant_seconds));
    let head = "INSERT INTO repair_grant (id, node, session_key, allowance, settled, expires)";
    insert_many(conn, head, 6, "", &answer.grants, |statement, (node, id, allowance)| {
        let statement = statement.bind(id.to_vec()).bind(node.to_vec()).bind(session_key.to_vec());
        statement.bind(sql::as_int(*allowance)).bind(0_i64).bind(expires)
    })
    .await?;
    Ok(())
}

/// The answer as it is sent.
fn describe(app: &App, target: &NodeRecord, answer: &Answer, now: i64) -> Result<pb::FetchTasksResponse, DbError> {
    let network = &app.network;
    let now = to_seconds(now);
    let mut peers = Vec::with_capacity(answer.grants.len());
    let mut index: HashMap<NodeId, u32> = HashMap::new();
    for (node, id, allowance) in &answer.grants {
        let Some(record) = network.registry.get(*node) else { continue };
        let mut tags: Vec<BucketTag> = answer
            .tasks
            .iter()
            .filter(|task| task.sources.iter().any(|(_, source)| source == node))
            .map(|task| network.keys.tag(*node, task.segment.bucket))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        let grant = Grant {
            key: network.keys.id(),
            id: *id,
            node: *node,
            session_key: target.public_key,
            operations: Operations::READ,
            allowance: *allowance,
            not_before: now,
            expires: now.saturating_add(network.options.grant_seconds),
            tags,
        };
        index.insert(*node, u32::try_from(peers.len()).unwrap_or(u32::MAX));
        peers.push(pb::Peer {
            node: bytes_of(*node),
            address: record.address,
            public_key: Bytes::copy_from_slice(&record.public_key),
            tls: record.tls,
            grant: network.keys.sign_grant(&grant).into(),
        });
    }
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let tasks = answer.tasks.iter().map(|Handed { row, segment, sources }| {
        let sources = sources.iter().filter_map(|(shard, node)| Some((*shard, *node, *index.get(node)?)));
        let sources = sources.map(|(shard, node, peer)| {
            Ok(pb::Source {
                peer,
                shard: u32::from(shard),
                chunk_id: bytes_of(segment.chunk(shard)),
                root: Bytes::copy_from_slice(&segment.root(shard)?),
                bucket_tag: bytes_of(network.keys.tag(node, segment.bucket)),
            })
        });
        let kind = if row.kind == Kind::Copy { pb::task::Kind::Copy } else { pb::task::Kind::Rebuild };
        Ok(pb::Task {
            task_id: bytes_of(row.id),
            kind: kind.into(),
            k: count(segment.scheme.k()),
            m: count(segment.scheme.m()),
            shard: u32::from(row.shard),
            chunk_id: bytes_of(segment.chunk(row.shard)),
            length: u32::try_from(segment.shard_len()).unwrap_or(u32::MAX),
            root: Bytes::copy_from_slice(&segment.root(row.shard)?),
            bucket_tag: bytes_of(network.keys.tag(target.id, segment.bucket)),
            sources: sources.collect::<Result<_, DbError>>()?,
            deadline: to_seconds(row.deadline_ns),
        })
    });
    Ok(pb::FetchTasksResponse { tasks: tasks.collect::<Result<_, DbError>>()?, peers })
}
