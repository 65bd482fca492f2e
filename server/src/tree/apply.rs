//! A batch of mutations: one transaction, one durable commit, each mutation on its own.
//!
//! A mutation is rolled back to its savepoint if one of its operations is refused; the others are not touched by that. The answer of every
//! mutation that was done is kept under its transaction id, and whoever repeats it gets that answer and changes nothing: a lost
//! reply is no reason to wonder. Refusals are not kept, so a repeated mutation may succeed later.
//!
//! Runs of new small files go through [`super::fast`], which gives the same results with a handful of statements for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use cyx_core::error::ErrorCode;
use cyx_core::ids::{BucketId, TxnId};
use cyx_core::writers::WriterList;
use cyx_proto::meta::v1 as pb;
use prost::Message as _;

use super::error::{Refusal, TreeError};
use super::plan::PlanContext;
use super::request::{self, Mutation, Operation};
use super::sql::{self, Value};
use super::work::{Actor, Changes, Work};
use super::write_lease::{self, Recalled};
use super::{Settings, fast};
use crate::db::{Backend, Conn, DbError, insert_many};

/// A batch that was checked as far as it can be without the database.
pub struct Batch {
    /// The bucket.
    pub bucket: BucketId,
    /// Who asks.
    pub actor: Actor,
    /// Write lease and fencing number, if the caller holds one.
    pub write_lease: Option<([u8; 16], u64)>,
    /// Who may sign, as read before.
    pub writers: Arc<WriterList>,
    /// How long things are kept.
    pub settings: Settings,
    /// The mutations, or why they cannot be tried.
    pub mutations: Vec<Result<Mutation, pb::MutationResult>>,
    /// Whether runs of small files may take the short way.
    pub fast: bool,
}

impl Batch {
    /// Checks the mutations of a request. Verifies signatures: not for an async thread.
    ///
    /// # Errors
    /// A refusal if there are too many of them or a field that concerns all is wrong.
    pub fn check(
        request: pb::ApplyRequest,
        actor: Actor,
        settings: Settings,
        context: &PlanContext,
    ) -> Result<Self, TreeError> {
        if request.mutations.len() > request::MUTATIONS_MAX {
            return Err(TreeError::refused(ErrorCode::TooLarge, "too many mutations in one call"));
        }
        let operations: usize = request.mutations.iter().map(|mutation| mutation.operations.len()).sum();
        if operations > request::OPERATIONS_IN_ALL_MAX {
            return Err(TreeError::refused(ErrorCode::TooLarge, "too many operations in one call"));
        }
        let write_lease = match &request.write_lease[..] {
            [] => None,
            bytes => Some((cyx_proto::convert::array(bytes, "write_lease")?, request.fencing)),
        };
        let check = |mutation| {
            request::mutation(mutation, context).map_err(|(index, error)| match error {
                TreeError::Refused(refusal) => fault(index, *refusal),
                TreeError::Database(_) => fault(index, internal()),
            })
        };
        Ok(Self {
            bucket: context.bucket,
            actor,
            write_lease,
            writers: Arc::clone(&context.writers),
            settings,
            mutations: request.mutations.into_iter().map(check).collect(),
            fast: true,
        })
    }
}

/// What became of a batch.
#[derive(Debug)]
pub struct Applied {
    /// One result per mutation.
    pub results: Vec<pb::MutationResult>,
    /// Number of the bucket's newest change.
    pub sequence: u64,
    /// To be published once the transaction is durable.
    pub changes: Changes,
}

/// What a batch meets.
#[derive(Debug)]
pub enum Outcome {
    /// It was done.
    Applied(Applied),
    /// Somebody else holds the bucket's write lease, which is recalled now. Nothing was done.
    Held(Recalled),
}

fn internal() -> Refusal {
    Refusal { code: ErrorCode::Internal, message: "the server failed".into(), state: Vec::new() }
}

fn fault(operation: usize, refusal: Refusal) -> pb::MutationResult {
    pb::MutationResult {
        fault: Some(pb::Fault { code: refusal.code.as_str().to_owned(), message: refusal.message.into_owned() }),
        operation: u32::try_from(operation).unwrap_or(u32::MAX),
        operations: refusal.state,
        replayed: false,
    }
}

/// Does a batch.
///
/// # Errors
/// A refusal of the whole batch (no such bucket, stale lease) or a failure of the database.
pub async fn apply(conn: &mut Conn, backend: Backend, batch: &Batch, now: i64) -> Result<Outcome, TreeError> {
    let mut work = Work::open(conn, backend, batch.bucket, batch.actor, batch.settings, now).await?;
    if let Some(recalled) = write_lease::check(&mut work, batch.write_lease).await? {
        return Ok(Outcome::Held(recalled));
    }
    let txns: Vec<TxnId> =
        batch.mutations.iter().filter_map(|mutation| mutation.as_ref().ok().map(|mutation| mutation.txn)).collect();
    let mut done = earlier_results(work.conn, batch.bucket, &txns).await?;
    let mut results = Vec::with_capacity(batch.mutations.len());
    let mut new: Vec<(TxnId, Vec<u8>)> = Vec::new();
    let mut rest = batch.mutations.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let run = if batch.fast { fast::run_of(rest, &done) } else { Vec::new() };
        if let Some(answers) = fast::try_run(&mut work, &run, &batch.writers).await? {
            for (mutation, answer) in run.iter().zip(answers) {
                remember(&mut done, &mut new, mutation.txn, &answer);
                results.push(answer);
            }
            rest = &rest[run.len()..];
            continue;
        }
        // What the short way does not take goes one by one, so that it is not tried again for each of them.
        let (now, later) =
            if run.is_empty() { (std::slice::from_ref(first), others) } else { rest.split_at(run.len()) };
        for mutation in now {
            results.push(one(&mut work, mutation, &batch.writers, &mut done, &mut new).await?);
        }
        rest = later;
    }
    keep_results(work.conn, batch.bucket, &new, now).await?;
    let sequence = work.bucket.sequence;
    let changes = work.finish().await?;
    Ok(Outcome::Applied(Applied { results, sequence, changes }))
}

async fn one(
    work: &mut Work<'_>,
    mutation: &Result<Mutation, pb::MutationResult>,
    writers: &Arc<WriterList>,
    done: &mut HashMap<TxnId, pb::MutationResult>,
    new: &mut Vec<(TxnId, Vec<u8>)>,
) -> Result<pb::MutationResult, TreeError> {
    let mutation = match mutation {
        Ok(mutation) => mutation,
        Err(refused) => return Ok(refused.clone()),
    };
    if let Some(earlier) = done.get(&mutation.txn) {
        return Ok(pb::MutationResult { replayed: true, ..earlier.clone() });
    }
    let result = attempt(work, mutation, writers).await?;
    if result.fault.is_none() {
        remember(done, new, mutation.txn, &result);
    }
    Ok(result)
}

fn remember(
    done: &mut HashMap<TxnId, pb::MutationResult>,
    new: &mut Vec<(TxnId, Vec<u8>)>,
    txn: TxnId,
    result: &pb::MutationResult,
) {
    new.push((txn, result.encode_to_vec()));
    done.insert(txn, result.clone());
}

/// Tries one mutation; what it changed is undone if an operation is refused.
async fn attempt(
    work: &mut Work<'_>,
    mutation: &Mutation,
    writers: &Arc<WriterList>,
) -> Result<pb::MutationResult, TreeError> {
    work.stamp = mutation.time_ns.unwrap_or(work.now);
    let mark = work.mark().await?;
    let mut operations = Vec::with_capacity(mutation.operations.len());
    for (index, operation) in mutation.operations.iter().enumerate() {
        match perform(work, operation, writers).await {
            Ok(result) => operations.push(result),
            Err(TreeError::Refused(refusal)) => {
                work.undo(mark).await?;
                return Ok(fault(index, *refusal));
            }
            Err(error) => return Err(error),
        }
    }
    work.keep().await?;
    Ok(pb::MutationResult { operations, ..pb::MutationResult::default() })
}

async fn perform(
    work: &mut Work<'_>,
    operation: &Operation,
    writers: &Arc<WriterList>,
) -> Result<pb::OperationResult, TreeError> {
    match operation {
        Operation::Create(create) => work.create(create).await,
        Operation::Link(link) => work.link(link).await,
        Operation::Unlink(unlink) => work.unlink(unlink).await,
        Operation::Rename(rename) => work.rename(rename).await,
        Operation::SetAttributes(set) => work.set_attributes(set).await,
        Operation::SetMeta(set) => work.set_meta(set).await,
        Operation::Commit(plan) => work.commit(plan, writers).await,
        Operation::TrashRestore(restore) => work.trash_restore(restore).await,
        Operation::TrashPurge(ids) => work.trash_purge(ids).await,
        Operation::Rekey(rekey) => work.rekey(rekey).await,
    }
}

async fn earlier_results(
    conn: &mut Conn,
    bucket: BucketId,
    txns: &[TxnId],
) -> Result<HashMap<TxnId, pb::MutationResult>, DbError> {
    let keys: Vec<[u8; 16]> = txns.iter().map(|txn| txn.0).collect();
    let head = "SELECT txn, result FROM mutation_result WHERE bucket = $1 AND txn IN (";
    let rows = sql::fetch_in(conn, head, ")", &[Value::Bytes(&bucket.0)], &keys).await?;
    let read = |row: &sqlx::any::AnyRow| {
        let result = pb::MutationResult::decode(&sql::bytes(row, 1)?[..]);
        Ok((sql::id(row, 0)?, result.map_err(|_| DbError::Corrupt("the answer of a mutation"))?))
    };
    rows.iter().map(read).collect()
}

async fn keep_results(
    conn: &mut Conn,
    bucket: BucketId,
    results: &[(TxnId, Vec<u8>)],
    now: i64,
) -> Result<(), DbError> {
    let head = "INSERT INTO mutation_result (bucket, txn, at_ns, result)";
    insert_many(conn, head, 4, "", results, |statement, (txn, result)| {
        statement.bind(bucket.to_vec()).bind(txn.to_vec()).bind(now).bind(&result[..])
    })
    .await?;
    Ok(())
}
