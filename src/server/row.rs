//! How a task looks in JSON: one shape for the live, the ended and the streamed.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

#[cfg(feature = "profile")]
use super::tasks::write_json;
use super::text::{write_number, write_seconds, write_string};
use super::time::write_utc;
#[cfg(feature = "profile")]
use super::waiting::PointsView;
#[cfg(feature = "profile")]
use crate::profile::dump::Waits;
use crate::registry::{Exit, Row};
use crate::task::TaskId;

/// A row. It borrows, and is written by hand: a derived `Serialize` takes five times as long, most of it to escape
/// the same 26 keys again, and a dump has a million rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowView<'a> {
    id: u64,
    kind: &'static str,
    name: Option<&'a str>,
    state: Option<&'static str>,
    outcome: Option<&'static str>,
    age: Duration,
    idle: Duration,
    busy: Duration,
    polls: u64,
    wakes: Option<u64>,
    self_wakes: Option<u64>,
    wakers: Option<u64>,
    woken_by: Option<TaskId>,
    parent: Option<TaskId>,
    scope: Option<&'a str>,
    supervisor: Option<&'a str>,
    runtime: Option<&'a str>,
    spawned_at: Option<&'static Location<'static>>,
    future_bytes: u64,
    attributes: Attributes<'a>,
    verdict: Option<&'static str>,
    nature: &'static str,
    sampled_at: SystemTime,
    #[cfg(feature = "profile")]
    waits: Option<&'a Waits>,
}

impl<'a> From<&'a Row> for RowView<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            id: row.id.get(),
            kind: row.kind.name(),
            name: row.name.as_deref(),
            state: Some(row.state.name()),
            outcome: None,
            age: row.age,
            idle: row.idle,
            busy: row.busy,
            polls: row.polls,
            wakes: row.wakes,
            self_wakes: row.self_wakes,
            wakers: row.wakers,
            woken_by: row.woken_by,
            parent: row.parent,
            scope: row.scope.as_deref(),
            supervisor: row.supervisor.as_deref(),
            runtime: row.runtime,
            spawned_at: row.spawned_at,
            future_bytes: row.future_bytes,
            attributes: Attributes(&row.attributes),
            verdict: row.verdict(),
            nature: row.nature.name(),
            sampled_at: row.sampled_at,
            #[cfg(feature = "profile")]
            waits: None,
        }
    }
}

impl<'a> From<&'a Exit> for RowView<'a> {
    /// The row of a task that has ended: an outcome, and no state.
    fn from(exit: &'a Exit) -> Self {
        Self {
            id: exit.id.get(),
            kind: exit.kind.name(),
            name: exit.name.as_deref(),
            state: None,
            outcome: Some(exit.outcome.name()),
            age: exit.lifetime,
            idle: Duration::ZERO,
            busy: exit.busy,
            polls: exit.polls,
            wakes: Some(exit.wakes),
            self_wakes: Some(exit.self_wakes),
            wakers: None,
            woken_by: None,
            parent: exit.parent,
            scope: exit.scope.as_deref(),
            supervisor: exit.supervisor.as_deref(),
            runtime: exit.runtime,
            spawned_at: exit.spawned_at,
            future_bytes: exit.future_bytes,
            attributes: Attributes(&exit.attributes),
            verdict: None,
            nature: exit.nature.name(),
            sampled_at: exit.ended_at,
            #[cfg(feature = "profile")]
            waits: None,
        }
    }
}

impl<'a> RowView<'a> {
    /// With where its task waits, where that is known.
    #[cfg(feature = "profile")]
    pub(super) fn waiting(self, waits: Option<&'a Waits>) -> Self {
        Self { waits, ..self }
    }

    /// Writes the object. What this version does not know is `null`.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"id\":");
        write_number(to, self.id);
        to.extend_from_slice(b",\"kind\":");
        write_string(to, self.kind);
        to.extend_from_slice(b",\"name\":");
        write_option(to, self.name, write_string);
        to.extend_from_slice(b",\"state\":");
        write_option(to, self.state, write_string);
        to.extend_from_slice(b",\"outcome\":");
        write_option(to, self.outcome, write_string);
        to.extend_from_slice(b",\"age_seconds\":");
        write_seconds(to, self.age);
        to.extend_from_slice(b",\"idle_seconds\":");
        write_seconds(to, self.idle);
        to.extend_from_slice(b",\"busy_seconds\":");
        write_seconds(to, self.busy);
        to.extend_from_slice(b",\"polls\":");
        write_number(to, self.polls);
        to.extend_from_slice(b",\"wakes\":");
        write_option(to, self.wakes, write_number);
        to.extend_from_slice(b",\"self_wakes\":");
        write_option(to, self.self_wakes, write_number);
        to.extend_from_slice(b",\"wakers\":");
        write_option(to, self.wakers, write_number);
        to.extend_from_slice(b",\"woken_by\":");
        write_option(to, self.woken_by.map(TaskId::get), write_number);
        to.extend_from_slice(b",\"parent\":");
        write_option(to, self.parent.map(TaskId::get), write_number);
        to.extend_from_slice(b",\"scope\":");
        write_option(to, self.scope, write_string);
        to.extend_from_slice(b",\"supervisor\":");
        write_option(to, self.supervisor, write_string);
        to.extend_from_slice(b",\"runtime\":");
        write_option(to, self.runtime, write_string);
        to.extend_from_slice(b",\"trace_id\":null,\"spawned_at\":");
        write_option(to, self.spawned_at, write_place);
        to.extend_from_slice(b",\"waiting_at\":");
        self.write_waits(to);
        to.extend_from_slice(b",\"future_bytes\":");
        write_number(to, self.future_bytes);
        to.extend_from_slice(b",\"attributes\":{");
        for (at, (key, value)) in self.attributes.last_of_each().enumerate() {
            if at > 0 {
                to.push(b',');
            }
            write_string(to, key);
            to.push(b':');
            write_string(to, value);
        }
        to.extend_from_slice(b"},\"labels\":null,\"verdict\":");
        write_option(to, self.verdict, write_string);
        to.extend_from_slice(b",\"nature\":");
        write_string(to, self.nature);
        to.extend_from_slice(b",\"sampled_at\":");
        write_utc(to, self.sampled_at);
        to.push(b'}');
    }
}

impl RowView<'_> {
    #[cfg(feature = "profile")]
    fn write_waits(&self, to: &mut Vec<u8>) {
        write_option(to, self.waits, |to, waits| write_json(&PointsView(waits), to));
    }

    #[cfg(not(feature = "profile"))]
    #[expect(clippy::unused_self, reason = "as in a build that knows")]
    fn write_waits(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"null");
    }
}

fn write_option<T>(to: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(to, value),
        None => to.extend_from_slice(b"null"),
    }
}

fn write_place(to: &mut Vec<u8>, place: &'static Location<'static>) {
    write_string(to, place.file());
    // Inside of the quotes.
    to.pop();
    to.push(b':');
    write_number(to, place.line().into());
    to.push(b':');
    write_number(to, place.column().into());
    to.push(b'"');
}

/// `file:line:column`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) &'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// An object of what the spawner said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [(Box<str>, Box<str>)]);

impl<'a> Attributes<'a> {
    /// Of a key that was given twice, the last counts.
    fn last_of_each(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let is_last = move |at: usize, key: &str| {
            let mut later = self.0.iter().skip(at + 1);
            later.all(|(other, _)| **other != *key)
        };
        let last = self
            .0
            .iter()
            .enumerate()
            .filter(move |(at, (key, _))| is_last(*at, key));
        last.map(|(_, (key, value))| (&**key, &**value))
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.last_of_each())
    }
}
