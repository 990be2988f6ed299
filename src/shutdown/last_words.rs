//! Who is still alive when the process does not wait any longer.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use super::course::{self, Phase};
use super::system::Signal;
use crate::event::{self, Event, Subject};
use crate::registry::{self, Nature, Row};
use crate::task::State;

/// How many are named at most; of the others the number is told.
const MOST_NAMED: usize = 100_000;
/// How many running tasks are looked for, before all others.
const MOST_RUNNING: usize = 1_000;
/// How many events are told at most: the journal has room for others.
const MOST_TOLD: usize = 64;

/// Why the process does not wait any longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// All of this time is over.
    Deadline(Duration),
    /// It is the second one.
    Again(Signal),
}

/// Names the survivors, so long after the initiation: those first that run, since the others may only wait for them.
pub(super) fn say(why: Why, after: Duration) {
    let total = registry::kinds().iter().map(|kind| kind.live()).sum();
    let mut out = BufWriter::new(standard_error());
    // A drain that was complete has told of them.
    let untold = course::phase() < Phase::Complete;
    // Where nobody reads it, the exit code still says that there was something.
    let _ = write(&mut out, why, total, |row| {
        if untold {
            tell(row, after);
        }
    });
    if untold {
        let (took, survivors) = (after, total);
        event::note(Subject::default(), Event::ShutdownComplete { took, survivors });
    }
}

/// What matters most is out before the rest is looked for: there may be no time for that.
fn write(out: &mut impl Write, why: Why, total: u64, tell: impl Fn(&Row)) -> io::Result<()> {
    writeln!(
        out,
        "lifespan: {why}: the process ends now, with {total} tasks alive"
    )?;
    out.flush()?;
    let mut first = HashSet::new();
    for row in registry::rows().filter(runs).take(MOST_RUNNING) {
        writeln!(out, "  {}", Survivor(&row))?;
        if first.len() < MOST_TOLD {
            tell(&row);
        }
        first.insert(row.id);
    }
    out.flush()?;
    let mut named = u64::try_from(first.len()).unwrap_or(u64::MAX);
    let others = registry::rows().filter(|row| !first.contains(&row.id));
    for row in others.take(MOST_NAMED) {
        writeln!(out, "  {}", Survivor(&row))?;
        named = named.saturating_add(1);
    }
    if named < total {
        writeln!(out, "  and {} more", total.saturating_sub(named))?;
    }
    out.flush()
}

fn runs(row: &Row) -> bool {
    row.state == State::Running
}

fn tell(row: &Row, after: Duration) {
    let subject = Subject {
        task: Some(row.id),
        kind: Some(row.kind),
        name: row.name.as_deref().map(Arc::from),
        ..Subject::default()
    };
    event::note(subject, Event::Stuck { after });
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline(limit) => write!(f, "not shut down within {limit:?}"),
            Self::Again(signal) => write!(f, "{} again", signal.name),
        }
    }
}

struct Survivor<'a>(&'a Row);

impl fmt::Display for Survivor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0;
        write!(f, "{}", row.kind)?;
        if let Some(name) = &row.name {
            write!(f, " `{name}`")?;
        }
        write!(f, ", task {}, age {:.1?}", row.id, row.age)?;
        if let Some(site) = row.spawned_at {
            write!(f, ", spawned at {site}")?;
        }
        match row.nature {
            Nature::Future => write!(f, ": {}", row.state),
            Nature::Blocking | Nature::Thread => {
                write!(f, ": {}, cannot be aborted", row.nature.name())
            }
        }
    }
}

/// Past the lock of std's handle: a thread that is blocked may hold that.
#[cfg(unix)]
fn standard_error() -> Box<dyn Write> {
    use std::os::fd::AsFd;
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(copy) => Box::new(std::fs::File::from(copy)),
        Err(_) => Box::new(io::sink()),
    }
}

#[cfg(not(unix))]
fn standard_error() -> Box<dyn Write> {
    Box::new(io::stderr())
}
