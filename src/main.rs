//! The command line of drave.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
