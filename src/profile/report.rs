//! The dump that the agent writes of its own accord: all tasks, then the last exits, in bounded bytes.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::dump::Dump;
use super::text::{Short, Word, block, foot, head};
use crate::registry::{Exit, History};
use crate::utc::Utc;

/// How many of the last exits it shows.
const EXITS: usize = 100;

/// Writes it in pieces, at most about `most` bytes of tasks. What found no room is counted in the text.
pub(crate) fn write(dump: &Dump, history: &History, most: usize, to: &mut impl Write) -> io::Result<()> {
    let mut piece = head(dump);
    let (mut bytes, mut shown) = (0usize, 0usize);
    for task in &dump.tasks {
        block(task, &mut piece);
        if bytes + piece.len() > most && shown > 0 {
            piece.clear();
            break;
        }
        shown += 1;
        bytes += piece.len();
        to.write_all(piece.as_bytes())?;
        piece.clear();
    }
    let left = dump.tasks.len() - shown;
    if left > 0 {
        // To write to a string cannot fail.
        let _ = writeln!(piece, "({left} tasks more: the dump is cut after {bytes} bytes)");
    }
    piece.push_str(&foot(dump));
    let exits = history.exits.iter().rev().take(EXITS);
    let _ = writeln!(piece, "\nthe last exits, {} of {}:", exits.len(), history.drained);
    for exit in exits {
        write_exit(exit, &mut piece);
    }
    to.write_all(piece.as_bytes())?;
    to.flush()
}

fn write_exit(exit: &Exit, to: &mut String) {
    let (kind, at, lived) = (Word(exit.kind.name()), Utc(exit.ended_at), Short(exit.lifetime));
    // To write to a string cannot fail.
    let _ = write!(
        to,
        "task {} {} at {at}, after {lived} {{kind: {kind}",
        exit.id,
        exit.outcome.name()
    );
    if let Some(name) = &exit.name {
        let _ = write!(to, ", name: {}", Word(name));
    }
    to.push('}');
    if let Some(panic) = &exit.panic {
        let at = panic.location.as_deref().unwrap_or("a place that is not known");
        let _ = write!(to, " panicked at {}: {}", Word(at), Word(&panic.message));
    }
    to.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::dump::Waits;
    use super::super::waits::tests::{dump_of, task};
    use super::*;

    fn written(most: usize) -> String {
        let tasks = (1..=10).map(|id| task(id, Waits::Silent)).collect();
        let mut text = Vec::new();
        write(&dump_of(tasks), &History::default(), most, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn it_is_whole_where_there_is_room() {
        let text = written(1 << 20);
        assert_eq!(text.matches("\ntask ").count(), 10, "{text}");
        assert!(
            text.contains("\n\nend of dump, 10 tasks\n\nthe last exits, 0 of 0:\n"),
            "{text}"
        );
        assert!(!text.contains("cut after"));
    }

    #[test]
    fn where_there_is_none_it_says_how_many_are_missing() {
        let text = written(1_000);
        let shown = text.matches("\ntask ").count();
        assert!((1..10).contains(&shown), "{text}");
        assert!(
            text.contains(&format!("({} tasks more: the dump is cut after ", 10 - shown)),
            "{text}"
        );
        assert!(text.len() < 1_500 && text.contains("end of dump, 10 tasks"));
    }
}
