//! Integration tests, linked as one binary.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails, and tasks of others are what some look at"
)]

#[cfg(feature = "prometheus")]
mod catalogue;
#[cfg(feature = "prometheus")]
mod exposition;
#[cfg(tokio_unstable)]
mod hooks;
mod layering;
#[cfg(feature = "prometheus")]
mod metrics;
#[cfg(feature = "cli")]
mod scrape;
