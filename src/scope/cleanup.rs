//! What a scope does when it is closed: the explicit place for what other languages leave to finalizers.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::report::{CleanupFault, Fault};
use crate::task::instrument::Tracked;
use crate::task::kind::Kind;
use crate::task::record::flag;
use crate::task::{panic, spawn_outside};

/// The most cleanups that a scope keeps.
pub const MAX_CLEANUPS: usize = 1_024;

/// One thing to do on close, and how long it may take.
pub(super) struct Cleanup {
    pub(super) name: Box<str>,
    pub(super) limit: Duration,
    pub(super) work: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) site: &'static Location<'static>,
}

impl Cleanup {
    /// Runs it as a task of its own, outside of the scope, so that a panic or a block of its own stays there. Returns
    /// what went wrong, in time.
    ///
    /// Dropping this future detaches the task, which still ends at its deadline.
    pub(super) async fn run(self) -> Option<CleanupFault> {
        static KIND: Kind = Kind::new("scope-cleanup");
        let Self {
            name,
            limit,
            work,
            site,
        } = self;
        let work = Tracked::new(timeout(limit, work), KIND.id(), flag::ROOT | flag::SPAWNED, site);
        let mut task = {
            #[cfg(tokio_unstable)]
            let _ours = crate::task::hooks::ours();
            spawn_outside(work)
        };
        // Again around the task: one that blocks its thread never looks at its own deadline.
        let fault = match timeout(limit, &mut task).await {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err(_))) => Fault::Late,
            Err(_) => {
                task.abort();
                Fault::Late
            }
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(payload) => {
                    let message = panic::told(&*payload).message;
                    panic::contain(|| drop(payload));
                    Fault::Panicked(message)
                }
                Err(_) => Fault::Aborted,
            },
        };
        Some(CleanupFault { name, fault })
    }
}

/// Why a scope did not take a cleanup. It will not run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CleanupRefused {
    /// The scope is closed already.
    Closed,
    /// The scope has [`MAX_CLEANUPS`] of them.
    Full,
}

impl fmt::Display for CleanupRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the scope is closed: run the cleanup where it was to be added"),
            Self::Full => write!(
                f,
                "the scope has {MAX_CLEANUPS} cleanups: give some of them to a child scope"
            ),
        }
    }
}

impl std::error::Error for CleanupRefused {}
