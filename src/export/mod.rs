//! What leaves the process: every exporter is a function of what the registry says, and none knows another.

#[cfg(feature = "prometheus")]
pub mod prometheus;
