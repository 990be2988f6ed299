//! Settings of the dumps that the agent writes of its own accord.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::Error;

/// A signal on which the agent writes a dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DumpSignal {
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGQUIT`, on which Go's runtime and the JVM dump as well. It no longer ends the process.
    Quit,
}

/// What the environment asks for: `LIFESPAN_DUMP_SIGNAL`, `LIFESPAN_DUMP_REQUEST`, `LIFESPAN_DUMP_PANIC`,
/// `LIFESPAN_DUMP_FILE`. A variable that is empty counts as not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct DumpEnvironment {
    pub(crate) signal: Option<Result<DumpSignal, Error>>,
    pub(crate) request: Option<PathBuf>,
    pub(crate) panic: bool,
    pub(crate) file: Option<PathBuf>,
}

impl DumpEnvironment {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// What `lookup` knows; so that a test need not set a variable of its process.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            signal: set(SIGNAL).map(|value| parse_signal(&value.to_string_lossy())),
            request: set("LIFESPAN_DUMP_REQUEST").map(PathBuf::from),
            panic: set("LIFESPAN_DUMP_PANIC").is_some_and(|value| value == "1"),
            file: set("LIFESPAN_DUMP_FILE").map(PathBuf::from),
        }
    }
}

fn parse_signal(text: &str) -> Result<DumpSignal, Error> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    match name {
        "USR1" => Ok(DumpSignal::Usr1),
        "USR2" => Ok(DumpSignal::Usr2),
        "QUIT" => Ok(DumpSignal::Quit),
        _ => {
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            let problem = format!("`{shown}` is none of SIGUSR1, SIGUSR2 and SIGQUIT");
            Err(Error::setting(SIGNAL, problem))
        }
    }
}

const SIGNAL: &str = "LIFESPAN_DUMP_SIGNAL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        for (text, signal) in [
            ("SIGUSR1", DumpSignal::Usr1),
            ("USR2", DumpSignal::Usr2),
            ("SIGQUIT", DumpSignal::Quit),
        ] {
            assert_eq!(parse_signal(text).unwrap(), signal);
        }
        for text in ["SIGTERM", "12", "sigusr1", "\u{1b}[31m"] {
            let error = parse_signal(text).unwrap_err();
            assert!(error.is_setting());
            let message = error.to_string();
            assert!(
                message.starts_with("invalid LIFESPAN_DUMP_SIGNAL: `"),
                "{message}"
            );
            assert!(!message.contains('\u{1b}'));
        }
    }

    #[test]
    fn nothing_set_and_set_to_nothing_are_the_same() {
        for found in [None, Some(OsString::new())] {
            let environment = DumpEnvironment::from_lookup(|_| found.clone());
            assert!(environment.signal.is_none() && environment.request.is_none());
            assert!(!environment.panic && environment.file.is_none());
        }
    }
}
