//! What administrators do: accounts, plans, roles, the audit log, the nodes.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::identity::audit::{AuditPage, encode, limit, query, text};
use crate::identity::rest::Repeat;
use crate::session::Session;

/// An account, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The account.
    pub id: String,
    /// User name.
    pub username: String,
    /// Email address.
    pub email: String,
    /// A login has shown that mail arrives.
    pub verified: bool,
    /// It cannot be used.
    pub disabled: bool,
    /// `basic`, `premium` or `admin`.
    pub role: String,
    /// Plan.
    pub plan: String,
    /// Bytes that may be stored.
    pub limit_bytes: u64,
    /// Bytes that are.
    pub used_bytes: u64,
    /// Bytes that may be moved in a month.
    pub traffic_limit_bytes: u64,
    /// RFC 3339.
    pub created_at: String,
    /// When it will be deleted, as the server says it.
    pub delete_at: Option<Value>,
    /// Logged-in devices.
    pub sessions: u64,
    /// API keys.
    pub api_keys: u64,
}

/// Some accounts, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserPage {
    /// The accounts.
    pub users: Vec<User>,
    /// To be given as `after` for the next ones; absent at the end.
    pub next: Option<String>,
}

/// Whether the audit log is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheck {
    /// Every entry follows the one before it.
    pub intact: bool,
    /// How many there are.
    pub entries: u64,
    /// Hash of the newest, in hexadecimal digits.
    pub head: String,
    /// Number of the first that does not follow.
    pub broken_at: Option<u64>,
}

#[derive(Serialize)]
struct PlanRequest<'a> {
    plan: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_limit_bytes: Option<u64>,
}

#[derive(Serialize)]
struct RoleRequest<'a> {
    role: &'a str,
}

#[derive(Serialize)]
struct DisabledRequest {
    disabled: bool,
}

/// Which storage nodes are wanted: those that fit everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// `online`, `suspect`, `offline`, `lost` or `read-only`.
    pub state: Option<String>,
    /// `vetting`, `trusted`, `suspended` or `disqualified`.
    pub standing: Option<String>,
    /// `none`, `draining`, `exiting` or `exited`.
    pub leaving: Option<String>,
    /// User name, email address or id of the account that they belong to.
    pub owner: Option<String>,
    /// Where they say they are.
    pub region: Option<String>,
}

/// Some storage nodes, as the server says it, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct NodePage {
    /// The nodes.
    pub nodes: Vec<Value>,
    /// To be given as `after` for the next ones; absent at the end.
    pub next: Option<String>,
}

/// How far a storage node is that is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The node.
    pub node_id: String,
    /// `none`, `draining`, `exiting` or `exited`.
    pub leaving: String,
    /// Chunks that still lie there.
    pub chunks_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
    /// Chunks that were handed over.
    pub chunks_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// The server's signed word that it has exited, in base64.
    pub receipt: Option<String>,
}

impl Session {
    /// Accounts whose name or address contains `search`, behind the account `after`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` unless the caller is an administrator.
    pub async fn users(&self, search: Option<&str>, after: Option<&str>) -> Result<UserPage> {
        let (search, after) = (search.map(str::to_owned), after.map(str::to_owned));
        self.get(&query("/api/v1/admin/users", &[("search", search), ("after", after), limit()])).await
    }

    /// Gives an account (id, name or address) a plan, perhaps with limits of its own.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND`.
    pub async fn set_plan(
        &self,
        user: &str,
        plan: &str,
        limit_bytes: Option<u64>,
        traffic_limit_bytes: Option<u64>,
    ) -> Result<User> {
        self.change_user(user, "plan", &PlanRequest { plan, limit_bytes, traffic_limit_bytes }).await
    }

    /// Gives an account a role.
    ///
    /// # Errors
    /// As [`Self::set_plan`]; `CONFLICT` for the last administrator.
    pub async fn set_role(&self, user: &str, role: &str) -> Result<User> {
        self.change_user(user, "role", &RoleRequest { role }).await
    }

    /// Disables an account or lets it work again.
    ///
    /// # Errors
    /// As [`Self::set_plan`]; `CONFLICT` for oneself.
    pub async fn set_disabled(&self, user: &str, disabled: bool) -> Result<User> {
        self.change_user(user, "disabled", &DisabledRequest { disabled }).await
    }

    /// Entries of the whole audit log, or about one account (id).
    ///
    /// # Errors
    /// As [`Self::users`].
    pub async fn audit_of_all(
        &self,
        account: Option<&str>,
        since: Option<u64>,
        after: Option<u64>,
    ) -> Result<AuditPage> {
        let account = account.map(str::to_owned);
        let parameters = [("account", account), ("since", since.map(text)), ("after", after.map(text)), limit()];
        self.get(&query("/api/v1/admin/audit", &parameters)).await
    }

    /// Whether the audit log is whole.
    ///
    /// # Errors
    /// As [`Self::users`].
    pub async fn check_audit(&self) -> Result<AuditCheck> {
        self.get("/api/v1/admin/audit/check").await
    }

    /// Storage nodes of all operators, behind the node `after`.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND` if there is no such owner.
    pub async fn nodes_of_all(&self, filter: &NodeFilter, after: Option<&str>) -> Result<NodePage> {
        let NodeFilter { state, standing, leaving, owner, region } = filter.clone();
        let parameters = [
            ("state", state),
            ("standing", standing),
            ("leaving", leaving),
            ("owner", owner),
            ("region", region),
            ("after", after.map(str::to_owned)),
        ];
        self.get(&query("/api/v1/admin/nodes", &parameters)).await
    }

    /// A storage node, as the server says it.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND`.
    pub async fn node_of_all(&self, node: &str) -> Result<Value> {
        self.get(&format!("/api/v1/admin/nodes/{}", encode(node))).await
    }

    /// Has a disqualified storage node prove what it holds, and takes it back if it does; what the server says of it then.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND`; `CONFLICT` if it is not disqualified or cannot prove everything.
    pub async fn reinstate_node(&self, node: &str) -> Result<Value> {
        let path = format!("/api/v1/admin/nodes/{}/reinstate", encode(node));
        self.send(Method::POST, &path, None::<&()>, Repeat::IfNotSent).await
    }

    /// Has a storage node emptied, or lets it stay after all; how far it is.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND`; `CONFLICT` if the node has exited.
    pub async fn drain_node(&self, node: &str, drain: bool) -> Result<Leaving> {
        let path = format!("/api/v1/admin/nodes/{}/drain", encode(node));
        self.send(Method::PUT, &path, Some(&serde_json::json!({ "drain": drain })), Repeat::Always).await
    }

    /// How far a storage node is that is emptied.
    ///
    /// # Errors
    /// As [`Self::users`]; `NOT_FOUND`.
    pub async fn node_drain(&self, node: &str) -> Result<Leaving> {
        self.get(&format!("/api/v1/admin/nodes/{}/drain", encode(node))).await
    }

    async fn change_user(&self, user: &str, what: &str, request: &(impl Serialize + Sync)) -> Result<User> {
        let path = format!("/api/v1/admin/users/{}/{what}", encode(user));
        self.send(Method::PUT, &path, Some(request), Repeat::Always).await
    }
}
