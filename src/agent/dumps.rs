//! Dumps that the agent writes of its own accord, for when nobody can ask over HTTP any more.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::background::{Job, Stop};
use crate::config::{DumpEnvironment, DumpSignal};
use crate::error::Error;
use crate::profile::report;
use crate::profile::view::{self, View};
use crate::registry;
use crate::task::Outcome;

/// How many bytes of tasks a dump in a file has at most.
pub const MAX_DUMP_BYTES: usize = 64 * 1_024 * 1_024;

/// How many bytes of tasks a dump on standard error has at most.
pub const MAX_STDERR_BYTES: usize = 1_024 * 1_024;

/// When the agent writes a dump of all tasks and of the last exits, and where to.
///
/// It is written by the agent's thread and by one that only writes, so that it comes although every worker of the
/// service is blocked. It is the text of `/debug/pprof/tasks?debug=2`, with the last exits behind it, and bounded: see
/// [`MAX_DUMP_BYTES`]. What is asked for while a dump is written, and for a second after it, is one dump more.
///
/// Standard error can be a pipe whose reader stalls. Then only the thread that writes waits, but the pipe is full for
/// the service too: where that can happen, have it written to a file.
///
/// # Examples
///
/// ```
/// use lifespan::agent::{DumpSignal, Dumps};
///
/// let dumps = Dumps::new().on_signal(DumpSignal::Usr2).to_file("/var/tmp/orders.dump");
/// let builder = lifespan::Agent::builder("orders").dumps(dumps);
/// # drop(builder);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dumps {
    signal: Option<DumpSignal>,
    request: Option<PathBuf>,
    panic: bool,
    file: Option<PathBuf>,
}

impl Dumps {
    /// None: nothing makes the agent write one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes one when the process gets that signal, which no longer does what it did by default. By default, on that
    /// of `LIFESPAN_DUMP_SIGNAL`, else on none.
    ///
    /// Only Unix has signals. The signal is listened for some milliseconds after the agent has started.
    #[must_use]
    pub fn on_signal(mut self, signal: DumpSignal) -> Self {
        self.signal = Some(signal);
        self
    }

    /// Writes one when a file appears at that path, and removes the file. By default, that of
    /// `LIFESPAN_DUMP_REQUEST`, else none.
    ///
    /// It is looked for twice a second.
    #[must_use]
    pub fn on_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.request = Some(path.into());
        self
    }

    /// Writes one when a tracked task has panicked, at most one a minute. By default, only where
    /// `LIFESPAN_DUMP_PANIC` is `1`.
    ///
    /// A process that aborts on panics is gone before.
    #[must_use]
    pub fn on_panic(mut self) -> Self {
        self.panic = true;
        self
    }

    /// Writes them to that file, each in the place of the last. By default, to that of `LIFESPAN_DUMP_FILE`, else to
    /// standard error.
    ///
    /// Only its owner can read the file. What stands at the path with `.new` at its end is overwritten.
    #[must_use]
    pub fn to_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// With what the environment says where nothing was said.
    fn resolve(mut self, environment: DumpEnvironment) -> Result<Self, Error> {
        if self.signal.is_none() {
            self.signal = environment.signal.transpose()?;
        }
        if self.signal.is_some() && cfg!(not(unix)) {
            return Err(Error::setting("LIFESPAN_DUMP_SIGNAL", "only Unix has signals"));
        }
        self.request = self.request.or(environment.request);
        self.panic |= environment.panic;
        self.file = self.file.or(environment.file);
        Ok(self)
    }

    fn are_wanted(&self) -> bool {
        self.signal.is_some() || self.request.is_some() || self.panic
    }
}

/// The loop that waits for a reason to write one.
pub(super) fn watching(asked: &Dumps, environment: DumpEnvironment) -> Result<Job, Error> {
    let dumps = asked.clone().resolve(environment)?;
    if !dumps.are_wanted() {
        return Err(Error::absent("nothing was said to make the agent write dumps"));
    }
    Ok(Box::new(move |stop| Box::pin(watch(dumps.clone(), stop))))
}

/// Why a dump is written.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Signal,
    File,
    Panic,
}

async fn watch(dumps: Dumps, mut stop: Stop) {
    let mut signals = Signals::listen(dumps.signal);
    let mut panics = Panics::new();
    loop {
        let reason = tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = signals.next() => Reason::Signal,
            reason = look(&dumps, &mut panics) => reason,
        };
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = write(reason, &dumps) => {}
        }
        let _ = tokio::time::timeout(REST, stop.stopped()).await;
    }
}

/// Waits for what must be looked for.
///
/// # Cancel safety
///
/// It can be dropped at any time: what it has not seen yet it sees the next time.
async fn look(dumps: &Dumps, panics: &mut Panics) -> Reason {
    loop {
        sleep(LOOK_EVERY).await;
        if dumps.panic && panics.came(Instant::now()) {
            return Reason::Panic;
        }
        if let Some(path) = dumps.request.clone() {
            // A file system can hang: that is not for the agent's thread. Where the file cannot be removed, its
            // request has not been taken.
            let taken = spawn_blocking(move || std::fs::remove_file(path).is_ok()).await;
            if taken.is_ok_and(|taken| taken) {
                return Reason::File;
            }
        }
    }
}

/// Takes a dump and writes it.
async fn write(reason: Reason, dumps: &Dumps) {
    let start = Instant::now();
    let dump = loop {
        match view::take(View::All).await {
            Ok(dump) => break dump,
            Err(_) if start.elapsed() < PATIENCE => sleep(LOOK_EVERY).await,
            Err(_) => {
                tracing::warn!(
                    ?reason,
                    "lifespan: no dump was written: others are taken all the time"
                );
                return;
            }
        }
    };
    let file = dumps.file.clone();
    let written = spawn_blocking(move || {
        let history = registry::exits();
        match file {
            Some(path) => replace(&path, |to| report::write(&dump, &history, MAX_DUMP_BYTES, to)),
            None => standard_error().and_then(|to| {
                let mut to = BufWriter::new(to);
                report::write(&dump, &history, MAX_STDERR_BYTES, &mut to)
            }),
        }
    });
    match written.await {
        Ok(Ok(())) => tracing::info!(?reason, file = ?dumps.file, "lifespan: a dump was written"),
        Ok(Err(error)) => {
            tracing::warn!(?reason, file = ?dumps.file, %error, "lifespan: a dump could not be written");
        }
        Err(_) => {} // it panicked, or the runtime ends
    }
}

/// Writes a file anew and puts it in the place of the old one, so that nobody reads half of it. What it is called in
/// the meantime must not exist, and is no link that leads elsewhere.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Of a process that was killed while it wrote.
    let _ = std::fs::remove_file(&new);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut to = BufWriter::new(options.open(&new)?);
    write(&mut to)?;
    drop(to);
    std::fs::rename(&new, path)
}

/// A handle of its own: std's would be locked while a write waits, and the service would wait for that lock.
#[cfg(unix)]
fn standard_error() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn standard_error() -> io::Result<io::Stderr> {
    Ok(io::stderr())
}

/// Tasks that have panicked, as the registry counts them.
struct Panics {
    seen: u64,
    last: Option<Instant>,
}

impl Panics {
    fn new() -> Self {
        Self {
            seen: panicked(),
            last: None,
        }
    }

    /// Whether a task has panicked since the last time, and a minute has passed since then.
    fn came(&mut self, now: Instant) -> bool {
        self.came_to(panicked(), now)
    }

    fn came_to(&mut self, count: u64, now: Instant) -> bool {
        let rests = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < PANIC_REST);
        if count == self.seen || rests {
            return false;
        }
        (self.seen, self.last) = (count, Some(now));
        true
    }
}

fn panicked() -> u64 {
    let kinds = registry::kinds();
    let counts = kinds.iter().map(|kind| kind.finished.with(Outcome::Panicked));
    counts.fold(0, u64::wrapping_add)
}

/// The signal that is listened for.
#[cfg(unix)]
struct Signals(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    fn listen(signal: Option<DumpSignal>) -> Self {
        use tokio::signal::unix::{SignalKind, signal as listen};
        let Some(signal) = signal else {
            return Self(None);
        };
        let kind = match signal {
            DumpSignal::Usr1 => SignalKind::user_defined1(),
            DumpSignal::Usr2 => SignalKind::user_defined2(),
            DumpSignal::Quit => SignalKind::quit(),
        };
        match listen(kind) {
            Ok(signal) => Self(Some(signal)),
            Err(error) => {
                tracing::warn!(?signal, %error, "lifespan: the signal cannot be listened for");
                Self(None)
            }
        }
    }

    /// Waits for the next one; for ever where there is none.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time, and no signal is lost.
    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen(_: Option<DumpSignal>) -> Self {
        Self
    }

    #[expect(clippy::needless_pass_by_ref_mut, clippy::unused_self, reason = "as on unix")]
    async fn next(&mut self) {
        std::future::pending().await
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it rests after a dump.
const REST: Duration = Duration::from_secs(1);
/// How long it rests after a dump for a panic: a task that panics in a loop must not dump in one.
const PANIC_REST: Duration = Duration::from_secs(60);
/// How long it waits for a dump of its own while others are taken.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_the_builder_says_comes_before_the_environment() {
        let environment = || {
            DumpEnvironment::from_lookup(|name| match name {
                "LIFESPAN_DUMP_SIGNAL" => Some("SIGQUIT".into()),
                "LIFESPAN_DUMP_FILE" => Some("/tmp/of-the-environment".into()),
                _ => None,
            })
        };
        let dumps = Dumps::new()
            .to_file("/tmp/of-the-builder")
            .resolve(environment())
            .unwrap();
        assert_eq!(dumps.signal, Some(DumpSignal::Quit));
        assert_eq!(dumps.file.as_deref(), Some(Path::new("/tmp/of-the-builder")));
        assert!(watching(&Dumps::new(), DumpEnvironment::default()).is_err_and(|error| error.is_absent()));
        assert!(watching(&Dumps::new().on_panic(), DumpEnvironment::default()).is_ok());
        let wrong = DumpEnvironment::from_lookup(|_| Some("nonsense".into()));
        assert!(watching(&Dumps::new(), wrong).is_err_and(|error| error.is_setting()));
    }

    #[test]
    fn a_panic_is_a_reason_once_a_minute() {
        let now = Instant::now();
        let mut panics = Panics { seen: 3, last: None };
        assert!(!panics.came_to(3, now));
        assert!(panics.came_to(4, now));
        assert!(!panics.came_to(5, now + Duration::from_secs(59)));
        assert!(panics.came_to(5, now + Duration::from_secs(61)));
        assert!(!panics.came_to(5, now + Duration::from_secs(200)));
    }

    #[test]
    fn a_file_takes_the_place_of_the_last_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dump");
        for text in ["first", "second"] {
            replace(&path, |to| to.write_all(text.as_bytes())).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt, symlink};
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            let other = folder.path().join("other");
            std::fs::write(&other, "kept").unwrap();
            symlink(&other, folder.path().join("dump.new")).unwrap();
            replace(&path, |to| to.write_all(b"third")).unwrap();
            assert_eq!(std::fs::read_to_string(&other).unwrap(), "kept");
        }
        let nowhere = folder.path().join("no such folder").join("dump");
        assert!(replace(&nowhere, |_| Ok(())).is_err());
    }
}
