//! An event that comes unheard: what a lost wakeup is made of.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Something that comes once, with the classic mistake: who waits looks whether it has come, and *then* says whom
/// to wake. Here it always comes in between.
#[derive(Debug, Default)]
pub(super) struct Event {
    came: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Event {
    /// Waits until it has come, and longer.
    pub(super) async fn wait(&self) {
        poll_fn(|cx| self.poll_wait(cx)).await;
    }

    fn poll_wait(&self, cx: &Context<'_>) -> Poll<()> {
        if self.came.load(SeqCst) {
            return Poll::Ready(());
        }
        self.come();
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Wakes who waits, as far as that is known.
    fn come(&self) {
        self.came.store(true, SeqCst);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
