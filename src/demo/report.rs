//! What was late, and what was still alive at the end.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use lifespan::scope::Late;

/// One task, as far as the report tells of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) kind: &'static str,
    /// `file:line:column`; empty where it is not known.
    pub(super) spawned_at: String,
    pub(super) age: Duration,
    pub(super) orphaned: bool,
}

/// All live tasks of the process.
pub(super) fn alive() -> impl Iterator<Item = Told> {
    lifespan::registry::rows().map(|row| Told {
        kind: row.kind.name(),
        spawned_at: row.spawned_at.map(ToString::to_string).unwrap_or_default(),
        age: row.age,
        orphaned: row.orphaned,
    })
}

/// A task that did not stop in time.
pub(super) fn late(late: &Late) -> Told {
    Told {
        kind: late.kind.name(),
        spawned_at: late.spawned_at.map(ToString::to_string).unwrap_or_default(),
        age: late.age,
        orphaned: false,
    }
}

/// A table of them by kind and spawn site, most tasks first; at most 20 lines of it.
pub(super) fn table(what: &str, tasks: impl IntoIterator<Item = Told>) -> String {
    let mut groups: BTreeMap<(&str, String), Group> = BTreeMap::new();
    for task in tasks {
        let group = groups.entry((task.kind, task.spawned_at)).or_default();
        group.tasks += 1;
        group.orphaned += usize::from(task.orphaned);
        group.oldest = group.oldest.max(task.age);
        group.youngest = Some(group.youngest.map_or(task.age, |age| age.min(task.age)));
    }
    if groups.is_empty() {
        return format!("nothing was {what}\n");
    }
    let tasks: usize = groups.values().map(|group| group.tasks).sum();
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| Reverse(group.tasks));

    let mut text = format!("{what}: {tasks} tasks\n");
    let width = groups
        .iter()
        .map(|((kind, _), _)| kind.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let _ = writeln!(
        text,
        "  {:width$}  {:>6}  {:>18}  spawned at",
        "kind", "tasks", "age"
    );
    for ((kind, site), group) in groups.iter().take(MOST_LINES) {
        let _ = write!(
            text,
            "  {kind:width$}  {:>6}  {:>18}  {site}",
            group.tasks,
            group.ages()
        );
        if group.orphaned > 0 {
            let _ = write!(text, "  ({} orphaned)", group.orphaned);
        }
        text.push('\n');
    }
    if let Some(more) = groups.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more groups");
    }
    text
}

const MOST_LINES: usize = 20;

#[derive(Debug, Default)]
struct Group {
    tasks: usize,
    orphaned: usize,
    oldest: Duration,
    youngest: Option<Duration>,
}

impl Group {
    fn ages(&self) -> String {
        let oldest = self.oldest.as_secs_f64();
        match self.youngest.map(|age| age.as_secs_f64()) {
            Some(youngest) if self.tasks > 1 => format!("{youngest:.1} to {oldest:.1} s"),
            _ => format!("{oldest:.1} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(kind: &'static str, line: u32, seconds: u64, orphaned: bool) -> Told {
        Told {
            kind,
            spawned_at: format!("src/x.rs:{line}:9"),
            age: Duration::from_secs(seconds),
            orphaned,
        }
    }

    #[test]
    fn nothing_alive_is_said() {
        assert_eq!(table("still alive", []), "nothing was still alive\n");
    }

    #[test]
    fn tasks_are_grouped_by_kind_and_site() {
        let tasks = [
            alive("block", 1, 3, false),
            alive("orphan", 2, 12, true),
            alive("orphan", 2, 4, true),
            alive("orphan", 3, 5, false),
        ];
        assert_eq!(
            table("still alive", tasks),
            "still alive: 4 tasks\n\
             \x20 kind     tasks                 age  spawned at\n\
             \x20 orphan       2       4.0 to 12.0 s  src/x.rs:2:9  (2 orphaned)\n\
             \x20 block        1               3.0 s  src/x.rs:1:9\n\
             \x20 orphan       1               5.0 s  src/x.rs:3:9\n"
        );
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let table = table("late", (0..30).map(|line| alive("leak", line, 1, false)));
        assert_eq!(table.lines().count(), 2 + 20 + 1);
        assert!(table.ends_with("  and 10 more groups\n"), "{table}");
    }
}
