//! Where records live: type-stable memory that gives free pages back to the system.
//!
//! Memory comes in chunks, mapped once and never unmapped, cut into slabs of [`SLAB`](chunk::SLAB) records. A thread takes
//! and gives records in batches, from the lowest slab that has some, so that what lives stays close together.
//! Where many records are free, the pages under them go back to the system; they then read as zeros, which
//! is a free record.
//!
//! # Invariants
//!
//! 1. A chunk's memory stays mapped and holds nothing but records behind its header, for the life of the
//!    process. Readers need no lock to look at them.
//! 2. A record is in one of three places: in use (held by a task or a waker), in a thread's magazine, or free
//!    here, with its bit set in `free`. `free`, `out` and `resident` are changed under the lock of the depot.
//! 3. Pages are given back only while every record on them is free here, under the same lock.
//!
//! No foreign code runs under the lock.

mod chunk;
mod depot;
mod memory;

use std::ptr::NonNull;

use super::local;
use super::record::Record;
use depot::depot;

pub(crate) use chunk::{mark, marks, records, slabs};
pub(crate) use depot::{refused, resident_bytes, trim};

/// Takes a free record; `None` where the system gives no memory, or all chunks are full.
#[inline]
pub(crate) fn take_from(magazine: &mut Magazine) -> Option<NonNull<Record>> {
    if magazine.len == 0 {
        refill(magazine);
    }
    magazine.pop()
}

/// Takes a free record without a magazine: the thread is being torn down.
pub(crate) fn take_one() -> Option<NonNull<Record>> {
    let mut one = Magazine::new();
    depot(|depot| depot.take(&mut one, 1));
    one.pop()
}

/// Gives a record back that has no holder.
#[inline]
pub(crate) fn give(record: NonNull<Record>) {
    let kept = local::with_magazine(|magazine| {
        if magazine.len == MAGAZINE {
            flush(magazine);
        }
        magazine.push(record);
    });
    if kept.is_none() {
        // The thread's own data is gone: it is being torn down.
        depot(|depot| depot.give(&[record]));
    }
}

#[cold]
fn refill(magazine: &mut Magazine) {
    depot(|depot| depot.take(magazine, MAGAZINE / 2));
}

#[cold]
fn flush(magazine: &mut Magazine) {
    let rest = MAGAZINE / 2;
    depot(|depot| depot.give(&magazine.records[rest..]));
    magazine.len = rest;
}

/// Gives all of a magazine back: its thread ends.
pub(crate) fn empty(magazine: &mut Magazine) {
    depot(|depot| depot.give(&magazine.records[..magazine.len]));
    magazine.len = 0;
}

/// Records that a thread has at hand.
#[derive(Debug)]
pub(crate) struct Magazine {
    len: usize,
    records: [NonNull<Record>; MAGAZINE],
}

const MAGAZINE: usize = 128;

impl Magazine {
    pub(crate) const fn new() -> Self {
        Self {
            len: 0,
            records: [NonNull::dangling(); MAGAZINE],
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<NonNull<Record>> {
        let last = self.len.checked_sub(1)?;
        self.len = last;
        self.records.get(last).copied()
    }

    #[inline]
    fn push(&mut self, record: NonNull<Record>) {
        if let Some(place) = self.records.get_mut(self.len) {
            *place = record;
            self.len += 1;
        }
    }
}
