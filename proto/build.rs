//! Compiles the .proto files with `protox`, so that no `protoc` has to be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["cyx/chunk/v1/chunk.proto", "cyx/node/v1/node.proto", "cyx/meta/v1/meta.proto"];
    println!("cargo::rerun-if-changed=cyx");
    let descriptors = protox::compile(files, ["."])?;
    // `bytes` fields become reference-counted `Bytes`, so that chunk data is never copied on its way.
    tonic_prost_build::configure().bytes(".").build_transport(true).compile_fds(descriptors)?;
    Ok(())
}
