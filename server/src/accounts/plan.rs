//! Plans: how much an account may store and move.

use std::str::FromStr;

use cyx_core::units::GB;
use thiserror::Error;

/// A plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// 5 GB.
    Free,
    /// 100 GB.
    Starter,
    /// 1 TB.
    Pro,
    /// By agreement; nearly unlimited until something else is agreed on.
    Enterprise,
}

/// There is no plan of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such plan")]
pub struct UnknownPlan;

impl Plan {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starter => "starter",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// Bytes that may be stored.
    #[must_use]
    pub const fn storage_bytes(self) -> u64 {
        match self {
            Self::Free => 5 * GB,
            Self::Starter => 100 * GB,
            Self::Pro => 1_000 * GB,
            Self::Enterprise => 1_000_000 * GB,
        }
    }

    /// Bytes that may be moved in a month.
    #[must_use]
    pub const fn traffic_bytes(self) -> u64 {
        match self {
            Self::Free => 10 * GB,
            Self::Starter => 500 * GB,
            Self::Pro => 5_000 * GB,
            Self::Enterprise => 5_000_000 * GB,
        }
    }
}

impl FromStr for Plan {
    type Err = UnknownPlan;
    fn from_str(text: &str) -> Result<Self, UnknownPlan> {
        [Self::Free, Self::Starter, Self::Pro, Self::Enterprise]
            .into_iter()
            .find(|plan| plan.as_str() == text)
            .ok_or(UnknownPlan)
    }
}
