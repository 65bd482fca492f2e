//! The HTTP side: listeners, middleware, REST, WebSocket.
//!
//! A request comes in at [`server`], passes [`middleware`] and finds its handler by the table in [`router`], which also says who may
//! call ([`access`], for gRPC [`calls`]). Handlers in [`rest`] are thin: they turn bodies into calls of other modules and results into bodies.

pub mod access;
pub mod body;
pub mod calls;
pub mod extract;
mod greeting;
pub mod middleware;
pub mod request_id;
pub mod rest;
pub mod router;
pub mod seats;
pub mod server;
pub mod throttle;
pub mod tls;
pub mod ws;

#[cfg(test)]
mod tests;
