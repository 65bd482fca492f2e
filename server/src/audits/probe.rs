//! Asks a node for proofs, and tells apart what can go wrong.
//!
//! The server comes as a client does: it proves that it holds a key, and brings a grant that it signed for that key. What it reads stays
//! below what nodes move without an order, so nobody signs for it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cyx_core::chunk::Root;
use cyx_core::error::ErrorCode;
use cyx_core::grant::{Grant, Operations, TAGS_MAX};
use cyx_core::ids::{BucketTag, GrantId, NodeId, Random as _, random_bytes};
use cyx_core::order::ORDER_SLACK;
use cyx_core::proof::{self, GROUP};
use cyx_core::sign::{self, Purpose};
use cyx_proto::chunk::v1::chunk_service_client::ChunkServiceClient;
use cyx_proto::chunk::v1::{GetChallengeRequest, GetChunkRequest, ProvePossessionRequest};
use cyx_proto::status::{CODE_KEY, error_code};
use ed25519_dalek::SigningKey;
use tonic::Status;

use super::sample::Slice;
use crate::keys::ServerKeys;
use crate::nodes::dial::{self, Channel, DialError};
use crate::nodes::{NodeRecord, address};
use crate::time::now_seconds;

/// Most slices that can be asked for at once: no more buckets fit one grant, and no more bytes are moved without an order.
pub const QUESTIONS_MAX: usize = TAGS_MAX;
const _: () = assert!(QUESTIONS_MAX as u64 * GROUP <= ORDER_SLACK, "audits need no orders");
/// No proof of one group is longer: the group, and a pair of hashes for each level of a tree of 64 MiB.
const PROOF_MAX: usize = 16 * 1024 + 64 * 20 + 5;
/// Largest message that is taken from a node.
const MESSAGE_MAX: usize = 64 * 1024;
/// Life of a grant for an audit, in seconds.
const GRANT_SECONDS: u64 = 600;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The node proved the slice.
    Passed,
    /// It says that it does not have the chunk.
    Lost,
    /// It says that the chunk is damaged, or what it sends proves nothing.
    Corrupt,
    /// It did not answer in time.
    TimedOut,
    /// It cannot be connected to, or not any more.
    Offline,
    /// It refuses for another reason, or broke the connection when it was asked.
    Refused,
}

impl Outcome {
    /// Every outcome, for counting.
    pub const ALL: [Self; 6] = [Self::Passed, Self::Lost, Self::Corrupt, Self::TimedOut, Self::Offline, Self::Refused];

    /// The word in the database, in metrics and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt",
            Self::TimedOut => "timeout",
            Self::Offline => "offline",
            Self::Refused => "refused",
        }
    }

    /// The opposite of [`Self::as_str`]; unknown words are refusals.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).unwrap_or(Self::Refused)
    }
}

/// How often a node may break off in a round until it is asked no further.
const INTERRUPTIONS_MAX: usize = 16;
/// How often it may keep the server waiting.
const WAITS_MAX: usize = 4;

/// Who asks: a key that lives as long as the process.
pub struct Auditor {
    key: SigningKey,
}

impl Default for Auditor {
    fn default() -> Self {
        Self { key: SigningKey::from_bytes(&random_bytes()) }
    }
}

/// How nodes are found and how long they may take.
#[derive(Debug, Clone, Copy)]
pub struct ProbeOptions {
    /// Whether loopback addresses are dialled.
    pub allow_loopback: bool,
    /// For the connection with its proof of possession, and again for each answer.
    pub patience: Duration,
}

impl Auditor {
    /// Asks a node for slices, at most [`QUESTIONS_MAX`], one after the other; what became of each, in order.
    ///
    /// A node that cannot be reached fails in all of it. One that was reached and breaks off refuses what it was asked just then: it could
    /// otherwise be away for whatever it lost. The rest is asked over a new connection, also of one that kept the server waiting; if there is
    /// none, or that happened too often, the node is away for the rest: nothing that it was not asked is held against it.
    pub async fn ask(
        &self,
        keys: &ServerKeys,
        node: &NodeRecord,
        slices: &[Slice],
        options: ProbeOptions,
    ) -> Vec<Outcome> {
        let slices = slices.get(..QUESTIONS_MAX).unwrap_or(slices);
        let mut client = match self.connect_in_time(node, options).await {
            Ok(client) => client,
            Err(outcome) => return vec![outcome; slices.len()],
        };
        let (mut interruptions, mut waits) = (0, 0);
        let grant = self.grant(keys, node.id, slices);
        let mut outcomes = Vec::with_capacity(slices.len());
        for slice in slices {
            let tag = keys.tag(node.id, slice.bucket);
            let answer = tokio::time::timeout(options.patience, prove(&mut client, &grant, tag, slice));
            let outcome = answer.await.unwrap_or(Outcome::TimedOut);
            outcomes.push(if outcome == Outcome::Offline { Outcome::Refused } else { outcome });
            if outcomes.len() == slices.len() {
                break;
            }
            match outcome {
                Outcome::TimedOut => waits += 1,
                Outcome::Offline => interruptions += 1,
                _ => continue,
            }
            let again = if interruptions < INTERRUPTIONS_MAX && waits < WAITS_MAX {
                self.connect_in_time(node, options).await
            } else {
                Err(outcome)
            };
            let Ok(again) = again else {
                outcomes.resize(slices.len(), Outcome::Offline);
                break;
            };
            client = again;
        }
        outcomes
    }

    async fn connect_in_time(
        &self,
        node: &NodeRecord,
        options: ProbeOptions,
    ) -> Result<ChunkServiceClient<Channel>, Outcome> {
        let connecting = tokio::time::timeout(options.patience, self.connect(node, options));
        // Nobody was there to be asked, as behind a firewall that drops what comes.
        connecting.await.unwrap_or(Err(Outcome::Offline))
    }

    async fn connect(&self, node: &NodeRecord, options: ProbeOptions) -> Result<ChunkServiceClient<Channel>, Outcome> {
        let found: SocketAddr =
            address::resolve(&node.address, node.tls, options.allow_loopback).await.map_err(|_| Outcome::Offline)?;
        let mut client = dial::open(found, node.public_key, node.tls, MESSAGE_MAX).await.map_err(|error| {
            tracing::debug!(node = %node.id, %error, "a node cannot be reached for its audit");
            match error {
                DialError::Unreachable(_) | DialError::Impostor(_) => Outcome::Offline,
            }
        })?;
        let challenge = client.get_challenge(GetChallengeRequest {}).await.map_err(|status| problem(&status))?;
        let challenge = challenge.into_inner();
        if challenge.node_id != node.id.0[..] || challenge.challenge.len() != 32 {
            // Without TLS anybody can have taken the port of a node that is gone.
            return Err(Outcome::Offline);
        }
        let body = sign::possession_body(node.id, &challenge.challenge);
        let request = ProvePossessionRequest {
            session_key: Bytes::copy_from_slice(&self.key.verifying_key().to_bytes()),
            signature: Bytes::copy_from_slice(&sign::sign(&self.key, Purpose::Possession, &body)),
        };
        client.prove_possession(request).await.map_err(|status| problem(&status))?;
        Ok(client)
    }

    fn grant(&self, keys: &ServerKeys, node: NodeId, slices: &[Slice]) -> Bytes {
        let mut tags: Vec<BucketTag> = slices.iter().map(|slice| keys.tag(node, slice.bucket)).collect();
        tags.sort_unstable_by_key(|tag| tag.0);
        tags.dedup();
        let now = now_seconds();
        let grant = Grant {
            key: keys.id(),
            id: GrantId::random(),
            node,
            session_key: self.key.verifying_key().to_bytes(),
            operations: Operations::READ,
            allowance: slices.len() as u64 * GROUP,
            not_before: now,
            expires: now + GRANT_SECONDS,
            tags,
        };
        keys.sign_grant(&grant).into()
    }
}

/// Asks for one slice.
async fn prove(client: &mut ChunkServiceClient<Channel>, grant: &Bytes, tag: BucketTag, slice: &Slice) -> Outcome {
    let range = slice.range();
    let request = GetChunkRequest {
        grant: grant.clone(),
        bucket_tag: Bytes::copy_from_slice(&tag.0),
        chunk_id: Bytes::copy_from_slice(&slice.held.chunk().0),
        offset: range.start,
        length: range.end - range.start,
        with_proof: true,
        order: Bytes::new(),
        max_rate: 0,
    };
    let mut answers = match client.get_chunk(request).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return problem(&status),
    };
    let (mut stream, mut length) = (Vec::with_capacity(PROOF_MAX), None);
    loop {
        match answers.message().await {
            Ok(None) => break,
            Ok(Some(message)) => {
                length = length.or(Some(message.chunk_length));
                if message.data.len() > PROOF_MAX - stream.len() {
                    return Outcome::Corrupt;
                }
                stream.extend_from_slice(&message.data);
            }
            Err(status) => return problem(&status),
        }
    }
    let proven = |root: &Root| proof::verify(root, slice.length, range.clone(), &stream).is_ok();
    if length == Some(slice.length) && proven(&slice.root) { Outcome::Passed } else { Outcome::Corrupt }
}

/// What a failed call means. What carries no code comes from the connection, not from the node.
fn problem(status: &Status) -> Outcome {
    let carried = status.metadata().contains_key(CODE_KEY);
    match error_code(status) {
        ErrorCode::NotFound if carried => Outcome::Lost,
        ErrorCode::Integrity if carried => Outcome::Corrupt,
        ErrorCode::Unavailable | ErrorCode::Internal if !carried => Outcome::Offline,
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyx_proto::status::status;

    #[test]
    fn words_and_outcomes_are_the_same() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), outcome);
        }
    }

    #[test]
    fn only_what_the_node_says_itself_is_a_loss() {
        assert_eq!(problem(&status(ErrorCode::NotFound, "no")), Outcome::Lost);
        assert_eq!(problem(&status(ErrorCode::Integrity, "no")), Outcome::Corrupt);
        assert_eq!(problem(&status(ErrorCode::PermissionDenied, "no")), Outcome::Refused);
        assert_eq!(problem(&status(ErrorCode::Unavailable, "busy")), Outcome::Refused);
        assert_eq!(problem(&Status::not_found("a proxy")), Outcome::Refused);
        assert_eq!(problem(&Status::unavailable("reset")), Outcome::Offline);
    }
}
