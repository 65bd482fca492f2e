//! Roles: what an account may do beside its own things.

use std::str::FromStr;

use thiserror::Error;

use super::plan::Plan;

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everybody.
    Basic,
    /// Who pays.
    Premium,
    /// Who runs the service.
    Admin,
}

/// There is no role of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such role")]
pub struct UnknownRole;

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Basic, Self::Premium, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }

    /// The role that goes with a plan. Administrators stay what they are.
    #[must_use]
    pub const fn with_plan(self, plan: Plan) -> Self {
        match (self, plan) {
            (Self::Admin, _) => Self::Admin,
            (_, Plan::Free) => Self::Basic,
            (_, Plan::Starter | Plan::Pro | Plan::Enterprise) => Self::Premium,
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}
