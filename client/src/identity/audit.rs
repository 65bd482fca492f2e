//! The audit log: who did what to an account, when and from where.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::session::Session;

/// Entries asked for at a time.
const PAGE: u32 = 500;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number in the server's log.
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    /// `owner`, `admin`, `api_key`, `anyone` or `server`.
    pub actor: String,
    /// For example `login_failed`.
    pub action: String,
    /// `ok` or `refused`.
    pub outcome: String,
    /// From where.
    pub address: String,
    /// More about it.
    pub detail: String,
    /// Whose account, in the answers for administrators; absent once the account is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What stands for the account in the log, in the answers for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
}

/// Some entries, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
    /// To be given as `after` for the next ones; absent at the end.
    pub next: Option<u64>,
}

impl Session {
    /// Entries about the own account, from `since` (Unix seconds) on, behind number `after`.
    ///
    /// # Errors
    /// [`crate::Error::NotLoggedIn`], network errors.
    pub async fn audit(&self, since: Option<u64>, after: Option<u64>) -> Result<AuditPage> {
        self.get(&query("/api/v1/audit", &[("since", since.map(text)), ("after", after.map(text)), limit()])).await
    }
}

pub(super) fn text(number: u64) -> String {
    number.to_string()
}

pub(super) fn limit() -> (&'static str, Option<String>) {
    ("limit", Some(PAGE.to_string()))
}

/// A path with the parameters that are there, percent-encoded.
pub(super) fn query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut query = String::new();
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        query.push_str(&encode(value));
    }
    format!("{path}{query}")
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_cannot_add_others() {
        let typed = Some("a&limit=1#ä".to_owned());
        let expected = "/p?search=a%26limit%3D1%23%C3%A4&limit=500";
        assert_eq!(query("/p", &[("search", typed), ("after", None), limit()]), expected);
        assert_eq!(query("/p", &[("after", None)]), "/p");
    }
}
