//! Integration tests, linked as one binary.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "server")]
mod agent;
#[cfg(all(feature = "profile", target_os = "linux"))]
mod awaits;
#[cfg(feature = "prometheus")]
mod catalogue;
#[cfg(feature = "server")]
mod client;
#[cfg(feature = "server")]
mod connections;
mod conservation;
#[cfg(feature = "cli")]
mod demo;
#[cfg(feature = "server")]
mod endpoints;
#[cfg(feature = "server")]
mod escaping;
mod events;
#[cfg(feature = "prometheus")]
mod exposition;
#[cfg(feature = "server")]
mod guards;
#[cfg(tokio_unstable)]
mod hooks;
mod layering;
#[cfg(feature = "prometheus")]
mod metrics;
mod moved;
mod orphans;
#[cfg(feature = "profile")]
mod pprof;
mod processes;
#[cfg(feature = "server")]
mod queries;
mod scopes;
#[cfg(feature = "cli")]
mod scrape;
mod shutdown;
mod supervisors;
mod support;
mod waker;
mod workers;
