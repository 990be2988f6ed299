//! Dumps as text, in the form of Go's: for people. `docs/FORMATS.md` describes it, and its version is in the first lines.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::dump::{Dump, Task, Waits};
use super::encode::places;
use super::tasks::{Group, Groups, Sum};
use crate::stack::Frame;
use crate::task::State;
use crate::utc::Utc;

/// The version of both texts. A line more is no new version; a line that looks different is.
const VERSION: u32 = 1;

/// Alike tasks, the most first: what `debug=1` shows.
pub(crate) fn aggregated(name: &str, dump: &Dump) -> String {
    let mut text = Text(String::new());
    let total = dump.tasks.len();
    text.line(format_args!("{name} profile: total {total}"));
    let (at, remark) = (Utc(dump.sampled_at), dump.remark());
    text.line(format_args!(
        "# lifespan tasks by await point, version {VERSION}; {at}; {remark}"
    ));
    for (group, sum) in Groups::of(dump).sorted() {
        text.group(&group, sum);
    }
    text.0
}

/// One block a task, what `debug=2` shows, in pieces: its head, then [`block`] for each task, then [`foot`].
pub(crate) fn head(dump: &Dump) -> String {
    format!(
        "lifespan dump of tasks, version {VERSION}; {}; {}\n\n",
        Utc(dump.sampled_at),
        dump.remark()
    )
}

/// The last line, so that a dump that ends early can be told from one that is whole.
pub(crate) fn foot(dump: &Dump) -> String {
    format!("end of dump, {} tasks\n", dump.tasks.len())
}

/// What is known of one task.
pub(crate) fn block(task: &Task, to: &mut String) {
    let mut text = Text(std::mem::take(to));
    text.task(task);
    *to = text.0;
}

struct Text(String);

impl Text {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // To write to a string cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }

    fn group(&mut self, group: &Group, sum: Sum) {
        let frames = group.frames();
        let _ = write!(self.0, "{} @", sum.tasks);
        for place in places(&frames) {
            // Go's readers know nothing but numbers here.
            let address = place.first().map_or(0, |frame| frame.address);
            let _ = write!(self.0, " {address:#x}");
        }
        self.0.push_str("\n# labels: {");
        for (at, (key, value)) in group.labels().iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let _ = write!(self.0, "{comma}{}:{}", Quoted(key), Quoted(value));
        }
        self.0.push_str("}\n");
        for frame in &frames {
            let _ = write!(self.0, "#\t{:#x}\t{}", frame.address, Plain(&frame.function));
            if let Some(file) = &frame.file {
                let _ = write!(self.0, "\t\t{}:{}", Plain(file), frame.line.unwrap_or_default());
            }
            self.0.push('\n');
        }
        self.0.push('\n');
    }

    fn task(&mut self, task: &Task) {
        let row = &task.row;
        let since = match row.state {
            State::Idle | State::Scheduled => row.idle,
            State::Running => row.running,
        };
        let _ = write!(self.0, "task {} [{}", row.id, row.state.name());
        if let Some(verdict) = row.verdict() {
            let _ = write!(self.0, " ({verdict})");
        }
        match since.as_secs() / 60 {
            0 => {}
            minutes => {
                let _ = write!(self.0, ", {minutes} minutes");
            }
        }
        self.0.push_str("] {");
        let said = [
            ("kind", Some(row.kind.name())),
            ("name", row.name.as_deref()),
            ("scope", row.scope.as_deref()),
        ];
        let said = said.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let attributes = row.attributes.iter().map(|(key, value)| (&**key, &**value));
        for (at, (key, value)) in said.chain(attributes).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let _ = write!(self.0, "{comma}{}: {}", Word(key), Word(value));
        }
        self.0.push_str("}:\n");
        self.waits(&task.waits, since);
        self.0.push_str("spawned");
        if let Some(place) = row.spawned_at {
            let _ = write!(self.0, " at {}", Plain(&place.to_string()));
        }
        if let Some(parent) = row.parent {
            let _ = write!(self.0, " by task {parent}");
        }
        let (age, idle, busy) = (Short(row.age), Short(row.idle), Short(row.busy));
        self.0.push('\n');
        let _ = write!(
            self.0,
            "\tage {age}, idle {idle}, busy {busy}, {} polls",
            row.polls
        );
        if let Some(wakers) = row.wakers {
            let _ = write!(self.0, ", {wakers} wakers");
        }
        self.0.push_str("\n\n");
    }

    fn waits(&mut self, waits: &Waits, since: Duration) {
        match waits {
            Waits::At(stacks) => match &**stacks {
                [] => self.line(format_args!("(its leaf keeps an earlier waker)")),
                [only] => self.frames(&only.frames, only.cut),
                _ => self.branches(waits),
            },
            Waits::NoWaker => self.line(format_args!("(no waker: nothing can wake it)")),
            Waits::Running => self.line(format_args!("(running for {})", Short(since))),
            Waits::Scheduled => self.line(format_args!("(woken, and no worker has taken it yet)")),
            Waits::NotAsked(why) => self.line(format_args!("(not asked: {why})")),
            Waits::Silent => self.line(format_args!("(asked, and no answer in time)")),
        }
    }

    /// What each branch has of its own, then what they share.
    fn branches(&mut self, waits: &Waits) {
        let trunk = waits.trunk();
        let distinct = waits.distinct();
        let (Waits::At(all), Waits::At(stacks)) = (waits, &distinct) else {
            return;
        };
        for (at, stack) in stacks.iter().enumerate() {
            let times = all.iter().filter(|other| *other == stack).count();
            let times = if times > 1 {
                format!(", {times} times")
            } else {
                String::new()
            };
            self.line(format_args!("branch {} of {}{times}:", at + 1, stacks.len()));
            let own = stack.frames.len().saturating_sub(trunk.len());
            self.frames(stack.frames.get(..own).unwrap_or_default(), false);
        }
        self.line(format_args!("all branches in:"));
        self.frames(trunk, stacks.iter().any(|stack| stack.cut));
    }

    fn frames(&mut self, frames: &[Frame], cut: bool) {
        for frame in frames {
            self.line(format_args!("{}", Plain(&frame.function)));
            if let Some(file) = &frame.file {
                self.line(format_args!(
                    "\t{}:{}",
                    Plain(file),
                    frame.line.unwrap_or_default()
                ));
            }
        }
        if cut {
            self.line(format_args!("(the copy of the stack ends here)"));
        }
    }
}

/// A text that keeps to its line.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| f.write_char(if c.is_control() { '_' } else { c }))
    }
}

/// A text in quotes, as Go's `%q` writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// A text that stands bare where it can be told from what is around it, and else in quotes.
pub(super) struct Word<'a>(pub(super) &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '#' | '@' | '+');
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            f.write_str(self.0)
        } else {
            Quoted(self.0).fmt(f)
        }
    }
}

/// A time in seconds, to the millisecond.
pub(super) struct Short(pub(super) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0.as_secs(), self.0.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::waits::tests::{dump_of, stack, task};
    use super::*;
    use crate::registry::Row;

    fn text(waits: Waits) -> String {
        let mut text = String::new();
        block(&task(300, waits), &mut text);
        let (first, rest) = text.split_once("spawned at ").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        format!("{first}spawned at PLACE\n{rest}")
    }

    #[test]
    fn a_block_has_its_stack() {
        let shown = text(Waits::At(vec![stack(&["recv", "app::serve"])]));
        assert_eq!(
            shown,
            "task 300 [scheduled, 5 minutes] {kind: profile-unit}:\nrecv\n\tsrc/a.rs:7\napp::serve\n\tsrc/a.rs:7\n\
             spawned at PLACE\n\tage 300.000 s, idle 300.000 s, busy 0.000 s, 0 polls, 0 wakers\n\n"
        );
    }

    #[test]
    fn branches_show_what_is_their_own_and_then_what_they_share() {
        let shown = text(Waits::At(vec![
            stack(&["recv", "app::serve"]),
            stack(&["sleep", "timeout", "app::serve"]),
            stack(&["recv", "app::serve"]),
        ]));
        let frame = |name: &str| format!("{name}\n\tsrc/a.rs:7\n");
        let branches = format!(
            "branch 1 of 2, 2 times:\n{}branch 2 of 2:\n{}{}all branches in:\n{}",
            frame("recv"),
            frame("sleep"),
            frame("timeout"),
            frame("app::serve")
        );
        assert!(shown.contains(&branches), "{shown}");
    }

    #[test]
    fn where_there_is_no_stack_it_says_why() {
        for (waits, line) in [
            (Waits::NoWaker, "(no waker: nothing can wake it)"),
            (Waits::Running, "(running for 0.000 s)"),
            (Waits::Silent, "(asked, and no answer in time)"),
            (Waits::NotAsked("it opted out"), "(not asked: it opted out)"),
        ] {
            let mut task = task(1, waits);
            if matches!(task.waits, Waits::Running) {
                task.row.state = State::Running;
            }
            let mut text = String::new();
            block(&task, &mut text);
            assert_eq!(text.lines().nth(1), Some(line));
        }
    }

    #[test]
    fn alike_tasks_stand_together_in_go_s_form() {
        let waits = || Waits::At(vec![stack(&["recv", "app::serve"])]);
        let dump = dump_of(vec![task(1, waits()), task(2, waits()), task(3, Waits::Silent)]);
        let text = aggregated("tasks", &dump);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tasks profile: total 3");
        assert_eq!(
            lines[1],
            "# lifespan tasks by await point, version 1; 2026-11-24T07:23:03.000000Z; 3 of 3 live tasks in 0.012 s, 0 not \
             asked where they wait, 0 stacks cut"
        );
        assert!(
            lines[2].starts_with("2 @ 0x") && lines[2].split(' ').count() == 4,
            "{}",
            lines[2]
        );
        assert!(
            lines[3].starts_with("# labels: {\"kind\":\"profile-unit\", \"spawned_at\":\""),
            "{}",
            lines[3]
        );
        assert!(
            lines[4].starts_with("#\t0x") && lines[4].ends_with("\trecv\t\tsrc/a.rs:7"),
            "{}",
            lines[4]
        );
    }

    #[test]
    fn whatever_it_is_called_a_task_keeps_to_its_lines() {
        let hostile = "a\"}\n</script>\u{1b}[31m: {";
        let mut frames = vec![super::super::waits::tests::frame(1, hostile)];
        frames[0].file = Some(hostile.into());
        let stack = Arc::new(super::super::interned::Stack { frames, cut: false });
        let mut task = task(1, Waits::At(vec![stack]));
        task.row = Row {
            name: Some(hostile.into()),
            attributes: vec![(hostile.into(), hostile.into())],
            ..task.row
        };
        let mut text = String::new();
        block(&task, &mut text);
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(!text.contains('\u{1b}'));
        let quoted = "\"a\\\"}\\u000a</script>\\u001b[31m: {\"";
        assert!(
            text.contains(&format!("name: {quoted}, {quoted}: {quoted}}}:\n")),
            "{text}"
        );
        let text = aggregated("tasks", &dump_of(vec![task]));
        assert!(!text.contains('\u{1b}'));
    }
}
