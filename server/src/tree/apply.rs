//! A batch of mutations: one transaction, one durable commit, each mutation on its own.
//!
//! A mutation is rolled back to its savepoint if one of its operations is refused; the others are not touched by that. The answer of every
//! mutation that was done is kept under its transaction id, and whoever repeats it gets that answer and changes nothing: a lost
//! reply is no reason to wonder. Refusals are not kept, so a repeated mutation may succeed later.
//!
//! Batches of several callers that wait for the same bucket share a transaction ([`together`]). Runs of new inodes and small files, of whichever
//! batch, go through [`super::fast`], which gives the same results with a handful of statements for all of them.

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
use super::work::{Actor, Changes, Work, no_such_bucket};
use super::write_lease::{Recalled, Standing};
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
    /// Number of the bucket's newest change after the last of them.
    pub sequence: u64,
}

/// What a batch meets.
#[derive(Debug)]
pub enum Outcome {
    /// It was done.
    Applied(Applied),
    /// Somebody else holds the bucket's write lease, which is recalled now. Nothing was done.
    Held(Recalled),
}

/// What became of batches that were done in one transaction.
#[derive(Debug)]
pub struct Together {
    /// One per batch: what it met, or why all of it is refused.
    pub outcomes: Vec<Result<Outcome, TreeError>>,
    /// What they changed, to be published once the transaction is durable.
    pub changes: Changes,
}

/// One mutation, with the batch that it came in.
pub(super) struct Item<'a> {
    at: usize,
    pub(super) batch: &'a Batch,
    pub(super) mutation: &'a Result<Mutation, pb::MutationResult>,
}

/// A shorter run is tried this often per transaction before the general way takes what is left.
const SHORTER_MAX: u32 = 8;

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
pub async fn apply(conn: &mut Conn, backend: Backend, batch: &Arc<Batch>, now: i64) -> Result<Outcome, TreeError> {
    let mut together = together(conn, backend, std::slice::from_ref(batch), now).await?;
    together.outcomes.pop().unwrap_or_else(|| Err(no_such_bucket()))
}

/// Does batches for the same bucket, one after the other, with what they have in common done once: the lock, the questions about members,
/// leases and earlier answers, the counters, the log. What a batch gets and leaves is what it would if it came alone.
///
/// # Errors
/// A failure of the database: then nothing of any batch may stay.
pub async fn together(
    conn: &mut Conn,
    backend: Backend,
    batches: &[Arc<Batch>],
    now: i64,
) -> Result<Together, DbError> {
    let refuse_all =
        || Together { outcomes: batches.iter().map(|_| Err(no_such_bucket())).collect(), changes: Changes::default() };
    let Some(first) = batches.first() else { return Ok(refuse_all()) };
    let accounts = sql::distinct(batches.iter().map(|batch| batch.actor.account));
    let opened = Work::open_for(conn, backend, first.bucket, &accounts, first.settings, now).await?;
    let Some((mut work, members)) = opened else { return Ok(refuse_all()) };
    let mut standing = Standing::of(&mut work).await?;
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut items = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        work.actor = batch.actor;
        let outcome = if batch.bucket == first.bucket && members.contains(&batch.actor.account) {
            standing.check(&mut work, batch.write_lease).await
        } else {
            Err(no_such_bucket())
        };
        outcomes.push(match outcome {
            Ok(None) => {
                items.extend(batch.mutations.iter().map(|mutation| Item { at, batch, mutation }));
                let results = Vec::with_capacity(batch.mutations.len());
                Ok(Outcome::Applied(Applied { results, sequence: work.bucket.sequence }))
            }
            Ok(Some(recalled)) => Ok(Outcome::Held(recalled)),
            Err(TreeError::Refused(refusal)) => Err(TreeError::Refused(refusal)),
            Err(TreeError::Database(error)) => return Err(error),
        });
    }
    if !outcomes.iter().any(|outcome| matches!(outcome, Ok(Outcome::Applied(_)))) {
        return Ok(Together { outcomes, changes: Changes::default() });
    }
    let mut answers = Answers { outcomes, done: HashMap::new(), new: Vec::new() };
    perform_all(&mut work, &items, &mut answers).await?;
    answers.order();
    keep_results(work.conn, first.bucket, &answers.new, now).await?;
    Ok(Together { outcomes: answers.outcomes, changes: work.finish().await? })
}

/// The answers so far.
struct Answers {
    outcomes: Vec<Result<Outcome, TreeError>>,
    /// Of this transaction and of earlier ones.
    done: HashMap<TxnId, pb::MutationResult>,
    /// Those that are to be kept.
    new: Vec<(TxnId, Vec<u8>)>,
}

impl Answers {
    /// Notes what became of a mutation that was just done.
    fn remember(&mut self, txn: TxnId, result: &pb::MutationResult) {
        self.new.push((txn, result.encode_to_vec()));
        self.done.insert(txn, result.clone());
    }

    /// Gives an answer to the batch that waits for it, and the number of the bucket's newest change then.
    fn give(&mut self, item: &Item<'_>, result: pb::MutationResult, newest: u64) {
        if let Some(Ok(Outcome::Applied(applied))) = self.outcomes.get_mut(item.at) {
            applied.results.push(result);
            applied.sequence = newest;
        }
    }

    /// A batch without mutations sees what those before it did.
    fn order(&mut self) {
        let mut newest = 0;
        for applied in self.outcomes.iter_mut().flatten() {
            if let Outcome::Applied(applied) = applied {
                applied.sequence = applied.sequence.max(newest);
                newest = applied.sequence;
            }
        }
    }
}

async fn perform_all(work: &mut Work<'_>, items: &[Item<'_>], answers: &mut Answers) -> Result<(), DbError> {
    let fail = |error| match error {
        TreeError::Database(error) => error,
        // Every refusal belongs to a mutation and was given to it.
        TreeError::Refused(_) => DbError::Corrupt("a refusal without a mutation"),
    };
    let txns = items.iter().filter_map(|item| item.mutation.as_ref().ok().map(|mutation| mutation.txn));
    answers.done = earlier_results(work.conn, work.bucket.id, &sql::distinct(txns)).await?;
    let (mut rest, mut most, mut shorter) = (items, usize::MAX, 0);
    while !rest.is_empty() {
        let run = if shorter < SHORTER_MAX { fast::run_of(rest, &answers.done, most) } else { Vec::new() };
        if let Some(made) = fast::try_run(work, &run).await.map_err(fail)? {
            for ((item, child), made) in rest.iter().zip(&run).zip(made) {
                answers.remember(child.txn, &made.result);
                answers.give(item, made.result, made.sequence);
            }
            rest = &rest[run.len()..];
            continue;
        }
        if run.len() >= 2 * fast::RUN_MIN {
            // Something in it is unusual; what lies before that may go the short way all the same.
            (most, shorter) = (run.len() / 2, shorter + 1);
            continue;
        }
        // What the short way does not take goes one by one, so that it is not tried again for each of them.
        let (now, later) = rest.split_at(run.len().max(1));
        for item in now {
            let result = one(work, item, answers).await.map_err(fail)?;
            answers.give(item, result, work.bucket.sequence);
        }
        (rest, most) = (later, usize::MAX);
    }
    Ok(())
}

async fn one(work: &mut Work<'_>, item: &Item<'_>, answers: &mut Answers) -> Result<pb::MutationResult, TreeError> {
    let mutation = match item.mutation {
        Ok(mutation) => mutation,
        Err(refused) => return Ok(refused.clone()),
    };
    if let Some(earlier) = answers.done.get(&mutation.txn) {
        return Ok(pb::MutationResult { replayed: true, ..earlier.clone() });
    }
    work.actor = item.batch.actor;
    let result = attempt(work, mutation, &item.batch.writers).await?;
    if result.fault.is_none() {
        answers.remember(mutation.txn, &result);
    }
    Ok(result)
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
