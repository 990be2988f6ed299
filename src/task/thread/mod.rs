//! Dedicated OS threads, registered like tasks.

mod serve;

use std::panic::Location;
use std::thread::JoinHandle;

use super::job::Job;
use super::kind::AsKind;
use super::record::flag;

pub use serve::{CallError, CallRefused, MAX_CALLS, Reply, Server, serve};

/// Spawns an OS thread that is registered as a task of that kind, and named by it.
///
/// It is for code that needs a thread for itself: a graphics loop, a library that blocks. It is shown as running
/// from start to end, and nothing can abort it. Where many short calls block, use
/// [`spawn_blocking`](crate::spawn_blocking); where a library wants all calls on one thread, [`serve()`].
///
/// # Panics
///
/// Where the system gives no thread, as [`std::thread::spawn`] does. A panic of the code reaches the handle.
///
/// # Examples
///
/// ```
/// let thread = lifespan::thread::spawn("checksum", || 6 * 7);
/// assert_eq!(thread.join().expect("no panic"), 42);
/// ```
#[track_caller]
pub fn spawn<F, T>(kind: impl AsKind, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let kind = kind.kind_id();
    let job = Job::new(f, kind, flag::THREAD | flag::LONG_LIVED, Location::caller());
    job.inherit();
    std::thread::Builder::new()
        .name(kind.name().to_owned())
        .spawn(move || job.run())
        .expect("failed to spawn a thread")
}
