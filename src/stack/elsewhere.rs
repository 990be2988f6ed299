//! What stands in where stacks cannot be unwound: the same names, and nothing is found.

#![expect(
    clippy::needless_pass_by_ref_mut,
    clippy::unused_self,
    reason = "the signatures are those of where it is supported"
)]

use super::copy::Registers;
use super::frame::{End, Frames};
use std::io;
use std::sync::Arc;

/// Knows no modules, and finds no frames.
#[derive(Debug)]
pub(crate) struct Unwinder;

impl Unwinder {
    /// Does nothing.
    pub(crate) fn new() -> Self {
        Self
    }

    /// # Errors
    ///
    /// Always: see [`supported`](super::supported).
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        super::supported().map_err(|reason| io::Error::new(io::ErrorKind::Unsupported, reason))
    }

    /// None.
    pub(crate) fn modules(&self) -> &Modules {
        &Modules
    }

    /// Finds nothing.
    pub(crate) fn unwind(&mut self, _: &Registers, _: &[u64], _: bool, _: &mut Vec<u64>) -> End {
        End::Broken
    }
}

/// None.
#[derive(Debug)]
pub(crate) struct Modules;

/// Knows no names.
#[derive(Debug)]
pub(crate) struct Symbols;

impl Symbols {
    /// Does nothing.
    pub(crate) fn new() -> Self {
        Self
    }

    /// Finds nothing.
    pub(crate) fn resolve(&mut self, _: &Modules, _: u64) -> Frames {
        Arc::from([])
    }

    /// Does nothing.
    pub(crate) fn rest(&mut self) {}
}
