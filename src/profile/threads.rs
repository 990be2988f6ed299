//! The process's OS threads, as a profile.

use std::time::{Duration, SystemTime};

use super::encode::{Label, Profile, ValueType};
use crate::stack::Frame;

/// A thread: its number, and its name as the system has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Thread {
    id: i64,
    name: String,
}

/// The threads that live, in the order of their numbers; `None` where the system does not tell.
pub(crate) fn threads() -> Option<Vec<Thread>> {
    let mut threads: Vec<Thread> = std::fs::read_dir("/proc/self/task")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read(entry.path().join("comm")).ok()?;
            let name = String::from_utf8_lossy(&name).trim_end().to_owned();
            Some(Thread { id, name })
        })
        .collect();
    threads.sort_by_key(|thread| thread.id);
    Some(threads)
}

/// Their profile. Who started a thread is not known, so that its name is its only frame.
pub(crate) fn profile(threads: &[Thread]) -> Vec<u8> {
    let mut profile = Profile::new(&[ValueType {
        name: "threadcreate",
        unit: "count",
    }]);
    for thread in threads {
        let frame = Frame {
            address: 0,
            function: thread.name.as_str().into(),
            file: None,
            line: None,
            inlined: false,
        };
        profile.sample(&[frame], &[1], &[Label::Number("tid", thread.id, "id")]);
    }
    profile.finish(SystemTime::now(), Duration::ZERO)
}

/// Their text, in the form of Go's.
pub(crate) fn text(threads: &[Thread]) -> String {
    let mut text = format!("threadcreate profile: total {}\n", threads.len());
    for thread in threads {
        let name: String = thread
            .name
            .chars()
            .map(|c| if c.is_control() { '_' } else { c })
            .collect();
        text.push_str(&format!("1 @ 0x0\n#\t0x0\t{name} (thread {})\n\n", thread.id));
    }
    text
}
