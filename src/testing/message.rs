//! What a failed test says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::Location;
use std::time::Duration;

use crate::registry::{self, Row};
use crate::scope::Alive;
use crate::task::{KindId, State};

type Groups<'a> = BTreeMap<(KindId, Option<&'static Location<'static>>), Vec<&'a Alive>>;

/// Which tasks are left, what they do, and what can be done.
pub(super) fn message(left: &[Alive], made_at: &Location<'_>, waited: Duration) -> String {
    let mut groups = Groups::new();
    for member in left {
        groups
            .entry((member.kind, member.spawned_at))
            .or_default()
            .push(member);
    }
    let tasks = if left.len() == 1 {
        "task outlives"
    } else {
        "tasks outlive"
    };
    let mut text = format!(
        "{} {tasks} the test of the guard at {made_at}, {waited:.1?} after its end:",
        left.len()
    );
    for ((kind, site), members) in groups.iter().take(MOST_GROUPS) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {} x `{kind}`", members.len());
        if let Some(site) = site {
            let _ = write!(text, ", spawned at {site}");
        }
        let ids: Vec<String> = (members.iter().filter_map(|member| member.id))
            .take(MOST_IDS)
            .map(|id| id.to_string())
            .collect();
        if !ids.is_empty() {
            let more = if members.len() > MOST_IDS { ", ..." } else { "" };
            let _ = write!(text, " (ids {}{more})", ids.join(", "));
        }
        if let Some(first) = members.first() {
            text.push_str(": ");
            text.push_str(&state(first));
        }
    }
    if groups.len() > MOST_GROUPS {
        let _ = write!(text, "\n  and {} groups more", groups.len() - MOST_GROUPS);
    }
    text.push_str(
        "\nAwait or abort their handles, let go of what they wait for, or close their scope. \
         Tasks that are meant to live on: LeakGuard::ignore_kind, ignore_site.",
    );
    text
}

const MOST_GROUPS: usize = 20;
const MOST_IDS: usize = 8;

/// What one of them does.
fn state(member: &Alive) -> String {
    let Some(row) = member.id.and_then(registry::row) else {
        return "alive".to_owned();
    };
    let mut text = match row.state {
        State::Running => format!("it runs, for {:.1?}", row.running),
        State::Scheduled => "it was woken, and waits for a worker".to_owned(),
        State::Idle => format!("it is idle, for {:.1?}", row.idle),
    };
    if member.blocks {
        text.push_str(", and cannot be aborted");
    } else if is_lost(&row) {
        text.push_str(", and nothing is left that could wake it");
    }
    text
}

fn is_lost(row: &Row) -> bool {
    row.state == State::Idle && row.polls > 0 && row.wakers == Some(0)
}
