//! Live tasks, counted by what they have in common.

use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

use serde::Serialize;

use super::filter::{GroupBy, MAX_ROWS};
use super::row::Place;
use super::time::seconds;
#[cfg(feature = "profile")]
use super::waiting::PointsView;
#[cfg(feature = "profile")]
use crate::profile::dump::Waits;
use crate::registry::Row;
use crate::task::State;
use crate::task::kind::KindId;

/// Groups as they add up; at most [`MAX_ROWS`] of them.
#[derive(Debug)]
pub(super) struct Groups {
    by: GroupBy,
    groups: HashMap<Key, Group>,
    /// Tasks that found no group.
    elsewhere: u64,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Kind(KindId),
    SpawnedAt(Option<&'static Location<'static>>),
    #[cfg(feature = "profile")]
    WaitingAt(Waits),
}

/// What a group's tasks have in sum.
#[derive(Clone, Debug, Default, Serialize)]
struct Group {
    live: u64,
    states: States,
    orphaned: u64,
    overstayed: u64,
    #[serde(rename = "oldest_seconds", serialize_with = "seconds")]
    oldest: Duration,
    #[serde(rename = "busy_seconds", serialize_with = "seconds")]
    busy: Duration,
}

/// Tasks by state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct States {
    pub(super) idle: u64,
    pub(super) scheduled: u64,
    pub(super) running: u64,
}

/// One group, with what it has in common.
#[derive(Debug, Serialize)]
pub(super) struct GroupView {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spawned_at: Option<Option<Place>>,
    #[cfg(feature = "profile")]
    #[serde(flatten)]
    waiting: Option<Waiting>,
    #[serde(flatten)]
    group: Group,
}

/// Where the tasks of a group wait; or, where no stack says it, why not.
#[cfg(feature = "profile")]
#[derive(Debug, Serialize)]
struct Waiting {
    #[serde(serialize_with = "points")]
    waiting_at: Waits,
    waits: Option<std::borrow::Cow<'static, str>>,
}

#[cfg(feature = "profile")]
fn points<S: serde::Serializer>(waits: &Waits, serializer: S) -> Result<S::Ok, S::Error> {
    PointsView(waits).serialize(serializer)
}

impl Groups {
    pub(super) fn new(by: GroupBy) -> Self {
        Self {
            by,
            groups: HashMap::new(),
            elsewhere: 0,
        }
    }

    pub(super) fn add(&mut self, row: &Row) {
        let key = match self.by {
            GroupBy::Kind => Key::Kind(row.kind),
            GroupBy::SpawnedAt => Key::SpawnedAt(row.spawned_at),
            // Only who asked it knows.
            #[cfg(feature = "profile")]
            GroupBy::WaitingAt => return,
        };
        self.add_to(key, row);
    }

    /// Adds a task that waits there.
    #[cfg(feature = "profile")]
    pub(super) fn add_waiting(&mut self, row: &Row, waits: &Waits) {
        self.add_to(Key::WaitingAt(waits.distinct()), row);
    }

    fn add_to(&mut self, key: Key, row: &Row) {
        if self.groups.len() >= MAX_ROWS && !self.groups.contains_key(&key) {
            self.elsewhere += 1;
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.live += 1;
        match row.state {
            State::Idle => group.states.idle += 1,
            State::Scheduled => group.states.scheduled += 1,
            State::Running => group.states.running += 1,
        }
        group.orphaned += u64::from(row.orphaned);
        group.overstayed += u64::from(row.overstayed);
        group.oldest = group.oldest.max(row.age);
        group.busy = group.busy.saturating_add(row.busy);
    }

    /// How many there are, and the first of them by the number of their tasks.
    pub(super) fn finish(self, limit: usize) -> (Vec<GroupView>, usize, u64) {
        let count = self.groups.len();
        let mut groups: Vec<(Key, Group)> = self.groups.into_iter().collect();
        groups.sort_by_cached_key(|(key, group)| {
            let name = match key {
                Key::Kind(kind) => kind.name().to_owned(),
                Key::SpawnedAt(place) => place.map(ToString::to_string).unwrap_or_default(),
                #[cfg(feature = "profile")]
                Key::WaitingAt(waits) => format!("{waits:?}"),
            };
            (std::cmp::Reverse(group.live), name)
        });
        groups.truncate(limit);
        let view = |(key, group)| {
            let mut view = GroupView {
                kind: None,
                spawned_at: None,
                #[cfg(feature = "profile")]
                waiting: None,
                group,
            };
            match key {
                Key::Kind(kind) => view.kind = Some(kind.name()),
                Key::SpawnedAt(place) => view.spawned_at = Some(place.map(Place)),
                #[cfg(feature = "profile")]
                Key::WaitingAt(waiting_at) => {
                    let waits = waiting_at.why();
                    view.waiting = Some(Waiting { waiting_at, waits });
                }
            }
            view
        };
        (groups.into_iter().map(view).collect(), count, self.elsewhere)
    }
}
