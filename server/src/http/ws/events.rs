//! Events in the shape that WebSocket clients get. Names are what the server knows: encrypted, here in base64.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cyx_proto::meta::v1 as pb;
use pb::change::Kind;
use pb::event::Event as Feed;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::nodes::ClusterEvent;
use crate::time::rfc3339;

/// What a client wants to hear of. Heartbeats and errors always come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topics(Vec<&'static str>);

const TOPICS: [&str; 5] = ["file", "cluster", "replication", "job", "system"];

impl FromStr for Topics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let known = names.map(|name| {
            let topic = TOPICS.iter().find(|topic| **topic == name);
            topic.copied().ok_or_else(|| format!("there is no such topic; those that are: {}", TOPICS.join(", ")))
        });
        Ok(Self(known.collect::<Result<_, _>>()?))
    }
}

impl Topics {
    pub(super) fn want(&self, topic: &str) -> bool {
        topic == "system" || self.0.is_empty() || self.0.contains(&topic)
    }
}

/// An event ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outgoing {
    topic: &'static str,
    body: Value,
}

impl Outgoing {
    fn new(topic: &'static str, kind: &str, data: &Value) -> Self {
        Self { topic, body: json!({"type": kind, "data": data}) }
    }

    pub(super) const fn topic(&self) -> &'static str {
        self.topic
    }

    pub(super) fn into_text(self) -> String {
        self.body.to_string()
    }

    pub(super) fn heartbeat(timestamp: u64) -> Self {
        Self::new("system", "Heartbeat", &json!({"timestamp": timestamp}))
    }

    pub(super) fn error(error: &ApiError) -> Self {
        Self::new("system", "Error", &json!({"code": error.code.as_str(), "message": error.message}))
    }

    pub(super) fn of_cluster(event: &ClusterEvent) -> Self {
        // It only has fields that JSON can show.
        Self { topic: event.topic(), body: serde_json::to_value(event).unwrap_or_default() }
    }

    /// A change of a bucket. The feed's own beats are not passed on.
    pub(super) fn of_feed(event: pb::Event) -> Option<Self> {
        match event.event? {
            Feed::Change(change) => Some(Self::of_change(&change)),
            Feed::Resync(resync) => {
                let data = json!({"bucket": hex::encode(&resync.bucket), "sequence": resync.sequence});
                Some(Self::new("file", "Resync", &data))
            }
            Feed::Recall(recall) => {
                Some(Self::new("file", "LeaseRecall", &json!({"bucket": hex::encode(&recall.bucket)})))
            }
            Feed::Beat(_) => None,
        }
    }

    fn of_change(change: &pb::Change) -> Self {
        let kind = match change.kind() {
            Kind::Created | Kind::Restored => "FileCreated",
            Kind::Linked => "FileLinked",
            Kind::Unlinked | Kind::Trashed | Kind::Purged => "FileDeleted",
            Kind::Renamed => "FileRenamed",
            Kind::Content => "FileChanged",
            Kind::Attributes => "AttributesChanged",
            Kind::Writers => "WritersChanged",
            Kind::Keys => "KeysChanged",
            Kind::Unspecified => "BucketChanged",
        };
        let key = |name: &Option<pb::NameToken>| name.as_ref().map(|name| STANDARD.encode(&name.name));
        let mut data = json!({
            "bucket": hex::encode(&change.bucket),
            "sequence": change.sequence,
            "inode": hex::encode(&change.inode),
            "directory": hex::encode(&change.directory),
            "key": key(&change.name),
            "size": change.size,
            "version": change.version,
            "at": rfc3339(change.at_ns),
        });
        if matches!(change.kind(), Kind::Renamed | Kind::Keys) {
            data["new_directory"] = json!(hex::encode(&change.new_directory));
            data["new_key"] = json!(key(&change.new_name));
        }
        Self::new("file", kind, &data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_choose_and_none_means_all() {
        let some: Topics = "file, job".parse().unwrap();
        assert!(some.want("file") && some.want("job") && some.want("system") && !some.want("cluster"));
        let all: Topics = "".parse().unwrap();
        assert!(TOPICS.iter().all(|topic| all.want(topic)));
        assert!("files".parse::<Topics>().is_err());
    }

    #[test]
    fn a_change_has_the_documented_shape() {
        let name = |text: &'static [u8]| Some(pb::NameToken { epoch: 0, name: text.into() });
        let change = pb::Change {
            bucket: vec![1; 16].into(),
            sequence: 9,
            kind: Kind::Renamed.into(),
            name: name(b"a"),
            new_name: name(b"b"),
            size: 3,
            ..Default::default()
        };
        let event = pb::Event { event: Some(Feed::Change(change)) };
        let event = Outgoing::of_feed(event).unwrap();
        assert_eq!(event.topic(), "file");
        let body: Value = serde_json::from_str(&event.into_text()).unwrap();
        assert_eq!(body["type"], "FileRenamed");
        assert_eq!(body["data"]["bucket"], "01".repeat(16));
        assert_eq!((&body["data"]["key"], &body["data"]["new_key"]), (&json!("YQ=="), &json!("Yg==")));
        assert_eq!((&body["data"]["size"], &body["data"]["sequence"]), (&json!(3), &json!(9)));
    }

    #[test]
    fn beats_of_the_feed_stay_inside() {
        let beat = pb::Event { event: Some(Feed::Beat(pb::Beat { server_time: 1, positions: vec![] })) };
        assert_eq!(Outgoing::of_feed(beat), None);
    }
}
