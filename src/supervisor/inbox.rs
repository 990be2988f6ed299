//! What a supervisor's task is told by others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::error::ControlError;
use super::spec::ChildSpec;
use super::view::ChildId;

/// Where others leave what the supervisor's task is to know.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    pub(super) news: Notify,
}

#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    closed: bool,
}

pub(super) enum Message {
    /// A run of the child with that key is ready: one message a run at most.
    Ready(u64),
    /// Somebody waits for an answer.
    Add(Box<ChildSpec>, oneshot::Sender<Result<ChildId, ControlError>>),
    Control(Verb, Which, oneshot::Sender<Result<(), ControlError>>),
}

/// What to do with a child.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Terminate,
    Restart,
    Delete,
}

/// Which child is meant: by name or by id.
///
/// Both a name and a [`ChildId`] turn into one. Where children of a dynamic supervisor share a name, it is the oldest.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Which {
    /// The one of that name.
    Name(String),
    /// The one with that id.
    Id(ChildId),
}

impl From<&str> for Which {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<ChildId> for Which {
    fn from(id: ChildId) -> Self {
        Self::Id(id)
    }
}

impl Inbox {
    /// Leaves a message; dropped where nobody will read it, so that who waits for an answer hears that.
    pub(super) fn post(&self, message: Message) {
        let refused = {
            let mut queue = self.lock();
            if queue.closed {
                Some(message)
            } else {
                queue.messages.push(message);
                None
            }
        };
        // Outside of the lock: a specification holds what its closure captured, and wakers are not ours.
        drop(refused);
        self.news.notify_one();
    }

    pub(super) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.lock().messages)
    }

    /// Nobody reads it any more.
    pub(super) fn close(&self) -> Vec<Message> {
        let mut queue = self.lock();
        queue.closed = true;
        std::mem::take(&mut queue.messages)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
