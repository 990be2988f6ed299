//! What came of a shutdown.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::process::{ExitCode, Termination};
use std::time::Duration;

use crate::registry;
use crate::scope::{CleanupFault, Fate, Found, Late, Reason};
use crate::task::TaskId;

/// What a shutdown has to say.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "it names the tasks that did not stop"]
pub struct Report {
    /// Why the process stopped: a signal's name, or what was said.
    pub reason: Reason,
    /// How long it took, from the initiation on.
    pub took: Duration,
    /// The tasks that did not stop in the time that they had, in the order in which their scopes were closed.
    pub late: Vec<Late>,
    /// The cleanups that did not end well, in the order in which they ran.
    pub cleanups: Vec<CleanupFault>,
}

impl Report {
    pub(super) fn new(reason: Reason, took: Duration, found: Found) -> Self {
        let Found { mut late, cleanups } = found;
        if late.iter().any(|late| late.fate != Fate::Ended) {
            // Those of early stages had time since.
            let alive: HashSet<TaskId> = registry::rows().map(|row| row.id).collect();
            for late in &mut late {
                if late.id.is_some_and(|id| !alive.contains(&id)) {
                    late.fate = Fate::Ended;
                }
            }
        }
        Self {
            reason,
            took,
            late,
            cleanups,
        }
    }

    /// Whether every task stopped in time, and every cleanup ended well.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.late.is_empty() && self.cleanups.is_empty()
    }

    /// The tasks of the root scope that are still alive. Blocking jobs and threads are among them, which nothing can abort:
    /// see [`Fate::Unabortable`].
    pub fn survivors(&self) -> impl Iterator<Item = &Late> {
        self.late.iter().filter(|late| late.fate != Fate::Ended)
    }

    fn write_survivors(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "lifespan: {} tasks did not stop", self.survivors().count())?;
        for survivor in self.survivors() {
            writeln!(out, "  {survivor}")?;
        }
        out.flush()
    }
}

impl fmt::Display for Report {
    /// One line, and one more for each task that was late and each cleanup that failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shut down in {:.1?} ({}): {} late, {} of them alive, {} cleanups failed",
            self.took,
            self.reason,
            self.late.len(),
            self.survivors().count(),
            self.cleanups.len()
        )?;
        for late in &self.late {
            write!(f, "\n  {late}")?;
        }
        for cleanup in &self.cleanups {
            write!(f, "\n  cleanup {}: {}", cleanup.name, cleanup.fault)?;
        }
        Ok(())
    }
}

/// What [`Settings::run`](super::Settings::run) returns. `main` can return it.
///
/// As an exit code it is that of the output; where tasks are still alive, they are named on standard error, and it is
/// that of [`Settings::exit_code`](super::Settings::exit_code).
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "it has what the service returned, and names the tasks that did not stop"]
pub struct Finished<T> {
    /// What the service returned; `None` where it did not end by itself, and was aborted.
    pub output: Option<T>,
    /// What came of the shutdown.
    pub report: Report,
    code: u8,
}

impl<T> Finished<T> {
    pub(super) fn new(output: Option<T>, report: Report, code: u8) -> Self {
        Self { output, report, code }
    }
}

impl<T: Termination> Termination for Finished<T> {
    fn report(self) -> ExitCode {
        let code = self.output.map_or(ExitCode::SUCCESS, T::report);
        if self.report.survivors().next().is_none() {
            return code;
        }
        // Where nobody reads it, the exit code still says it.
        let _ = self.report.write_survivors(&mut BufWriter::new(io::stderr()));
        ExitCode::from(self.code)
    }
}
