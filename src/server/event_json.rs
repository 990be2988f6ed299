//! How events look in JSON, for `/debug/events` and for whoever serialises an [`Entry`].
//!
//! It stands here and not beside the type, since times are written here.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::{Entry, Event, Subject, Value};
use crate::task::TaskId;
use crate::utc::Utc;

/// One flat object: `seq`, `at`, `event`, then the subject's keys (`null` where not known), then the event's own.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("at", &Utc(self.at))?;
        map.serialize_entry("event", self.event.name())?;
        write_subject(&self.subject, &mut map)?;
        write_fields(&self.event, &mut map)?;
        map.end()
    }
}

/// An object with its name as `event`, and its facts, with units in their names.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", self.name())?;
        write_fields(self, &mut map)?;
        map.end()
    }
}

/// An object with `task`, `kind`, `name`, `supervisor` and `child`.
impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_subject(self, &mut map)?;
        map.end()
    }
}

fn write_subject<M: SerializeMap>(subject: &Subject, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("task", &subject.task.map(TaskId::get))?;
    map.serialize_entry("kind", &subject.kind.map(|kind| kind.name()))?;
    map.serialize_entry("name", &subject.name.as_deref())?;
    map.serialize_entry("supervisor", &subject.supervisor.as_deref())?;
    map.serialize_entry("child", &subject.child.as_deref())
}

fn write_fields<M: SerializeMap>(event: &Event, map: &mut M) -> Result<(), M::Error> {
    let mut result = Ok(());
    event.fields(|key, value| {
        if result.is_ok() {
            result = match value {
                Value::Number(number) => map.serialize_entry(key, &number),
                Value::Time(time) => map.serialize_entry(key, &time.as_secs_f64()),
                Value::Word(word) => map.serialize_entry(key, word),
                Value::Text(text) => map.serialize_entry(key, &text),
            };
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    /// A change of any of these is a change of the public contract.
    #[test]
    fn every_event_as_it_is_written() {
        let written = [
            r#"{"event":"spawned","restart":2}"#,
            r#"{"event":"ready","after_seconds":1.5}"#,
            r#"{"event":"stopping","cause":"budget"}"#,
            r#"{"event":"stopped","outcome":"failed","ran_seconds":1.5,"error":"no route"}"#,
            r#"{"event":"panicked","message":"index out of\nbounds","location":"src/a.rs:1:2","backtrace":null}"#,
            r#"{"event":"restart_scheduled","delay_seconds":1.5,"restart":3,"of":5}"#,
            r#"{"event":"budget_exhausted","allowed":5,"period_seconds":1.5}"#,
            r#"{"event":"escalated","to":null,"cause":"budget"}"#,
            r#"{"event":"stop_timed_out","grace_seconds":1.5}"#,
            r#"{"event":"aborted"}"#,
            r#"{"event":"stuck","after_seconds":1.5}"#,
            r#"{"event":"heartbeat","silent_seconds":1.5}"#,
            r#"{"event":"overdue","silent_seconds":1.5}"#,
            r#"{"event":"lost_wakeup","waiting_at":"recv","idle_seconds":1.5}"#,
            r#"{"event":"shutdown_initiated","cause":"SIGTERM"}"#,
            r#"{"event":"shutdown_complete","took_seconds":1.5,"survivors":7}"#,
        ];
        let events = samples::each();
        assert_eq!(events.len(), written.len());
        for (event, written) in events.iter().zip(written) {
            assert_eq!(serde_json::to_string(event).unwrap(), written);
        }
    }

    #[test]
    fn an_entry_is_flat() {
        let entry = Entry {
            seq: 9,
            at: std::time::SystemTime::UNIX_EPOCH,
            subject: Subject {
                task: TaskId::new(3),
                child: Some("reader".into()),
                ..Subject::default()
            },
            event: Event::Aborted,
        };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            r#"{"seq":9,"at":"1970-01-01T00:00:00.000000Z","event":"aborted","task":3,"kind":null,"name":null,"supervisor":null,"child":"reader"}"#
        );
        assert_eq!(
            serde_json::to_string(&entry.subject).unwrap(),
            r#"{"task":3,"kind":null,"name":null,"supervisor":null,"child":"reader"}"#
        );
    }
}
