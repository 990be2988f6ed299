//! Metrics for Prometheus: a [`Collector`] for a registry of your own, and a whole scrape as text.
//!
//! The names, types and labels in [`CATALOGUE`] are part of the crate's public contract. No task's id is ever in a
//! label: those are in `/debug/tasks`.
//!
//! The types of the `prometheus` crate appear here and nowhere else, so that its major versions are those of this
//! module alone.

mod catalogue;
mod collector;
mod family;
mod leaked;
#[cfg(target_os = "linux")]
mod process;
mod runtime;
mod scrape;
mod supervisors;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

pub use catalogue::{CATALOGUE, Metric, Type, markdown};
pub use collector::{Collector, DEFAULT_KINDS};
use scrape::Part;

/// The media type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A whole scrape as Prometheus' text, version 0.0.4: `lifespan_*`, `tokio_*` of the watched runtimes, and, on Linux,
/// `process_*`. Shows the first so many kinds, see [`Collector::kinds`].
///
/// A part that fails is left out and counted in `lifespan_agent_scrape_errors_total`; the others are given all the
/// same. Takes as long as there are kinds and threads, however many tasks there are.
///
/// # Errors
///
/// Where every part failed.
///
/// # Examples
///
/// ```
/// use lifespan::prometheus::{DEFAULT_KINDS, render};
///
/// let scrape = render(DEFAULT_KINDS)?;
/// assert!(scrape.contains("# TYPE lifespan_tasks gauge"));
/// # Ok::<(), lifespan::prometheus::RenderError>(())
/// ```
pub fn render(kinds: usize) -> Result<String, RenderError> {
    scrape::timed(|| {
        let tokio = part(Part::Tokio, runtime::families);
        #[cfg(target_os = "linux")]
        let process = part(Part::Process, process::families);
        #[cfg(not(target_os = "linux"))]
        let process = None;
        // Last, so that it counts what failed in the others.
        let lifespan = part(Part::Lifespan, || collector::families(kinds));
        let parts = [lifespan, tokio, process];
        if parts.iter().all(Option::is_none) {
            return Err(RenderError);
        }
        Ok(parts.into_iter().flatten().collect())
    })
}

/// No part of a scrape could be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RenderError;

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no part of the scrape could be written")
    }
}

impl std::error::Error for RenderError {}

/// One part of a scrape as text; `None`, and counted, where it fails.
fn part(part: Part, families: impl FnOnce() -> Vec<MetricFamily>) -> Option<String> {
    let text = catch_unwind(AssertUnwindSafe(|| {
        TextEncoder::new().encode_to_string(&families()).ok()
    }));
    let text = text.ok().flatten();
    if text.is_none() {
        scrape::count_error(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_is_left_out_and_counted() {
        let panics = part(Part::Process, || panic!("a bad part"));
        assert_eq!(panics, None);
        let nameless = part(Part::Process, || vec![MetricFamily::default()]);
        assert_eq!(nameless, None);
        let scrape = render(DEFAULT_KINDS).unwrap();
        assert!(
            scrape.contains("lifespan_agent_scrape_errors_total{part=\"process\"} 2\n"),
            "{scrape}"
        );
        assert!(
            scrape.contains("lifespan_agent_scrape_errors_total{part=\"lifespan\"} 0\n"),
            "{scrape}"
        );
    }
}
