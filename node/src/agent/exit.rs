//! Leaving for good: asking the server to move everything elsewhere, taking that back, and how far it is.
//!
//! Asked beside the running node, which goes on serving what is copied from it. It only needs the machine's credentials and the node's id.

use cyx_core::ids::NodeId;
use cyx_proto::convert;
use cyx_proto::node::v1::exit_request::Action;
use cyx_proto::node::v1::node_service_client::NodeServiceClient;
use cyx_proto::node::v1::{ExitRequest, ExitResponse};
use cyx_proto::status::error_code;
use serde::Serialize;
use tonic::Request;

use super::api::Api;
use super::config::Config;
use super::error::Error;
use super::{channel, credentials, login};
use crate::service::identity::Identity;

const WHAT: &str = "the exit of this node";
/// Longest receipt that is looked at.
const RECEIPT_MAX: usize = 1024;

/// How far a node's leaving is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The node.
    pub node_id: NodeId,
    /// `none`, `draining`, `exiting` or `exited`.
    pub leaving: String,
    /// Chunks that still lie on this node.
    pub chunks_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
    /// Chunks that were handed over.
    pub chunks_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// The server's signed word that it is complete, in hexadecimal digits (docs/formats/signed.md).
    pub receipt: Option<String>,
}

/// Asks the server.
///
/// # Errors
/// [`Error::NotEnrolled`] without credentials or without a node's key, [`Error::OtherGateway`] with those of another server; [`Error`].
pub async fn ask(config: &Config, action: Action) -> Result<Progress, Error> {
    if !Identity::exists(&config.storage_path) {
        return Err(Error::NotEnrolled);
    }
    let node = Identity::open(&config.storage_path)?.id();
    let machine = credentials::of_enrolled(&config.home, &config.api_url)?;
    let token = Api::new(&config.api_url, config.ca_file.as_deref())?.token(&machine).await?;
    let mut request = Request::new(ExitRequest { node_id: convert::bytes_of(node), action: action.into() });
    let bearer = format!("Bearer {}", token.value.expose()).parse();
    let mut bearer: tonic::metadata::AsciiMetadataValue = bearer
        .map_err(|_| Error::Nonsense { what: "this machine's key", reason: "the token is not a token".to_owned() })?;
    bearer.set_sensitive(true);
    request.metadata_mut().insert("authorization", bearer);
    let mut rpc = NodeServiceClient::new(channel::open(&config.central, config.ca_file.as_deref())?);
    let answer = rpc.exit(request).await.map_err(|status| refused(config, &status))?;
    read(node, answer.into_inner())
}

/// Asks whether the node shall leave.
///
/// # Errors
/// [`Error::Unconfirmed`] if nobody can be asked, or says no.
pub async fn confirm(now: &Progress) -> Result<(), Error> {
    if !login::on_a_terminal() {
        return Err(Error::Unconfirmed(
            "leaving the network for good has to be confirmed, and there is no terminal to ask on: use --yes",
        ));
    }
    let node = now.node_id;
    let question = format!("Node {node} cannot come back once everything is moved. Let it leave for good? Type yes");
    let answer = login::ask(question).await?;
    if answer.eq_ignore_ascii_case("yes") { Ok(()) } else { Err(Error::Unconfirmed("nothing was changed")) }
}

fn refused(config: &Config, status: &tonic::Status) -> Error {
    let message = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
    if status.metadata().contains_key(cyx_proto::status::CODE_KEY) {
        Error::Refused { what: WHAT, code: error_code(status), message }
    } else {
        let reason = std::error::Error::source(status).map_or(message, cyx_proto::connect_error::reason);
        Error::Unreachable { at: config.central.clone(), reason }
    }
}

fn read(node: NodeId, answer: ExitResponse) -> Result<Progress, Error> {
    let nonsense = |reason: &str| Error::Nonsense { what: WHAT, reason: reason.to_owned() };
    if !matches!(answer.leaving.as_str(), "none" | "draining" | "exiting" | "exited") {
        return Err(nonsense("an unknown state"));
    }
    if answer.receipt.len() > RECEIPT_MAX {
        return Err(nonsense("the receipt is too long"));
    }
    let receipt = (!answer.receipt.is_empty()).then(|| hex::encode(&answer.receipt));
    Ok(Progress {
        node_id: node,
        leaving: answer.leaving,
        chunks_left: answer.chunks_left,
        bytes_left: answer.bytes_left,
        chunks_moved: answer.chunks_moved,
        bytes_moved: answer.bytes_moved,
        receipt,
    })
}
