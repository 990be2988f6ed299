//! A hyper executor, so that what a server spawns for its connections is tracked.

use std::panic::Location;

use super::kind::{AsKind, KindId};
use super::spawn;

/// Spawns what hyper asks it to as tasks of one kind, on the current tokio runtime.
///
/// Give it to hyper's HTTP/2 and to hyper-util's `auto` and `legacy` builders in the place of their
/// `TokioExecutor`. HTTP/1 connections are futures that the server spawns itself: track those with
/// [`tracked`](crate::Track::tracked).
///
/// # Examples
///
/// ```
/// use lifespan::Executor;
///
/// let builder = hyper_util::server::conn::auto::Builder::new(Executor::new("http2-stream"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Executor {
    kind: KindId,
    site: &'static Location<'static>,
}

impl Executor {
    /// An executor for tasks of that kind. Where it is made is shown as the place where they are spawned.
    #[track_caller]
    #[must_use]
    pub fn new(kind: impl AsKind) -> Self {
        Self {
            kind: kind.kind_id(),
            site: Location::caller(),
        }
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        #[cfg(tokio_unstable)]
        let _ours = super::hooks::ours();
        spawn::on_current(spawn::root(self.kind, future, self.site));
    }
}
