//! The cyx storage node.

fn main() -> std::process::ExitCode {
    cyx_node::program::main()
}
