//! The program `cyx-server`; everything is in the library.

fn main() -> std::process::ExitCode {
    cyx_server::cli::main()
}
