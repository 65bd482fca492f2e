//! Who may call which gRPC method: one rule per line, enforced in front of the services.
//!
//! A method without a line is not served, whatever its service does, and a test reads the .proto files and asks for a line for each.
//! What depends on the message, above all which bucket it is about, is checked by the service ([`crate::meta`]); a test walks every
//! method with every kind of caller.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use cyx_proto::bounded::{COUNT, Count};
use tonic::Status;

use crate::app::{App, AppState};
use crate::auth::{self, Permission, Scope};
use crate::error::ApiError;

use super::arriving::{Counted, Who};

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Who may read buckets: a person's device, or a program with a key.
    Read,
    /// Who may change them.
    Write,
    /// As before, but no key that is for one bucket: it is about the account as a whole.
    WriteAll,
    /// A storage node's machine.
    Machine,
}

use Calls::{Machine, Read, Write, WriteAll};

/// Where the methods of [`META`] are served.
const META_SERVICE: &str = "/cyx.meta.v1.MetaService/";
/// The methods for clients.
const META: &[(&str, Calls)] = &[
    ("CreateBucket", WriteAll),
    ("ListBuckets", Read),
    ("DeleteBucket", WriteAll),
    ("GetWriters", Read),
    ("AppendWriter", WriteAll),
    ("RotateBucket", WriteAll),
    ("Lookup", Read),
    ("ReadDirectory", Read),
    ("GetInodes", Read),
    ("GetPath", Read),
    ("GetFile", Read),
    ("GetFiles", Read),
    ("GetPages", Read),
    ("GetBlobs", Read),
    ("Apply", Write),
    ("LeasePlacement", Write),
    ("ReleaseLease", Write),
    ("GetReadAccess", Read),
    ("Stage", Write),
    ("GetStaged", Write),
    ("AbortStaged", Write),
    ("ListTrash", Read),
    ("GetQuota", Read),
    ("GetCluster", Read),
    ("AcquireWriteLease", Write),
    ("RenewWriteLease", Write),
    ("ReleaseWriteLease", Write),
    ("Subscribe", Read),
];

/// Where the methods of [`NODES`] are served.
const NODE_SERVICE: &str = "/cyx.node.v1.NodeService/";
/// The methods for storage nodes.
const NODES: &[(&str, Calls)] = &[
    ("RegisterNode", Machine),
    ("Heartbeat", Machine),
    ("FetchKeepLists", Machine),
    ("ConfirmKeepList", Machine),
    ("ReportDamage", Machine),
    ("HandInOrders", Machine),
    ("FetchTasks", Machine),
    ("ReportTask", Machine),
    ("Exit", Machine),
];

/// The rule of a method, by its path.
#[must_use]
pub fn rule(path: &str) -> Option<Calls> {
    let tables = [(META_SERVICE, META), (NODE_SERVICE, NODES)];
    let (method, table) = tables.into_iter().find_map(|(service, table)| Some((path.strip_prefix(service)?, table)))?;
    table.iter().find(|(name, _)| *name == method).map(|(_, rule)| *rule)
}

/// Lets through who may call; the services find the caller in the request. What it sends counts until it is answered.
pub(super) async fn enforce(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let Some(rule) = rule(request.uri().path()) else {
        return Status::unimplemented("there is no such method").into_http();
    };
    match admit(&app, rule, &mut request).await {
        Ok(who) => {
            let call = Arc::new(app.arriving.call(who));
            let lists = Arc::clone(&call);
            let count: Count = Box::new(move |len| lists.count(len).map_err(Status::from));
            COUNT.scope(count, next.run(request.map(|body| Body::new(Counted { body, call })))).await
        }
        Err(error) => Status::from(error).into_http(),
    }
}

async fn admit(app: &App, rule: Calls, request: &mut Request) -> Result<Who, ApiError> {
    let permission = match rule {
        Machine => {
            let machine = auth::machine_calling(app, request.headers()).await?;
            let who = Who::Machine(machine.id);
            request.extensions_mut().insert(machine);
            return Ok(who);
        }
        Read => Permission::StorageRead,
        Write | WriteAll => Permission::StorageWrite,
    };
    let caller = auth::caller_calling(app, request.headers()).await?;
    caller.require(permission)?;
    if rule == WriteAll && caller.scope != Scope::Account {
        return Err(ApiError::denied("this key is for one bucket only"));
    }
    let who = Who::Account(caller.account);
    request.extensions_mut().insert(caller);
    Ok(who)
}
