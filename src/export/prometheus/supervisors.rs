//! Supervisors: what is left of their budgets, and how their children stand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::catalogue;
use super::family::Family;
use crate::supervisor::{self, MAX_COUNTED, SupervisorRow, SupervisorState, counts};

/// How many supervisors a scrape names.
const NAMED: usize = 100;

const OTHER: &str = "other";

/// Two supervisors of one path are one series, and so are two children of one name.
pub(super) fn families() -> Vec<Family> {
    let mut restarts = Family::new(&catalogue::TASK_RESTARTS);
    for ((supervisor, child), count) in counts::restarts() {
        restarts.count(&[&supervisor, &child], count);
    }
    let seen = supervisor::all(usize::MAX).supervisors;
    let (mut budgets, mut waits) = (BTreeMap::new(), BTreeMap::new());
    let (mut stuck, mut overdue) = (0, 0);
    let live = |one: &&SupervisorRow| one.state != SupervisorState::Stopped;
    for supervisor in seen.iter().filter(live) {
        let path = named(&budgets, &*supervisor.path, NAMED, OTHER);
        let left = budgets.entry(path).or_insert(u32::MAX);
        *left = supervisor.budget_remaining.min(*left);
        for child in &supervisor.children {
            stuck += u64::from(child.stuck);
            overdue += u64::from(child.overdue);
            if child.backs_off {
                let names = named(
                    &waits,
                    (&*supervisor.path, &*child.name),
                    MAX_COUNTED,
                    (OTHER, OTHER),
                );
                let wait = waits.entry(names).or_insert(Duration::ZERO);
                *wait = child.next_restart.unwrap_or_default().max(*wait);
            }
        }
    }
    let mut budget = Family::new(&catalogue::SUPERVISOR_BUDGET);
    for (path, left) in budgets {
        budget.count(&[path], left.into());
    }
    let mut backoff = Family::new(&catalogue::SUPERVISOR_BACKOFF);
    for ((path, child), wait) in waits {
        backoff.add(&[path, child], wait.as_secs_f64());
    }
    let exhausted = supervisor::exhausted().len();
    let single = |metric, count: u64| {
        let mut family = Family::new(metric);
        family.count(&[], count);
        family
    };
    vec![
        restarts,
        budget,
        backoff,
        single(&catalogue::SUPERVISOR_STUCK, stuck),
        single(&catalogue::SUPERVISOR_OVERDUE, overdue),
        single(
            &catalogue::SUPERVISOR_EXHAUSTED,
            u64::try_from(exhausted).unwrap_or(u64::MAX),
        ),
    ]
}

/// The series of these names: their own, or that of the rest where there are so many already.
fn named<K: Ord, V>(series: &BTreeMap<K, V>, names: K, most: usize, rest: K) -> K {
    if series.len() < most || series.contains_key(&names) {
        names
    } else {
        rest
    }
}
