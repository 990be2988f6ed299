//! Which runtime a task runs in, as far as that can be known without a price.
//!
//! A worker of a multi-thread runtime belongs to it for life, so that asking once a thread is enough. A thread
//! that calls `block_on` can do so for one runtime after another: asking tokio at each task's first poll would
//! cost as much as all the rest of a record, so that tasks there have no runtime unless they were spawned onto
//! a given one.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Handle, Id, RuntimeFlavor};

use super::waker;

/// The number of a runtime, from 1; 0 where all numbers are taken.
pub(crate) fn number(handle: &Handle) -> u8 {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let id = handle.id();
    let at = known
        .iter()
        .position(|runtime| *runtime == id)
        .unwrap_or(known.len());
    let Some(name) = NAMES.get(at) else { return 0 };
    // Lives as long as the process; there are at most as many as numbers.
    name.get_or_init(|| Box::leak(handle.name().map_or_else(|| id.to_string(), str::to_owned).into()));
    if at == known.len() {
        known.push(id);
    }
    u8::try_from(at + 1).unwrap_or(0)
}

/// The name of a runtime, or its id where it has none.
pub(crate) fn name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number).checked_sub(1)?)?.get().copied()
}

/// The number of the runtime whose worker this thread is, for the thread's whole life.
pub(crate) fn of_this_worker() -> u8 {
    if tokio::runtime::worker_index().is_none() {
        return 0;
    }
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => number(&handle),
        _ => 0,
    }
}

/// Learns what wakers of tokio's tasks look like, where none of our spawn routes has shown one yet.
///
/// A thread of its own polls one task: it takes some 100 us, once a process, and only in one that tracks futures
/// before it spawns any through us.
#[cold]
pub(crate) fn learn_waker() -> bool {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if !waker::knows_tokio() {
        ONCE.call_once(|| {
            let learner = std::thread::Builder::new()
                .name("lifespan-learn".to_owned())
                .spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
                    let task = runtime.spawn(std::future::poll_fn(|cx| {
                        waker::learn_tokio(cx.waker());
                        std::task::Poll::Ready(())
                    }));
                    runtime.block_on(task).ok()
                });
            // Without a thread nothing is learned, and every waker passes through.
            let _ = learner.map(std::thread::JoinHandle::join);
        });
    }
    waker::knows_tokio()
}

/// The most runtimes that get a number; a test suite can make thousands.
const MOST: usize = 254;

static KNOWN: Mutex<Vec<Id>> = Mutex::new(Vec::new());
static NAMES: [OnceLock<&'static str>; MOST] = [const { OnceLock::new() }; MOST];
