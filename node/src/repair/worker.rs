//! Fetching tasks, doing some at a time, reporting.
//!
//! Tasks are fetched when a heartbeat's answer says that some wait, after each one that is finished, and once after the start, because the
//! server hands out again what it was never told about. A report that does not get through is repeated for a while; after that the server
//! takes the task back by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::error::ErrorCode;
use cyx_core::ids::{GrantId, TaskId};
use cyx_core::receipt::{Receipt, ReceivedChunk};
use cyx_proto::convert::{self, InvalidField};
use cyx_proto::node::v1::failed_source::Reason;
use cyx_proto::node::v1::{FailedSource, FetchTasksRequest, ReportTaskRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::make::{Failures, MakeError, make};
use super::peer::{Failure, Peers};
use super::task::{Task, peers};
use super::{RepairOptions, Throttle};
use crate::agent::error::Error;
use crate::agent::link::Caller;
use crate::service::{Node, store_refusal};
use crate::store::NewChunk;

/// Times that a report is tried, with pauses that double.
const REPORTS: u32 = 6;
/// The first pause.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a task.
struct Outcome {
    task: TaskId,
    result: Result<Bytes, (ErrorCode, String)>,
    failures: Failures,
}

/// Does what the server plans for this node, until nobody announces any more.
pub(crate) async fn run(caller: Caller, options: RepairOptions, mut announced: watch::Receiver<bool>) {
    if options.tasks == 0 {
        return;
    }
    let mut worker = Worker {
        peers: Peers::new(caller.node.identity.signing_key().clone()),
        throttle: Throttle::new(options.rate),
        caller,
        parallel: options.tasks,
        running: HashMap::new(),
        jobs: JoinSet::new(),
    };
    let mut more = true;
    loop {
        if more && worker.jobs.len() < worker.parallel {
            more = match worker.fetch().await {
                Ok(found) => found > 0,
                Err(error) => {
                    tracing::warn!(%error, "tasks were not fetched");
                    false
                }
            };
            continue;
        }
        tokio::select! {
            changed = announced.changed() => match changed {
                Ok(()) => more |= *announced.borrow_and_update(),
                Err(_) => return,
            },
            Some(finished) = worker.jobs.join_next_with_id(), if !worker.jobs.is_empty() => {
                let id = match &finished {
                    Ok((id, ())) => *id,
                    Err(error) => {
                        tracing::error!(%error, "a task ended unexpectedly");
                        error.id()
                    }
                };
                worker.running.remove(&id);
                more = true;
            }
        }
    }
}

struct Worker {
    caller: Caller,
    peers: Peers,
    throttle: Throttle,
    parallel: usize,
    running: HashMap<tokio::task::Id, TaskId>,
    jobs: JoinSet<()>,
}

impl Worker {
    /// Fetches as many tasks as can be begun and begins them. How many.
    async fn fetch(&mut self) -> Result<usize, Error> {
        let what = "tasks";
        let most = self.parallel.saturating_sub(self.jobs.len());
        let message = FetchTasksRequest {
            node_id: convert::bytes_of(self.caller.node.identity.id()),
            most: u32::try_from(most).unwrap_or(u32::MAX),
            running: self.running.values().copied().map(convert::bytes_of).collect(),
        };
        let request = self.caller.with_token(message).await?;
        let answer = match self.caller.rpc.fetch_tasks(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(self.caller.refused(what, status).await),
        };
        let nonsense = |error: InvalidField| Error::Nonsense { what, reason: error.to_string() };
        if answer.tasks.len() > most {
            return Err(Error::Nonsense { what, reason: "more than were asked for".to_owned() });
        }
        let known = peers(&answer.peers, &self.peers.own_key()).map_err(nonsense)?;
        let tasks: Vec<Task> =
            answer.tasks.iter().map(|task| Task::check(task, &known)).collect::<Result<_, _>>().map_err(nonsense)?;
        let found = tasks.len();
        for task in tasks {
            let (id, mut caller) = (task.id, self.caller.clone());
            let (peers, throttle) = (self.peers.clone(), self.throttle.clone());
            let job = self.jobs.spawn(async move {
                let outcome = work(&caller.node, &task, &peers, &throttle).await;
                report(&mut caller, outcome).await;
            });
            self.running.insert(job.id(), id);
        }
        Ok(found)
    }
}

/// Makes a task's chunk, stores it and signs for it.
async fn work(node: &Arc<Node>, task: &Task, peers: &Peers, throttle: &Throttle) -> Outcome {
    let mut failures = Failures::new();
    let result = async {
        let permit = node.reserve(task.length).await;
        let _permit = permit.ok_or((ErrorCode::Unavailable, MakeError::Stopped.to_string()))?;
        let pieces =
            make(task, peers, throttle, &mut failures).await.map_err(|error| (code(&error), error.to_string()))?;
        let chunk = NewChunk { id: task.chunk, tag: task.tag, root: task.root, pieces };
        let stored = node.store.store(chunk).await.map_err(|error| store_refusal(&error))?;
        let length = u32::try_from(task.length).unwrap_or(u32::MAX);
        let chunks = vec![ReceivedChunk { id: task.chunk, length, root: task.root }];
        // The task stands where a client's receipt names its grant.
        let receipt = Receipt { node: node.identity.id(), grant: GrantId(task.id.0), issued: stored.at, chunks };
        Ok(Bytes::from(receipt.sign(node.identity.signing_key())))
    }
    .await;
    let kind = if task.scheme.is_some() { "rebuild" } else { "copy" };
    match &result {
        Ok(_) => {
            metrics::counter!("cyx_node_repaired_chunks_total", "kind" => kind).increment(1);
            metrics::counter!("cyx_node_repaired_bytes_total", "kind" => kind).increment(task.length);
        }
        Err((code, message)) => {
            metrics::counter!("cyx_node_repair_failures_total", "kind" => kind).increment(1);
            tracing::warn!(chunk = %task.chunk, %code, message, "a chunk could not be made");
        }
    }
    Outcome { task: task.id, result, failures }
}

const fn code(error: &MakeError) -> ErrorCode {
    match error {
        MakeError::TooFew { .. } | MakeError::Stopped => ErrorCode::Unavailable,
        MakeError::Inconsistent => ErrorCode::Integrity,
        MakeError::Coding(_) => ErrorCode::Internal,
    }
}

/// Tells the server what became of a task.
async fn report(caller: &mut Caller, outcome: Outcome) {
    let failed = outcome.failures.iter().map(|(shard, node, failure, offset)| FailedSource {
        shard: u32::from(*shard),
        node: convert::bytes_of(*node),
        reason: reason(failure).into(),
        offset: *offset,
    });
    let (receipt, error_code, error) = match outcome.result {
        Ok(receipt) => (receipt, String::new(), String::new()),
        Err((code, message)) => (Bytes::new(), code.as_str().to_owned(), message),
    };
    let message = ReportTaskRequest {
        node_id: convert::bytes_of(caller.node.identity.id()),
        task_id: convert::bytes_of(outcome.task),
        receipt,
        error_code,
        error,
        failed: failed.collect(),
    };
    let mut pause = PAUSE;
    for _ in 0..REPORTS {
        match try_report(caller, message.clone()).await {
            Ok(()) => return,
            Err(error) if error.is_passing() => tracing::warn!(%error, "a task was not reported yet"),
            Err(error) => {
                tracing::warn!(%error, "a task was not reported");
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn try_report(caller: &mut Caller, message: ReportTaskRequest) -> Result<(), Error> {
    let request = caller.with_token(message).await?;
    match caller.rpc.report_task(request).await {
        Ok(answer) => {
            let counts = answer.into_inner().counts;
            tracing::debug!(counts, "a task was reported");
            Ok(())
        }
        Err(status) => Err(caller.refused("a report of a task", status).await),
    }
}

const fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Unreachable(_) => Reason::Unreachable,
        Failure::Missing => Reason::Missing,
        Failure::Corrupt => Reason::Corrupt,
        Failure::Refused { .. } => Reason::Refused,
    }
}
