//! Accounts as people and scripts use them: passwords, recovery words, second factors, other machines, API keys, the log; and what
//! somebody can do who has the server but no password.

#![allow(clippy::unwrap_used, missing_docs)]

mod account_data;
mod api_keys;
mod factors;
mod operator;
mod passwords;
mod rotate;
mod support;
