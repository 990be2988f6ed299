//! Tasks with a verdict, by spawn site: those of most tasks, and one sample a verdict for all others.

use std::cmp::Reverse;

use super::catalogue;
use super::family::Family;
use crate::registry::{KindStates, SiteStates, Sweep};

/// How many sites a scrape names for each verdict. Each is a place in the host's code, so that they come and go with
/// its leaks.
const SITES: usize = 20;

const OTHER: &str = "other";

/// One verdict: its name, and how many tasks of a site and of a kind it is said of.
struct Verdict {
    name: &'static str,
    of_site: fn(&SiteStates) -> u64,
    of_kind: fn(&KindStates) -> u64,
}

const VERDICTS: [Verdict; 2] = [
    Verdict {
        name: "orphaned",
        of_site: |site| site.orphaned,
        of_kind: |kind| kind.orphaned,
    },
    Verdict {
        name: "overstayed",
        of_site: |site| site.overstayed,
        of_kind: |kind| kind.overstayed,
    },
];

/// The kind is the site's own, even where the scrape counts that kind as `other`: whoever follows an alert needs
/// it, and the number of sites bounds it as well. A task of two verdicts is counted under both.
pub(super) fn family(sweep: &Sweep) -> Family {
    let mut leaked = Family::new(&catalogue::TASKS_LEAKED);
    for verdict in &VERDICTS {
        add(&mut leaked, sweep, verdict);
    }
    leaked
}

fn add(leaked: &mut Family, sweep: &Sweep, verdict: &Verdict) {
    let tasks = verdict.of_site;
    let mut sites: Vec<&SiteStates> = sweep.sites.iter().filter(|site| tasks(site) > 0).collect();
    sites.sort_by_key(|site| {
        let place = site.spawned_at;
        (
            Reverse(tasks(site)),
            site.kind,
            place.file(),
            place.line(),
            place.column(),
        )
    });
    sites.truncate(SITES);
    for site in &sites {
        leaked.count(
            &[site.kind.name(), verdict.name, &site.spawned_at.to_string()],
            tasks(site),
        );
    }
    let all: u64 = sweep.kinds.iter().map(verdict.of_kind).sum();
    let named: u64 = sites.iter().map(|site| tasks(site)).sum();
    // There at 0 as well, so that a rule finds the metric before the first leak.
    leaked.count(&[OTHER, verdict.name, OTHER], all.saturating_sub(named));
}
