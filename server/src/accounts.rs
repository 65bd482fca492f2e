//! Accounts: who people are, how they log in, what they may store; and the machines of storage nodes.
//!
//! A login is two steps: the auth key (which the client derives from the password) buys a login id and a code by mail; the code
//! buys a session with its tokens. All rules are kept inside one transaction each, so they hold between concurrent requests.
//!
//! | module | what it does |
//! |---|---|
//! | [`register`] | new accounts |
//! | [`login`] | prelogin, auth key, one-time code |
//! | [`guard`] | pauses after failures |
//! | [`codes`] | which codes an account takes |
//! | `challenge` | what waits for a code: the confirmation of a change, a recovery, a new address |
//! | [`confirm`] | password and code once more, before what a stolen session must not do |
//! | [`factors`] | authenticator apps and backup codes |
//! | [`sessions`], [`devices`] | refresh, logout, device keys; the list of devices |
//! | [`password`], [`recovery`], [`email`] | a new password, by the old one or by recovery words; a new address |
//! | [`account_key`] | a new account key, and everything that was under the old one |
//! | [`api_keys`] | keys of programs |
//! | [`wallet`] | wallets that log in, and open nothing |
//! | [`identity`] | who the caller is |
//! | [`enrolment`], [`machines`] | tokens that let a machine join; machines of storage nodes |
//! | [`limits`] | counting of failures and mails |
//! | [`rules`] | what names and addresses look like |
//! | [`growth`] | what accounts stored day by day |
//! | [`plan`], [`role`] | plans and their limits; roles |
//! | [`export`], [`closing`] | everything about an account; leaving |
//! | [`housekeeping`] | what is over is removed |

pub mod account_key;
pub mod api_keys;
mod challenge;
pub mod closing;
pub mod codes;
pub mod confirm;
pub mod devices;
pub mod email;
pub mod enrolment;
pub mod export;
pub mod factors;
pub mod growth;
pub mod guard;
pub mod housekeeping;
pub mod identity;
pub mod limits;
pub mod login;
pub mod machines;
pub mod password;
pub mod plan;
pub mod recovery;
pub mod register;
pub mod role;
pub mod rules;
pub mod sessions;
pub mod wallet;

#[cfg(test)]
mod tests;
