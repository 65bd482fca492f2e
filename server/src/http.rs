//! The HTTP side: listeners, middleware, REST, WebSocket.
//!
//! A request comes in at [`server`], passes [`middleware`] and finds its handler by the table in [`router`], which also says who may
//! call ([`access`], for gRPC [`calls`]). Handlers in [`rest`] are thin: they turn bodies into calls of other modules and results into bodies.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`], [`tls`], `greeting` | listeners, their TLS, and what a connection says first |
//! | [`connections`] | how many connections each address has, and whether one is asked anything |
//! | [`middleware`], [`request_id`] | what every request passes; the id under which it appears in logs |
//! | [`router`], [`access`], [`calls`] | which path leads where, and who may call which path and gRPC method |
//! | [`throttle`], [`arriving`] | requests per address, account and machine; what those may have sent at the same time |
//! | [`extract`], [`body`] | what handlers take out of a request; pieces of JSON bodies |
//! | [`rest`] | handlers, one module per area |
//! | [`ws`] | events as JSON over WebSocket |

pub mod access;
pub mod arriving;
pub mod body;
pub mod calls;
pub mod connections;
pub mod extract;
mod greeting;
pub mod middleware;
pub mod request_id;
pub mod rest;
pub mod router;

pub mod server;
pub mod throttle;
pub mod tls;
pub mod ws;

#[cfg(test)]
mod tests;
