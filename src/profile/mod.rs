//! Where live tasks wait, in the forms that people and tools read.
//!
//! [`view`] takes a dump; everything else here is a function of what came back: [`tasks`] counts alike tasks,
//! [`encode`] writes profile.proto, [`text`] the two texts in Go's form, [`flamegraph`] a picture.

pub(crate) mod dump;
pub(crate) mod encode;
pub(crate) mod flamegraph;
pub(crate) mod report;
mod share;
pub(crate) mod tasks;
pub(crate) mod text;
pub(crate) mod threads;
pub(crate) mod view;
mod waits;
mod wire;
