//! Where tasks wait, in rows and groups.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

use super::filter::Wanted;
use super::profiles::refused;
use super::refusal::Refusal;
use crate::profile::dump::Waits;
use crate::profile::view::{self, View};
use crate::registry::Row;
use crate::stack::Frame;
use crate::task::TaskId;

/// What is known of some tasks.
#[derive(Debug, Default)]
pub(super) struct Points(HashMap<TaskId, Waits>);

impl Points {
    /// Asks these tasks. Those that have ended meanwhile are not in the answer.
    pub(super) async fn of(rows: impl Iterator<Item = &Row>) -> Result<Self, Refusal> {
        let ids = rows.map(|row| row.id).collect();
        let dump = view::take(View::of(ids)).await.map_err(refused)?;
        let tasks = dump.tasks.iter();
        Ok(Self(
            tasks.map(|task| (task.row.id, task.waits.distinct())).collect(),
        ))
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Waits> {
        self.0.get(&id)
    }
}

/// Asks all tasks, and hands over those that are wanted.
pub(super) async fn each(wanted: &Wanted, mut each: impl FnMut(&Row, &Waits)) -> Result<(), Refusal> {
    let dump = view::take(View::All).await.map_err(refused)?;
    for tasks in dump.tasks.chunks(TURN) {
        for task in tasks.iter().filter(|task| wanted.wants(&task.row)) {
            each(&task.row, &task.waits);
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Await points: an array with one for each branch, of which each is an array of frames, the leaf first. `null` where
/// no stack is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointsView<'a>(pub(super) &'a Waits);

impl Serialize for PointsView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stacks = match &self.0 {
            Waits::At(stacks) if !stacks.is_empty() => stacks,
            _ => return serializer.serialize_none(),
        };
        serializer.collect_seq(stacks.iter().map(|stack| {
            let frames = stack.frames.iter();
            frames.map(FrameView::from).collect::<Vec<_>>()
        }))
    }
}

#[derive(Serialize)]
struct FrameView<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> From<&'a Frame> for FrameView<'a> {
    fn from(frame: &'a Frame) -> Self {
        Self {
            function: &frame.function,
            file: frame.file.as_deref(),
            line: frame.line,
        }
    }
}

/// Tasks that are counted before other work of the thread gets its turn: about a millisecond.
const TURN: usize = 2_048;
