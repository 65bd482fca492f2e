//! The cyx storage node.
fn main() {}
