//! Why a scope was cancelled.

use std::fmt;
use std::sync::Arc;

use crate::task::text;

/// The longest message kept, in bytes.
const MOST: usize = 256;

/// Why a scope was cancelled: a message for people, and whether it was one of the causes that scopes have themselves.
///
/// # Examples
///
/// ```
/// use lifespan::{Reason, Scope};
///
/// let request = Scope::new("request");
/// request.cancel(Reason::new("client went away"));
/// assert_eq!(request.reason().expect("cancelled").message(), "client went away");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason {
    cause: Cause,
    message: Arc<str>,
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// [`Scope::cancel`](super::Scope::cancel) was called.
    Requested,
    /// [`Scope::close`](super::Scope::close) was called.
    Closed,
    /// The deadline passed.
    Deadline,
    /// Another child of one [`try_join`](super::Scope::try_join) failed.
    SiblingFailed,
    /// A [`Supervisor`](crate::Supervisor) stops its child.
    Supervisor,
    /// A [`Supervisor`](crate::Supervisor) with no other above it gave up.
    GaveUp,
}

impl Reason {
    /// A reason of your own. Control characters in the message become `_`, and it is cut to 256 bytes.
    #[must_use]
    pub fn new(message: impl AsRef<str>) -> Self {
        Self {
            cause: Cause::Requested,
            message: text::clean(message.as_ref(), MOST).into(),
        }
    }

    /// What kind of reason it is.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn closed() -> Self {
        Self::of(Cause::Closed, "the scope was closed")
    }

    pub(super) fn deadline() -> Self {
        Self::of(Cause::Deadline, "the deadline passed")
    }

    pub(super) fn sibling_failed() -> Self {
        Self::of(Cause::SiblingFailed, "another child failed")
    }

    pub(crate) fn supervisor(message: &str) -> Self {
        Self::of(Cause::Supervisor, message)
    }

    pub(crate) fn gave_up(message: &str) -> Self {
        Self::of(Cause::GaveUp, message)
    }

    fn of(cause: Cause, message: &str) -> Self {
        Self {
            cause,
            message: message.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}
