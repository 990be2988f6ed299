//! Leaks are found, shown where they are looked for, and told of once.

#[cfg(feature = "prometheus")]
mod shown;
