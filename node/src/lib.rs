//! The cyx storage node: keeps chunks durable, serves them to whoever holds a grant, and signs receipts for them.

pub mod service;
pub mod store;
