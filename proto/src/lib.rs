//! The wire: what client, server and nodes say to each other.
//!
//! The `.proto` files in this crate's folder are the contract and carry its documentation; the modules here are generated
//! from them. [`convert`] turns foreign fields into checked types of `cyx-core`, [`status`] carries stable error codes over
//! gRPC, [`tls`] is how a connection to a node is secured, [`socket`] how it is set up below that, [`idle_restart`] how small
//! messages are sent at once, [`connect_error`] why one failed, [`bounded`] is the codec, and [`bulk`] moves chunk data past it.

pub mod bounded;
pub mod bulk;
pub mod connect_error;
pub mod convert;
pub mod idle_restart;
pub mod socket;
pub mod status;
pub mod tls;

/// Between clients and storage nodes.
pub mod chunk {
    /// Version 1.
    #[expect(missing_docs, clippy::all, clippy::pedantic, reason = "generated; the .proto file documents it")]
    pub mod v1 {
        tonic::include_proto!("cyx.chunk.v1");
    }
}

/// Between storage nodes and the server.
pub mod node {
    /// Version 1.
    #[expect(missing_docs, clippy::pedantic, reason = "generated; the .proto file documents it")]
    pub mod v1 {
        tonic::include_proto!("cyx.node.v1");
    }
}

/// Between clients and the server.
pub mod meta {
    /// Version 1.
    #[expect(missing_docs, clippy::all, clippy::pedantic, reason = "generated; the .proto file documents it")]
    pub mod v1 {
        tonic::include_proto!("cyx.meta.v1");
    }
}
