//! Integration tests, linked as one binary.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

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
