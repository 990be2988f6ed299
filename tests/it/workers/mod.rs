//! Bounded work: pools, threads that answer calls, and where a restarted worker goes on.

#[cfg(unix)]
mod crash;
#[cfg(unix)]
mod files;
mod pools;
mod runs;
mod serve;
mod supervised;
