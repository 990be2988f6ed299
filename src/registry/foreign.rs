//! Tasks that are not ours, by spawn site (only in a build with `tokio_unstable`).

use std::cmp::Reverse;
use std::panic::Location;

use crate::task::hooks;

/// Untracked tasks of the runtimes that have our [hooks](crate::hooks::Hooks).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Foreign {
    /// Where they were spawned, the place of most of them first.
    pub sites: Vec<ForeignSite>,
    /// Tasks ever whose place found no room: 65,536 are known at a time.
    pub refused: u64,
}

/// Untracked tasks that were spawned at one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ForeignSite {
    /// The place.
    pub spawned_at: &'static Location<'static>,
    /// How many live.
    pub live: u64,
}

/// Tasks that are alive and not tracked, by spawn site.
///
/// A task that is tracked from within, by [`tracked`](crate::Track::tracked) on a future that something else spawned,
/// is among them until it is polled first. The futures of a `LocalSet` never are: tokio tells of none.
///
/// # Examples
///
/// ```
/// let mut builder = tokio::runtime::Builder::new_current_thread();
/// lifespan::hooks::Hooks::new().install(&mut builder);
/// let runtime = builder.build()?;
///
/// let foreign = runtime.spawn(std::future::pending::<()>());
/// let sites = lifespan::registry::foreign().sites;
/// assert_eq!(sites.iter().map(|site| site.live).sum::<u64>(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn foreign() -> Foreign {
    let mut sites: Vec<ForeignSite> = hooks::by_site()
        .into_iter()
        .map(|(spawned_at, live)| ForeignSite { spawned_at, live })
        .collect();
    sites.sort_by_key(|site| {
        let place = site.spawned_at;
        (Reverse(site.live), place.file(), place.line(), place.column())
    });
    Foreign {
        sites,
        refused: hooks::refused(),
    }
}
