//! Integration tests, linked as one binary.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "prometheus")]
mod catalogue;
#[cfg(feature = "prometheus")]
mod exposition;
#[cfg(feature = "prometheus")]
mod metrics;
