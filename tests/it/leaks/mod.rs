//! Leaks are found, shown where they are looked for, and told of once.

mod corpus;
mod guard;
mod healthy;
mod held_out;
mod leaking;
#[cfg(all(feature = "server", feature = "prometheus"))]
mod shown;
mod world;
