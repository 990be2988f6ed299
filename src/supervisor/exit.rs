//! What a child returns, and what a run of it came to.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::task::exit::Panic;
use crate::task::panic::contain;
use crate::task::{Outcome, text};

/// An error of a child, of whatever type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// How a child wants its end to be taken.
///
/// A child can return one, or anything that [is one](IntoExit): `()` is [`Done`](Self::Done), and of a `Result` an `Err`
/// is [`Restart`](Self::Restart). Whether it was *cancelled* is not for the child to say: its supervisor looks whether
/// it had asked it to stop. An error that speaks of a cancellation, of some other token, is an error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// It has done its work. A permanent child is started again.
    Done,
    /// It failed. A permanent and a transient child are started again.
    Restart(BoxError),
    /// It is not to be started again, whatever its [`Restart`](super::Restart) says; and it did not fail.
    Stop,
    /// It failed in a way that starting it again does not help: its supervisor gives up at once.
    Escalate(BoxError),
}

impl Exit {
    /// It failed, for that reason.
    #[must_use]
    pub fn restart(error: impl Into<BoxError>) -> Self {
        Self::Restart(error.into())
    }

    /// Its supervisor is to give up, for that reason.
    #[must_use]
    pub fn escalate(error: impl Into<BoxError>) -> Self {
        Self::Escalate(error.into())
    }
}

/// What a child can return.
pub trait IntoExit {
    /// What is meant by it.
    fn into_exit(self) -> Exit;
}

impl IntoExit for Exit {
    fn into_exit(self) -> Exit {
        self
    }
}

impl IntoExit for () {
    fn into_exit(self) -> Exit {
        Exit::Done
    }
}

impl IntoExit for Infallible {
    fn into_exit(self) -> Exit {
        match self {}
    }
}

impl<T: IntoExit, E: Into<BoxError>> IntoExit for Result<T, E> {
    fn into_exit(self) -> Exit {
        self.map_or_else(|error| Exit::Restart(error.into()), IntoExit::into_exit)
    }
}

/// What the task of a child resolves to: an `Err` where it failed, so that its record says so.
pub(super) type Returned = Result<Exit, Exit>;

pub(super) fn returned(exit: Exit) -> Returned {
    match exit {
        Exit::Done | Exit::Stop => Ok(exit),
        Exit::Restart(_) | Exit::Escalate(_) => Err(exit),
    }
}

/// How a run of a child ended, as views and events show it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LastExit {
    /// How its task ended. A run that was never spawned, since its factory panicked, is one that panicked.
    pub outcome: Outcome,
    /// Why, where it failed: the error or the panic's message, cut to 1 KiB.
    pub error: Option<Arc<str>>,
    /// How long it ran.
    pub ran: Duration,
}

/// What is said of a panic in an event.
pub(super) fn shared(panic: &Panic) -> (Arc<str>, Option<Arc<str>>, Option<Arc<str>>) {
    (
        panic.message.as_str().into(),
        panic.location.as_deref().map(Arc::from),
        panic.backtrace.as_deref().map(Arc::from),
    )
}

/// An error's text, and those of its causes; the error is gone after it. Both are the host's code, which may panic.
pub(super) fn say(error: BoxError) -> Arc<str> {
    let mut said = String::new();
    contain(|| {
        let mut next: Option<&dyn StdError> = Some(&*error);
        while let Some(error) = next.filter(|_| said.len() < MOST) {
            use fmt::Write;
            let between = if said.is_empty() { "" } else { ": " };
            // Writing to a string cannot fail; a `Display` that fails has said what it had to.
            let _ = write!(said, "{between}{error}");
            next = error.source();
        }
    });
    contain(|| drop(error));
    if said.is_empty() {
        return "(an error without a text)".into();
    }
    text::clean_lines(&said, MOST).into()
}

/// The longest error kept, in bytes.
const MOST: usize = 1_024;
