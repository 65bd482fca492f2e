//! Accounts: who people are, how they log in, what they may store; and the machines of storage nodes.
//!
//! A login is two steps: the auth key (which the client derives from the password) buys a login id and a code by mail; the code
//! buys a session with its tokens. All rules are kept inside one transaction each, so they hold between concurrent requests.
//!
//! | module | what it does |
//! |---|---|
//! | [`register`] | new accounts |
//! | [`login`] | prelogin, auth key, one-time code |
//! | [`sessions`] | refresh, logout, device keys |
//! | [`identity`] | who the caller is |
//! | [`machines`] | machines of storage nodes |
//! | [`limits`] | counting of failures and mails |
//! | [`rules`] | what names and addresses look like |
//! | [`plan`] | plans and their limits |
//! | [`housekeeping`] | what is over is removed |

pub mod housekeeping;
pub mod identity;
pub mod limits;
pub mod login;
pub mod machines;
pub mod plan;
pub mod register;
pub mod rules;
pub mod sessions;

#[cfg(test)]
mod tests;
