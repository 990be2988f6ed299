//! Bounded work: pools, threads that answer calls, and where a restarted worker goes on.

mod pools;
mod serve;
