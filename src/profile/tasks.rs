//! Live tasks, counted by what they are and where they wait.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::dump::{Dump, Task, Waits};
use super::encode::{Label, Profile, ValueType};
use crate::stack::Frame;
use crate::task::State;
use crate::task::kind::KindId;

/// How many groups there are at most, beside one a kind for the tasks that found none.
const MAX_GROUPS: usize = 10_000;

/// What the tasks of a group have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Group {
    pub(crate) kind: KindId,
    state: State,
    spawned_at: Option<&'static Location<'static>>,
    scope: Option<Arc<str>>,
    verdict: Option<&'static str>,
    pub(crate) waits: Waits,
}

impl Group {
    fn of(task: &Task) -> Self {
        let row = &task.row;
        Self {
            kind: row.kind,
            state: row.state,
            spawned_at: row.spawned_at,
            scope: row.scope.clone(),
            verdict: row.verdict(),
            waits: task.waits.distinct(),
        }
    }

    /// That of the tasks of a kind whose own found no room.
    fn rest(kind: KindId) -> Self {
        Self {
            kind,
            state: State::Idle,
            spawned_at: None,
            scope: None,
            verdict: None,
            waits: Waits::NotAsked("beyond the groups that a profile has at most"),
        }
    }

    /// What is known of its tasks, by key.
    pub(crate) fn labels(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let place = self.spawned_at.map(|place| Cow::Owned(place.to_string()));
        let all = [
            ("kind", Some(Cow::Borrowed(self.kind.name()))),
            ("scope", self.scope.as_deref().map(Cow::Borrowed)),
            ("spawned_at", place),
            ("state", Some(Cow::Borrowed(self.state.name()))),
            ("verdict", self.verdict.map(Cow::Borrowed)),
            ("waits", self.waits.why()),
        ];
        all.into_iter()
            .filter_map(|(key, text)| Some((key, text?)))
            .collect()
    }

    /// Its frames, the leaf first. Where no stack is known, the place of the spawn stands for it.
    ///
    /// A task that waits for several things at once is one sample: what its stacks share, and as the leaf a frame
    /// that names theirs. With a sample for each branch, counts would not be those of tasks.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let Waits::At(stacks) = &self.waits else {
            return vec![spawned(self.spawned_at)];
        };
        let Some((first, rest)) = stacks.split_first() else {
            return vec![spawned(self.spawned_at)];
        };
        let mut frames = Vec::new();
        if rest.is_empty() {
            frames.extend_from_slice(&first.frames);
        } else {
            let trunk = self.waits.trunk();
            let leaves = stacks.iter().map(|stack| stack.frames.first());
            frames.push(named(&any_of(leaves)));
            frames.extend_from_slice(trunk);
        }
        if stacks.iter().any(|stack| stack.cut) {
            frames.push(named("(the copy of the stack ends here)"));
        }
        frames
    }
}

/// A frame of no function.
fn named(name: &str) -> Frame {
    Frame {
        address: 0,
        function: name.into(),
        file: None,
        line: None,
        inlined: false,
    }
}

fn spawned(at: Option<&'static Location<'static>>) -> Frame {
    let name = at.map_or_else(|| "spawned somewhere".to_owned(), |at| format!("spawned at {at}"));
    Frame {
        file: at.map(|at| at.file().into()),
        line: at.map(Location::line),
        ..named(&name)
    }
}

/// The names of a few leaves.
fn any_of<'a>(leaves: impl Iterator<Item = Option<&'a Frame>>) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<&str> = leaves.flatten().map(|frame| &*frame.function).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names.truncate(SHOWN);
    format!("any of {count}: {}{more}", names.join(", "))
}

/// How many tasks are alike, and how old they are in sum. Negative in a difference.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum {
    pub(crate) tasks: i64,
    age_nanos: i128,
}

impl Sum {
    /// The ages, in whole seconds.
    pub(crate) fn age_seconds(self) -> i64 {
        i64::try_from(self.age_nanos / 1_000_000_000).unwrap_or_default()
    }
}

/// Tasks by group.
#[derive(Debug, Default)]
pub(crate) struct Groups(HashMap<Group, Sum>);

impl Groups {
    /// Those of a dump.
    pub(crate) fn of(dump: &Dump) -> Self {
        let mut groups = Self::default();
        groups.add(dump, 1);
        groups
    }

    /// What there was more at the second dump than at the first. Groups of as many tasks in both are left out,
    /// though they have aged.
    pub(crate) fn between(first: &Dump, second: &Dump) -> Self {
        let mut groups = Self::of(second);
        groups.add(first, -1);
        groups.0.retain(|_, sum| sum.tasks != 0);
        groups
    }

    fn add(&mut self, dump: &Dump, sign: i8) {
        for task in &dump.tasks {
            let mut group = Group::of(task);
            if self.0.len() >= MAX_GROUPS && !self.0.contains_key(&group) {
                group = Group::rest(group.kind);
            }
            let sum = self.0.entry(group).or_default();
            sum.tasks = sum.tasks.saturating_add(sign.into());
            let age = i128::try_from(task.row.age.as_nanos()).unwrap_or_default();
            sum.age_nanos = sum.age_nanos.saturating_add(age * i128::from(sign));
        }
    }

    /// The largest first.
    pub(crate) fn sorted(self) -> Vec<(Group, Sum)> {
        let mut groups: Vec<_> = self.0.into_iter().collect();
        groups.sort_by_cached_key(|(group, sum)| {
            let labels: Vec<String> = group
                .labels()
                .into_iter()
                .map(|(_, text)| text.into_owned())
                .collect();
            (Reverse(sum.tasks), labels)
        });
        groups
    }
}

/// The profile of a dump.
pub(crate) fn profile(dump: &Dump) -> Vec<u8> {
    encode(Groups::of(dump), dump, Duration::ZERO)
}

/// The profile of what was there more at the second dump than at the first, with negative values for what was there
/// less.
pub(crate) fn delta(first: &Dump, second: &Dump) -> Vec<u8> {
    let gap = second
        .sampled_at
        .duration_since(first.sampled_at)
        .unwrap_or_default();
    encode(Groups::between(first, second), second, gap)
}

fn encode(groups: Groups, dump: &Dump, lasted: Duration) -> Vec<u8> {
    let mut profile = Profile::new(&VALUES);
    for (group, sum) in groups.sorted() {
        let labels = group.labels();
        let labels: Vec<Label<'_>> = labels.iter().map(|(key, text)| Label::Text(key, text)).collect();
        profile.sample(&group.frames(), &[sum.tasks, sum.age_seconds()], &labels);
    }
    profile.comment(&dump.remark());
    profile.finish(dump.sampled_at, lasted)
}

const VALUES: [ValueType; 2] = [
    ValueType {
        name: "tasks",
        unit: "count",
    },
    ValueType {
        name: "age",
        unit: "seconds",
    },
];

#[cfg(test)]
mod tests {
    use super::super::waits::tests::{dump_of, frame, stack, task};
    use super::*;

    #[test]
    fn alike_tasks_are_one_group_and_every_task_is_in_one() {
        let at = |leaf: &str| Waits::At(vec![stack(&[leaf, "app::serve"])]);
        let dump = dump_of(vec![
            task(1, at("recv")),
            task(2, at("recv")),
            task(3, at("sleep")),
            task(4, Waits::Silent),
        ]);
        let groups = Groups::of(&dump).sorted();
        let counts: Vec<i64> = groups.iter().map(|(_, sum)| sum.tasks).collect();
        assert_eq!(counts, [2, 1, 1]);
        assert_eq!(&*groups[0].0.frames()[0].function, "recv");
        assert_eq!(groups[0].1.age_seconds(), 1 + 2);
    }

    #[test]
    fn what_went_is_negative_and_what_stayed_is_not_there() {
        let at = |leaf: &str| Waits::At(vec![stack(&[leaf])]);
        let first = dump_of(vec![task(1, at("recv")), task(2, at("sleep"))]);
        let second = dump_of(vec![
            task(1, at("recv")),
            task(3, at("lock")),
            task(4, at("lock")),
        ]);
        let groups = Groups::between(&first, &second).sorted();
        let shown: Vec<(String, i64, i64)> = groups
            .iter()
            .map(|(group, sum)| {
                (
                    group.frames()[0].function.to_string(),
                    sum.tasks,
                    sum.age_seconds(),
                )
            })
            .collect();
        assert_eq!(shown, [("lock".to_owned(), 2, 7), ("sleep".to_owned(), -1, -2)]);
    }

    #[test]
    fn a_task_that_waits_for_several_things_is_one_sample() {
        let waits = Waits::At(vec![
            stack(&["sleep", "timeout", "app::serve"]),
            stack(&["recv", "app::serve"]),
            stack(&["recv", "app::serve"]),
        ]);
        let groups = Groups::of(&dump_of(vec![task(1, waits)])).sorted();
        let frames = groups[0].0.frames();
        let names: Vec<&str> = frames.iter().map(|frame| &*frame.function).collect();
        assert_eq!(names, ["any of 2: recv, sleep", "app::serve"]);
    }

    #[test]
    fn names_of_many_branches_are_few() {
        let frames: Vec<Frame> = (0..6_u64).map(|at| frame(at, &format!("leaf{at}"))).collect();
        assert_eq!(
            any_of(frames.iter().map(Some)),
            "any of 6: leaf0, leaf1, leaf2, leaf3, ..."
        );
    }

    #[test]
    fn a_cut_stack_says_so_and_no_stack_is_its_place() {
        let mut short = stack(&["recv"]);
        Arc::get_mut(&mut short).unwrap().cut = true;
        let groups = Groups::of(&dump_of(vec![task(1, Waits::At(vec![short]))])).sorted();
        assert_eq!(
            &*groups[0].0.frames()[1].function,
            "(the copy of the stack ends here)"
        );
        let groups = Groups::of(&dump_of(vec![task(1, Waits::NoWaker)])).sorted();
        let (frames, labels) = (groups[0].0.frames(), groups[0].0.labels());
        assert!(
            frames[0].function.starts_with("spawned at src/profile/"),
            "{frames:?}"
        );
        assert!(labels.contains(&("waits", "no waker".into())), "{labels:?}");
    }

    #[test]
    fn beyond_the_most_groups_tasks_are_counted_by_kind() {
        let tasks = (1..=MAX_GROUPS as u64 + 5)
            .map(|id| {
                task(
                    id,
                    Waits::At(vec![Arc::new(super::super::interned::Stack {
                        frames: vec![frame(id, "leaf")],
                        cut: false,
                    })]),
                )
            })
            .collect();
        let groups = Groups::of(&dump_of(tasks)).sorted();
        assert_eq!(groups.len(), MAX_GROUPS + 1);
        assert_eq!(groups[0].1.tasks, 5);
    }
}
