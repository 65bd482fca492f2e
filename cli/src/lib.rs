//! The command line of cyx: arguments, output, exit codes.
