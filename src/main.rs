//! The `lifespan` binary: parse, run, exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

mod cli;
mod demo;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(command) => run(&command),
        Err(answer) => answer.give(),
    }
}

/// Everything that the program can do.
fn run(command: &cli::Command) -> ExitCode {
    match command {
        cli::Command::Demo(args) => told(demo::run(args)),
        cli::Command::Dump(args) => told(args.run().map(|()| ExitCode::SUCCESS)),
    }
}

/// The exit code, and why it is not 0.
fn told(ended: Result<ExitCode, impl Display>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Not `eprintln`, which panics where nobody reads standard error any more.
            let _ = writeln!(io::stderr(), "lifespan: {error}");
            ExitCode::FAILURE
        }
    }
}
