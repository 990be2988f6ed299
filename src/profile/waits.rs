//! What can be said of where a task waits.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::dump::{Dump, Waits};
use super::interned::Stack;
use crate::stack::Frame;

impl Waits {
    /// Why there is no stack; `None` where there is one.
    pub(crate) fn why(&self) -> Option<Cow<'static, str>> {
        let why = match self {
            Self::At(stacks) if !stacks.is_empty() => return None,
            Self::At(_) => "its leaf keeps an earlier waker",
            Self::NoWaker => "no waker",
            Self::Running => "running",
            Self::Scheduled => "scheduled",
            Self::NotAsked(why) => return Some(format!("not asked: {why}").into()),
            Self::Silent => "no answer in time",
        };
        Some(why.into())
    }

    /// The same with each stack once, in an order that does not depend on who was polled first: to wait twice at one
    /// place is to wait there, and a `select!` draws lots.
    pub(crate) fn distinct(&self) -> Self {
        let Self::At(stacks) = self else {
            return self.clone();
        };
        let mut distinct = stacks.clone();
        distinct.sort_by(|one, two| {
            let addresses =
                |stack: &Arc<Stack>| stack.frames.iter().map(|frame| frame.address).collect::<Vec<_>>();
            addresses(one).cmp(&addresses(two))
        });
        distinct.dedup();
        Self::At(distinct)
    }

    /// The frames that all its stacks end with.
    pub(crate) fn trunk(&self) -> &[Frame] {
        let Self::At(stacks) = self else { return &[] };
        let Some((first, others)) = stacks.split_first() else {
            return &[];
        };
        let shares = |frame: &Frame, at: usize| {
            others
                .iter()
                .all(|stack| stack.frames.iter().rev().nth(at) == Some(frame))
        };
        let shared = first.frames.iter().rev().enumerate();
        let shared = shared.take_while(|(at, frame)| shares(frame, *at)).count();
        first
            .frames
            .get(first.frames.len() - shared..)
            .unwrap_or_default()
    }
}

/// Its addresses tell it from others.
impl Hash for Stack {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for frame in &self.frames {
            frame.address.hash(state);
        }
    }
}

impl Dump {
    /// A dump of nothing, now.
    pub(super) fn empty() -> Self {
        Self {
            sampled_at: SystemTime::now(),
            took: Duration::ZERO,
            live: 0,
            tasks: Vec::new(),
            not_asked: 0,
            cut: 0,
        }
    }

    /// How many tasks it is of, and what it left out.
    pub(crate) fn remark(&self) -> String {
        let (shown, took) = (self.tasks.len(), self.took.as_secs_f64());
        format!(
            "{shown} of {} live tasks in {took:.3} s, {} not asked where they wait, {} stacks cut",
            self.live, self.not_asked, self.cut
        )
    }
}

/// Dumps that were never taken.
#[cfg(test)]
pub(super) mod tests {
    use super::super::dump::Task;
    use super::*;
    use crate::registry::{self, Row};
    use crate::task::TaskId;
    use crate::task::Track;

    pub(crate) fn frame(address: u64, function: &str) -> Frame {
        Frame {
            address,
            function: function.into(),
            file: Some("src/a.rs".into()),
            line: Some(7),
            inlined: false,
        }
    }

    /// A stack of functions, the leaf first, each at an address of its own.
    pub(crate) fn stack(functions: &[&str]) -> Arc<Stack> {
        let address = |name: &str| {
            name.bytes()
                .fold(1, |sum, byte| sum * 31 % 65_521 + u64::from(byte))
        };
        let frames = functions.iter().map(|name| frame(address(name), name)).collect();
        Arc::new(Stack { frames, cut: false })
    }

    /// A task that is as many seconds old as its id says.
    pub(crate) fn task(id: u64, waits: Waits) -> Task {
        let tracked = Track::tracked(std::future::pending::<()>(), "profile-unit");
        let row = registry::row(tracked.id().unwrap()).unwrap();
        let row = Row {
            id: TaskId::new(id).unwrap(),
            age: Duration::from_secs(id),
            idle: Duration::from_secs(id),
            ..row
        };
        Task { row, waits }
    }

    pub(crate) fn dump_of(tasks: Vec<Task>) -> Dump {
        Dump {
            sampled_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_504_983),
            took: Duration::from_millis(12),
            live: tasks.len() as u64,
            tasks,
            not_asked: 0,
            cut: 0,
        }
    }
}
