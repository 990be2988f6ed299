//! Tasks with a verdict, by spawn site: those of most tasks, and one sample for all others.

use std::cmp::Reverse;

use super::catalogue;
use super::family::Family;
use crate::registry::{SiteStates, Sweep};

/// How many sites a scrape names. Each is a place in the host's code, so that they come and go with its leaks.
const SITES: usize = 20;

const ORPHANED: &str = "orphaned";
const OTHER: &str = "other";

/// The kind is the site's own, even where the scrape counts that kind as `other`: whoever follows an alert needs
/// it, and the number of sites bounds it as well.
pub(super) fn family(sweep: &Sweep) -> Family {
    let mut sites: Vec<&SiteStates> = sweep.sites.iter().filter(|site| site.orphaned > 0).collect();
    sites.sort_by_key(|site| {
        let place = site.spawned_at;
        (
            Reverse(site.orphaned),
            site.kind,
            place.file(),
            place.line(),
            place.column(),
        )
    });
    sites.truncate(SITES);
    let mut leaked = Family::new(&catalogue::TASKS_LEAKED);
    for site in &sites {
        leaked.count(
            &[site.kind.name(), ORPHANED, &site.spawned_at.to_string()],
            site.orphaned,
        );
    }
    let all: u64 = sweep.kinds.iter().map(|kind| kind.orphaned).sum();
    let named: u64 = sites.iter().map(|site| site.orphaned).sum();
    // There at 0 as well, so that a rule finds the metric before the first leak.
    leaked.count(&[OTHER, ORPHANED, OTHER], all.saturating_sub(named));
    leaked
}
