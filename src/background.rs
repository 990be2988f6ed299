//! The agent's own thread, and what always runs on it.
//!
//! Whatever the observed runtime does, this thread has a runtime of its own, so that what runs here answers while
//! every worker of the other is blocked. Nothing here is tracked, so that the agent is never among what it shows.

mod lives;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::error::Error;
use crate::event;
use crate::registry;
use crate::task::{cells, exit, panic};

/// How long dropping the agent blocks at most.
pub const STOP_LIMIT: Duration = Duration::from_secs(2);

/// A loop that runs until the stop it is given; it is made anew where it panics.
pub(crate) type Job = Box<dyn FnMut(Stop) -> Running + Send>;
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One thread with a current-thread runtime, and the loops on it.
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    ended: Arc<Ended>,
    thread: ThreadId,
    panics: Arc<AtomicU64>,
}

impl Background {
    /// Starts the thread; besides `jobs` it sweeps, and drains exits.
    pub(crate) fn start(jobs: Vec<(&'static str, Job)>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Nothing here may block for long; this is for a name that a later exporter must resolve.
            .max_blocking_threads(2)
            .thread_name("lifespan-block")
            .build()
            .map_err(Error::thread)?;
        let (stop, stopped) = watch::channel(false);
        let ended = Arc::new(Ended::default());
        let ending = Ending(Arc::clone(&ended));
        let panics = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&panics);
        // A hook cannot be set while this very thread panics: where a panic happened is then not known.
        if !std::thread::panicking() {
            panic::watch();
        }
        let wanted = Wanted::new();
        let thread = std::thread::Builder::new()
            .name("lifespan-agent".to_owned())
            .spawn(move || {
                let _ending = ending;
                let _wanted = wanted;
                runtime.block_on(run(jobs, Stop(stopped), &counted));
                // What a later exporter may block in is not waited for.
                runtime.shutdown_background();
            })
            .map_err(Error::thread)?;
        Ok(Self {
            stop,
            ended,
            thread: thread.thread().id(),
            panics,
        })
    }

    /// Stops the thread and waits for its end, at most that long. A second call has nothing to do.
    pub(crate) fn stop(&self, limit: Duration) -> Result<(), Error> {
        self.stop.send_replace(true);
        if std::thread::current().id() == self.thread {
            return Ok(()); // it will end when it gets to it; to wait for oneself takes for ever
        }
        if self.ended.wait(limit) {
            Ok(())
        } else {
            Err(Error::timeout())
        }
    }

    /// How often one of the loops panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.stop(STOP_LIMIT).is_err() {
            tracing::warn!("lifespan: the agent's thread did not stop in time and is left behind");
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background")
            .field("panics", &self.panics())
            .finish_non_exhaustive()
    }
}

/// Whether the thread has ended.
#[derive(Debug, Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    /// Waits for it, and says whether it has.
    fn wait(&self, limit: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(ended, limit, |ended| !*ended);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *ended
    }
}

/// Says so when it is dropped: the last thing that the thread does, in whatever way it ends.
struct Ending(Arc<Ended>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

/// Tells a loop when to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the agent stops, or is gone.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and asked again at any time.
    pub(crate) async fn stopped(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

async fn run(jobs: Vec<(&'static str, Job)>, mut stop: Stop, panics: &Arc<AtomicU64>) {
    let mut loops = JoinSet::new();
    let always: [(&'static str, Job); 2] = [
        ("sweep", Box::new(|stop| Box::pin(sweep(stop)))),
        ("exits", Box::new(|stop| Box::pin(drain(stop)))),
    ];
    for (name, job) in always.into_iter().chain(jobs) {
        loops.spawn(keep_running(name, job, stop.clone(), Arc::clone(panics)));
    }
    stop.stopped().await;
    let all = async { while loops.join_next().await.is_some() {} };
    // A loop that does not heed the stop is dropped, as long as it does not block the thread.
    let _ = tokio::time::timeout(HEED, all).await;
}

/// How long loops may take to end; less than [`STOP_LIMIT`], more than the server's grace.
const HEED: Duration = Duration::from_millis(1_500);

/// Runs a loop until the stop. One that panics is made anew, after a while, and takes no other with it.
async fn keep_running(name: &'static str, mut job: Job, mut stop: Stop, panics: Arc<AtomicU64>) {
    let mut failures = 0u32;
    // Once even where it is to stop already: a loop that takes in what is left does so at its end.
    loop {
        let mut attempt = JoinSet::new();
        attempt.spawn(job(stop.clone()));
        let Some(Err(error)) = attempt.join_next().await else {
            return; // it has ended of itself
        };
        panics.fetch_add(1, Relaxed);
        failures = failures.saturating_add(1);
        let wait = backoff(failures);
        tracing::warn!(
            part = name,
            panics = failures,
            ?wait,
            "lifespan: a part of the agent panicked"
        );
        discard(error.try_into_panic().ok());
        if tokio::time::timeout(wait, stop.stopped()).await.is_ok() {
            return;
        }
    }
}

/// The payload of a panic can panic when it is dropped.
fn discard(payload: Option<Box<dyn Any + Send>>) {
    panic::contain(move || drop(payload));
}

/// 100 ms, doubled with each failure, at most 10 s.
fn backoff(failures: u32) -> Duration {
    let doubled = 1u32 << failures.saturating_sub(1).min(10);
    Duration::from_millis(100)
        .saturating_mul(doubled)
        .min(Duration::from_secs(10))
}

/// Sweeps when it is time, whoever swept last: of two agents in a process one does the work.
async fn sweep(mut stop: Stop) {
    while !stop.is_stopped() {
        let last = registry::last_sweep();
        // Whoever took it.
        if let Some(last) = &last {
            lives::tell_begun(last);
        }
        let wait = until_next(last.map(|last| (last.at, last.took)), SystemTime::now());
        if wait.is_zero() {
            registry::sweep();
            if clock::recalibrate() {
                cells::rescale();
            }
            tokio::task::yield_now().await;
        } else {
            let _ = tokio::time::timeout(wait, stop.stopped()).await;
        }
    }
}

/// How long to wait for the next sweep, given when the last one began and how long it took.
fn until_next(last: Option<(SystemTime, Duration)>, now: SystemTime) -> Duration {
    let Some((at, took)) = last else {
        return Duration::ZERO;
    };
    match now.duration_since(at) {
        Ok(since) => registry::pace(took).saturating_sub(since),
        // The system's clock was set back.
        Err(_) => Duration::ZERO,
    }
}

/// Takes in exits; often enough that a thread's ring of 256 has room at a thousand exits a second. And says which
/// lines of events were left out of the log, for whom there may be no event that says it.
async fn drain(mut stop: Stop) {
    while !stop.is_stopped() {
        take_in();
        event::flush(false);
        let _ = tokio::time::timeout(DRAIN_EVERY, stop.stopped()).await;
    }
    take_in();
    event::flush(true);
}

fn take_in() {
    registry::drain();
    lives::tell_ended();
}

const DRAIN_EVERY: Duration = Duration::from_millis(200);

/// Exits are kept while at least one of these lives.
struct Wanted;

impl Wanted {
    fn new() -> Self {
        Self::add(1);
        Self
    }

    fn add(agents: isize) {
        static AGENTS: Mutex<isize> = Mutex::new(0);
        let mut count = AGENTS.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add(agents);
        exit::want(*count > 0);
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        Self::add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    #[test]
    fn the_next_sweep_keeps_the_pace_of_the_last() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let after = |millis| at + Duration::from_millis(millis);
        let millis = Duration::from_millis;
        assert_eq!(until_next(None, at), Duration::ZERO);
        assert_eq!(until_next(Some((at, millis(1))), after(400)), millis(600));
        assert_eq!(until_next(Some((at, millis(10))), after(1_500)), millis(500));
        assert_eq!(until_next(Some((at, millis(1))), after(1_000)), Duration::ZERO);
        assert_eq!(until_next(Some((at, millis(1))), at - millis(1)), Duration::ZERO);
    }

    #[test]
    fn backoff_grows_and_ends() {
        assert_eq!(backoff(1), Duration::from_millis(100));
        assert_eq!(backoff(3), Duration::from_millis(400));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn a_panic_is_counted_and_stays_in_its_loop() {
        let ran = Arc::new(AtomicBool::new(false));
        let again = Arc::clone(&ran);
        let mut runs = 0;
        let failing: Job = Box::new(move |mut stop| {
            runs += 1;
            let (first, again) = (runs == 1, Arc::clone(&again));
            Box::pin(async move {
                assert!(!first, "the first run fails");
                again.store(true, Relaxed);
                stop.stopped().await;
            })
        });
        let background = Background::start(vec![("failing", failing)]).unwrap();
        wait_until(|| ran.load(Relaxed));
        assert_eq!(background.panics(), 1);
        let before = registry::sweep().at;
        wait_until(|| registry::last_sweep().is_some_and(|last| last.at > before));
        background.stop(STOP_LIMIT).unwrap();
        background.stop(STOP_LIMIT).unwrap();
    }

    #[test]
    fn a_loop_runs_once_where_the_stop_comes_first() {
        let ran = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ran);
        let counts: Job = Box::new(move |_| {
            counted.fetch_add(1, Relaxed);
            Box::pin(async {})
        });
        let background = Background::start(vec![("counts", counts)]).unwrap();
        background.stop(STOP_LIMIT).unwrap();
        assert_eq!(ran.load(Relaxed), 1);
    }

    #[test]
    fn a_loop_that_does_not_heed_the_stop_is_dropped() {
        let deaf: Job = Box::new(|_| Box::pin(std::future::pending()));
        let background = Background::start(vec![("deaf", deaf)]).unwrap();
        background.stop(STOP_LIMIT).unwrap();
    }

    #[test]
    fn a_thread_that_is_blocked_is_left_behind() {
        let (running, runs) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let blocks: Job = Box::new(move |_| {
            let (running, released) = (running.clone(), Arc::clone(&released));
            Box::pin(async move {
                running.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            })
        });
        let background = Background::start(vec![("blocks", blocks)]).unwrap();
        runs.recv().unwrap();
        let error = background.stop(Duration::from_millis(10)).unwrap_err();
        assert!(error.is_timeout());
        drop(release);
        background.stop(STOP_LIMIT).unwrap();
    }

    fn wait_until(condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it did not happen within 10 s");
    }
}
