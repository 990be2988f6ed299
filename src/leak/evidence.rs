//! What speaks against a group, in words that a person can check.

use std::fmt::Write;
use std::time::Duration;

use super::Verdict;
use super::suspicion::{Evidence, Ground};
use crate::registry::SiteStates;

/// One sentence.
pub(super) fn words(site: &SiteStates, verdict: Verdict, tasks: u64, evidence: Option<&Evidence>) -> String {
    let mut text = format!(
        "{} `{}` {} spawned at {} ",
        grouped(tasks),
        site.kind,
        plural(tasks, "task", "tasks"),
        site.spawned_at
    );
    text.push_str(match (verdict, tasks) {
        (_, 0) => "are left",
        (Verdict::Orphaned, 1) => "waits, and nothing is left that could wake it",
        (Verdict::Orphaned, _) => "wait, and nothing is left that could wake them",
        (Verdict::Overstayed, 1) => "is alive though its scope has ended and its grace has passed",
        (Verdict::Overstayed, _) => "are alive though their scopes have ended and their grace has passed",
        (Verdict::Overdue, 1) => "is older than it was declared to live at most, or owes a heartbeat",
        (Verdict::Overdue, _) => "are older than they were declared to live at most, or owe a heartbeat",
        (Verdict::Suspected, _) => "",
    });
    // Writing to a string cannot fail.
    if let Some(evidence) = evidence.filter(|_| tasks > 0) {
        let _ = write!(text, "are older than {}", Span(evidence.limit));
        text.push_str(if evidence.ground.is_silent() {
            " and were not polled in the second half of their lives"
        } else {
            ", though they are polled now and then"
        });
    }
    if tasks > 0 {
        let _ = write!(text, "; the oldest of the site is {} old", Span(site.oldest));
    }
    if let Some(evidence) = evidence.filter(|_| tasks > 0) {
        against(&mut text, evidence);
    }
    text
}

/// What is usual, and what is not.
fn against(text: &mut String, evidence: &Evidence) {
    match evidence.usual {
        Some(usual) => {
            let _ = write!(
                text,
                "; of the {} of this kind that have ended, {} lived at most {}, and what was spawned and ended lately explains {:.0} of that age",
                grouped(usual.ended),
                if usual.within == usual.ended {
                    "all".to_owned()
                } else {
                    grouped(usual.within)
                },
                Span(usual.longest),
                evidence.explained
            );
        }
        None => {
            let _ = write!(
                text,
                "; of the {} of this kind that were spawned, {} have ended",
                grouped(evidence.spawned),
                if evidence.ended == 0 {
                    "none".to_owned()
                } else {
                    grouped(evidence.ended)
                }
            );
        }
    }
    if evidence.growing > Duration::ZERO && evidence.ground != Ground::Silent {
        let _ = write!(text, "; their number grew for {}", Span(evidence.growing));
    }
}

fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// A number with commas: 18,402.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in its two largest units: `41 min`, `2 h 10 min`, `100 ms`.
pub(super) struct Span(pub(super) Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let (large, small, names) = match seconds {
            0 if self.0.subsec_millis() > 0 => return write!(f, "{} ms", self.0.subsec_millis()),
            0 => return write!(f, "{} us", self.0.subsec_micros()),
            1..60 => return write!(f, "{seconds} s"),
            60..3_600 => (seconds / 60, seconds % 60, ("min", "s")),
            3_600..86_400 => (seconds / 3_600, seconds / 60 % 60, ("h", "min")),
            _ => (seconds / 86_400, seconds / 3_600 % 24, ("d", "h")),
        };
        write!(f, "{large} {}", names.0)?;
        if small > 0 {
            write!(f, " {small} {}", names.1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::KindId;

    #[test]
    fn numbers_and_times_are_readable() {
        let numbers = [0, 999, 1_000, 18_402, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "18,402", "1,234,567"]);
        let spans = [
            (0, "0 us"),
            (100, "100 ms"),
            (2_460_000, "41 min"),
            (2_475_000, "41 min 15 s"),
        ];
        for (millis, text) in spans {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Span(Duration::from_secs(7_800)).to_string(), "2 h 10 min");
        assert_eq!(Span(Duration::from_secs(90_000)).to_string(), "1 d 1 h");
    }

    #[test]
    fn one_task_is_not_many() {
        let site = SiteStates::empty(KindId::OTHER, std::panic::Location::caller());
        let words = words(&site, Verdict::Overdue, 1, None);
        assert!(words.starts_with("1 `other` task spawned at "), "{words}");
        assert!(
            words.contains(" is older than it was declared to live at most, or owes a heartbeat; "),
            "{words}"
        );
    }
}
