//! What an operator does at the server: enrolment tokens, their own nodes, what these earn.

use cyx_core::earnings::{Rates, Work};
use cyx_core::ids::{GrantId, NodeId};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{IntegrityError, Result};
use crate::identity::rest::Repeat;
use crate::secret::base64_bytes;
use crate::session::Session;

/// A new enrolment token.
#[derive(Clone, Deserialize)]
pub struct Enrolment {
    /// The token; it is shown once.
    #[serde(deserialize_with = "crate::secret::text")]
    pub token: Zeroizing<String>,
    /// The fingerprint of the server's identity key.
    pub fingerprint: String,
    /// Unix seconds.
    pub expires_at: u64,
    /// Of the server's host, where nodes register, if it knows.
    #[serde(default)]
    pub node_port: Option<u16>,
}

/// How a node did in its audits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAudits {
    /// `vetting`, `trusted`, `suspended` or `disqualified`.
    pub standing: String,
    /// Thousandths.
    pub score: u64,
    /// Slices that were proven.
    pub passed: u64,
    /// Slices of chunks that it does not have.
    pub lost: u64,
    /// Slices that were not what was stored.
    pub corrupt: u64,
    /// Slices that did not come in time.
    pub timed_out: u64,
    /// Slices that it would not show.
    pub refused: u64,
    /// Rounds in which it could not be reached.
    pub unreachable: u64,
}

/// A node of the caller's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnNode {
    /// The node.
    pub node_id: String,
    /// Where it is.
    pub address: String,
    /// `online`, `suspect`, `offline`, `lost` or `read-only`.
    pub state: String,
    /// Of its program.
    pub version: String,
    /// Where it says it is.
    pub region: String,
    /// Offered in all.
    pub total_bytes: u64,
    /// Kept back for the network.
    pub reserved_bytes: u64,
    /// `total − reserved`.
    pub allocatable_bytes: u64,
    /// Bytes of live chunks.
    pub used_bytes: u64,
    /// What can still be stored.
    pub available_bytes: u64,
    /// Unix seconds.
    pub last_heartbeat: u64,
    /// Its machine.
    pub machine_id: String,
    /// What the machine calls itself.
    pub hostname: String,
    /// What it says about its hardware.
    pub hardware: Value,
    /// Where the operator wants to be paid.
    pub payout_address: String,
    /// `none`, `draining`, `exiting` or `exited`.
    pub leaving: String,
    /// Bytes that were moved this month.
    pub traffic_month_bytes: u64,
    /// None before the first one.
    pub audits: Option<NodeAudits>,
}

/// What an epoch came to for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Unix second.
    pub begins: u64,
    /// Unix second behind its last.
    pub ends: u64,
    /// Micros for a gigabyte kept for a month.
    pub storage_rate: u64,
    /// Micros for a gigabyte moved.
    pub traffic_rate: u64,
    /// Of the operator's pay, so many hundredths are held.
    pub hold_percent: u64,
    /// Bytes of users' chunks times seconds, a decimal number.
    pub user_byte_seconds: String,
    /// The same of the network's reserve.
    pub reserved_byte_seconds: String,
    /// Bytes moved.
    pub traffic_bytes: u64,
    /// Micros for storage.
    pub storage_micros: u64,
    /// Micros for traffic.
    pub traffic_micros: u64,
    /// The operator's share.
    pub operator_micros: u64,
    /// The platform's share.
    pub platform_micros: u64,
    /// Of the operator's share, so much is held.
    pub held_micros: u64,
    /// When it was paid, RFC 3339.
    pub paid_at: Option<String>,
}

impl Statement {
    /// What it says that the node did.
    ///
    /// # Errors
    /// An integrity error for numbers that are none.
    pub fn work(&self) -> Result<Work> {
        let number = |text: &str| text.parse().map_err(|_| IntegrityError::Mismatch("its statement has no numbers"));
        Ok(Work {
            user_byte_seconds: number(&self.user_byte_seconds)?,
            reserved_byte_seconds: number(&self.reserved_byte_seconds)?,
            traffic_bytes: self.traffic_bytes,
        })
    }

    /// What it says is paid.
    #[must_use]
    pub const fn rates(&self) -> Rates {
        Rates { storage: self.storage_rate, traffic: self.traffic_rate }
    }
}

/// What a node earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earnings {
    /// The node.
    pub node_id: NodeId,
    /// Held until it has left in order.
    pub held_micros: u64,
    /// The open epoch so far.
    pub open: Statement,
    /// Closed epochs, the newest first.
    pub epochs: Vec<Statement>,
}

/// A part of an epoch in which the server heard of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Unix second.
    pub begins: u64,
    /// Unix second behind its last.
    pub ends: u64,
    /// Shards at its end.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes times seconds.
    pub byte_seconds: u64,
    /// For how long the reserve was kept.
    pub reserved_seconds: u64,
}

/// An order that is paid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PaidOrder {
    /// The grant.
    pub grant: GrantId,
    /// Who signed.
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) session_key: Vec<u8>,
    /// Most that the grant allowed.
    pub allowance: u64,
    /// Traffic that earlier epochs paid.
    pub paid_before: u64,
    /// All of it.
    pub traffic: u64,
    /// As it was signed.
    #[serde(deserialize_with = "base64_bytes::deserialize")]
    pub(crate) order: Vec<u8>,
}

/// The facts of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Periods, in order.
    pub periods: Vec<Period>,
    /// Orders, by grant.
    pub orders: Vec<PaidOrder>,
}

#[derive(Serialize)]
struct EnrolmentRequest<'a> {
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct OwnNodes {
    nodes: Vec<OwnNode>,
}

#[derive(Deserialize)]
struct LinesPage {
    periods: Vec<Period>,
    orders: Vec<PaidOrder>,
    next: Option<GrantId>,
}

impl Session {
    /// Makes a token that enrols one machine for this account.
    ///
    /// # Errors
    /// What the server refuses; network errors.
    pub async fn make_enrolment(&self, label: &str, expires_in_seconds: Option<u64>) -> Result<Enrolment> {
        let request = EnrolmentRequest { label, expires_in_seconds };
        self.send(Method::POST, "/api/machines/enrolments", Some(&request), Repeat::IfNotSent).await
    }

    /// The account's own nodes, by id.
    ///
    /// # Errors
    /// As [`Self::make_enrolment`].
    pub async fn own_nodes(&self) -> Result<Vec<OwnNode>> {
        Ok(self.get::<OwnNodes>("/api/v1/nodes/own").await?.nodes)
    }

    /// What a node earned, the newest epochs first: at most `limit` before the epoch `before`.
    ///
    /// # Errors
    /// `NOT_FOUND` unless the node is the caller's; network errors.
    pub async fn earnings(&self, node: NodeId, before: Option<u64>, limit: u64) -> Result<Earnings> {
        let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
        self.get(&format!("/api/v1/nodes/{node}/earnings?limit={limit}{before}")).await
    }

    /// The facts that an epoch is paid by.
    ///
    /// # Errors
    /// As [`Self::earnings`]; an integrity error for pages without an end.
    pub async fn earning_lines(&self, node: NodeId, epoch: u64) -> Result<Lines> {
        let mut lines = Lines { periods: Vec::new(), orders: Vec::new() };
        let mut after: Option<GrantId> = None;
        loop {
            let behind = after.map(|after| format!("?after={after}")).unwrap_or_default();
            let page: LinesPage = self.get(&format!("/api/v1/nodes/{node}/earnings/{epoch}{behind}")).await?;
            if after.is_none() {
                lines.periods = page.periods;
            }
            lines.orders.extend(page.orders);
            match page.next {
                None => return Ok(lines),
                Some(next) if after.is_none_or(|after| after < next) => after = Some(next),
                Some(_) => return Err(IntegrityError::Mismatch("its pages do not end").into()),
            }
        }
    }
}
