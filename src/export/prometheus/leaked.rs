//! Tasks with a verdict, by spawn site: those of most tasks, and one sample a verdict for all others.

use std::cmp::Reverse;
use std::panic::Location;

use super::catalogue;
use super::family::Family;
use crate::leak::{Leaks, Verdict};
use crate::registry::{SiteStates, Sweep};
use crate::task::KindId;

/// How many sites a scrape names for each verdict. Each is a place in the host's code, so that they come and go with
/// its leaks.
const SITES: usize = 20;

const OTHER: &str = "other";

/// The kind is the site's own, even where the scrape counts that kind as `other`: whoever follows an alert needs
/// it, and the number of sites bounds it as well. A task of two verdicts is counted under both.
pub(super) fn family(sweep: &Sweep, leaks: &Leaks) -> Family {
    let mut leaked = Family::new(&catalogue::TASKS_LEAKED);
    for verdict in Verdict::ALL {
        let sites = sites(sweep, leaks, verdict);
        // What is suspected is so by site; of the others the sweep may have met more sites than it can tell apart.
        let all = match verdict {
            Verdict::Orphaned => sweep.kinds.iter().map(|kind| kind.orphaned).sum(),
            Verdict::Overstayed => sweep.kinds.iter().map(|kind| kind.overstayed).sum(),
            Verdict::Overdue => sweep.kinds.iter().map(|kind| kind.overdue).sum(),
            Verdict::Suspected => sites.iter().map(|site| site.tasks).sum(),
        };
        add(&mut leaked, verdict, sites, all);
    }
    leaked
}

/// The tasks of one site with one verdict.
struct Site {
    kind: KindId,
    spawned_at: &'static Location<'static>,
    tasks: u64,
}

fn sites(sweep: &Sweep, leaks: &Leaks, verdict: Verdict) -> Vec<Site> {
    if verdict == Verdict::Suspected {
        let suspected = leaks.leaks.iter().filter(|leak| leak.verdict == verdict);
        return suspected
            .map(|leak| Site {
                kind: leak.kind,
                spawned_at: leak.spawned_at,
                tasks: leak.tasks,
            })
            .collect();
    }
    let tasks = |site: &SiteStates| match verdict {
        Verdict::Orphaned => site.orphaned,
        Verdict::Overstayed => site.overstayed,
        Verdict::Overdue => site.overdue,
        Verdict::Suspected => 0,
    };
    let sites = sweep.sites.iter().filter(|site| tasks(site) > 0);
    sites
        .map(|site| Site {
            kind: site.kind,
            spawned_at: site.spawned_at,
            tasks: tasks(site),
        })
        .collect()
}

fn add(leaked: &mut Family, verdict: Verdict, mut sites: Vec<Site>, all: u64) {
    sites.sort_by_key(|site| (Reverse(site.tasks), site.kind, site.spawned_at));
    sites.truncate(SITES);
    for site in &sites {
        leaked.count(
            &[site.kind.name(), verdict.name(), &site.spawned_at.to_string()],
            site.tasks,
        );
    }
    let named: u64 = sites.iter().map(|site| site.tasks).sum();
    // There at 0 as well, so that a rule finds the metric before the first leak.
    leaked.count(&[OTHER, verdict.name(), OTHER], all.saturating_sub(named));
}
