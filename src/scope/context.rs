//! What a scope's task is given.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

use super::Scope;
use super::node::Node;
use super::reason::Reason;

/// The scope, as a task that runs in it sees it.
///
/// A task that watches it ends by itself when it is to; one that does not is aborted by the scope's
/// [`close`](Scope::close).
#[derive(Clone)]
pub struct Context {
    node: Arc<Node>,
}

impl Context {
    pub(super) fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
        }
    }

    /// Waits until the scope, or one that it is in, is cancelled or closed or has passed its deadline; and says why.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time, and called as often as you like: in a `select!` too.
    ///
    /// # Examples
    ///
    /// ```
    /// use lifespan::{Reason, Scope};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let request = Scope::new("request");
    /// let task = request.spawn("db-query", |cx| async move {
    ///     tokio::select! {
    ///         reason = cx.cancelled() => Err(reason),
    ///         () = std::future::pending() => Ok(()),
    ///     }
    /// });
    /// request.cancel(Reason::new("client went away"));
    /// assert_eq!(task.await.expect("no panic"), Err(Reason::new("client went away")));
    /// # }
    /// ```
    pub async fn cancelled(&self) -> Reason {
        loop {
            let mut tightened = pin!(self.node.tightened.notified());
            tightened.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            let deadline = self.node.lock().standing.deadline();
            let mut cancelled = pin!(self.node.token.cancelled());
            // Whichever comes first; the loop looks which it was.
            let either = std::future::poll_fn(|cx| {
                if cancelled.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                tightened.as_mut().poll(cx)
            });
            match deadline {
                Some(deadline) => {
                    let _ = timeout_at(deadline, either).await;
                }
                None => either.await,
            }
        }
    }

    /// Whether the task is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the task is to stop: the first reason that its scope was given, itself or through one that it is in.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.node.lock().standing.reason(Instant::now())
    }

    /// Until when the task is to be done, if it has a deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.lock().standing.deadline()
    }

    /// The scope.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(&self.node)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("scope", &self.node.path)
            .finish_non_exhaustive()
    }
}
