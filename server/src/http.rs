//! The HTTP side: router, middleware and REST.

pub mod request_id;
