//! The command line: text to typed, once; and what operators do with it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod demo;
mod diff;
mod dump;
mod fetch;

pub(crate) use demo::DemoArgs;
pub(crate) use dump::DumpArgs;

/// What the user asked for, or what to tell instead.
pub(crate) fn parse() -> Result<Command, Answer> {
    match Cli::try_parse() {
        Ok(cli) => Ok(cli.command),
        Err(answer) => Err(Answer(answer)),
    }
}

/// A page of help, the version, or what is wrong with what was typed.
#[derive(Debug)]
pub(crate) struct Answer(clap::Error);

impl Answer {
    /// Prints it: help to standard output, errors to standard error. The exit code is 0 or 2.
    pub(crate) fn give(self) -> ExitCode {
        // Where nobody reads it, the exit code still says it.
        let _ = self.0.print();
        u8::try_from(self.0.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

/// See every task of a tokio service, from spawn to exit.
#[derive(Debug, Parser)]
#[command(name = "lifespan", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One of them is run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Dump(DumpArgs),
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure, 2 wrong usage.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
