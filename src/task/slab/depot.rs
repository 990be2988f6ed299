//! The depot: which records are free, and when their pages go back to the system. All under one lock.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::chunk::{CHUNK, Chunk, RECORD_BYTES, SLAB, WORDS, chunk_at, map_chunk, slabs};
use super::{Magazine, memory};
use crate::task::record::Record;

/// Free records that keep their memory, so that a calm service never asks the system for any: 512 KiB.
const KEEP: usize = 4_096;

/// Bytes of records that the system has given us and not got back.
pub(crate) fn resident_bytes() -> usize {
    depot(|depot| depot.resident) * RECORD_BYTES
}

/// How many records could not be had.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Relaxed)
}

/// Gives the memory of free records back to the system where there is much of it. Called by the sweep; each
/// thread also does it for the slabs into which it gives records back.
pub(crate) fn trim() {
    for slab in 0..slabs() {
        if !depot(|depot| depot.trim(slab)) {
            return;
        }
    }
}

pub(super) struct Depot {
    /// No slab below has a free record.
    lowest: usize,
    /// Records in use or in a magazine.
    out: usize,
    /// Records whose memory is ours, in use or free.
    resident: usize,
}

pub(super) fn depot<R>(f: impl FnOnce(&mut Depot) -> R) -> R {
    f(&mut DEPOT.lock().unwrap_or_else(PoisonError::into_inner))
}

static DEPOT: Mutex<Depot> = Mutex::new(Depot {
    lowest: 0,
    out: 0,
    resident: 0,
});
static REFUSED: AtomicU64 = AtomicU64::new(0);

impl Depot {
    /// Moves up to `count` records into the magazine.
    pub(super) fn take(&mut self, magazine: &mut Magazine, count: usize) {
        let mut wanted = count;
        loop {
            while self.lowest < slabs() {
                let Some(chunk) = chunk_at(self.lowest / (CHUNK - 1)) else {
                    return;
                };
                wanted = self.take_from(chunk, self.lowest % (CHUNK - 1), magazine, wanted);
                if wanted == 0 {
                    return;
                }
                self.lowest += 1;
            }
            if !map_chunk() {
                if wanted == count {
                    REFUSED.fetch_add(1, Relaxed);
                }
                return;
            }
        }
    }

    fn take_from(&mut self, chunk: Chunk, slab: usize, magazine: &mut Magazine, mut wanted: usize) -> usize {
        let header = chunk.header();
        let records = chunk.slab(slab);
        let mut taken = 0;
        for (word, (free, resident)) in header.free[slab].iter().zip(&header.resident[slab]).enumerate() {
            let mut bits = free.load(Relaxed);
            let mut now_resident = resident.load(Relaxed);
            while bits != 0 && wanted != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                self.resident += usize::from(now_resident & (1 << bit) == 0);
                now_resident |= 1 << bit;
                magazine.push(NonNull::from(&records[word * 64 + bit as usize]));
                taken += 1;
                wanted -= 1;
            }
            free.store(bits, Relaxed);
            resident.store(now_resident, Relaxed);
        }
        header.out[slab].fetch_add(taken, Relaxed);
        self.out += usize::from(taken);
        wanted
    }

    pub(super) fn give(&mut self, records: &[NonNull<Record>]) {
        let mut touched = usize::MAX;
        let mut last: Option<Chunk> = None;
        for record in records {
            let same = last.filter(|chunk| chunk.place_of(*record).is_some());
            let Some(chunk) = same.or_else(|| Chunk::of(*record)) else {
                continue;
            };
            let Some(place) = chunk.place_of(*record) else {
                continue;
            };
            last = Some(chunk);
            let header = chunk.header();
            let slab = place / SLAB;
            let word = &header.free[slab][place % SLAB / 64];
            word.store(word.load(Relaxed) | 1 << (place % 64), Relaxed);
            let left = header.out[slab].fetch_sub(1, Relaxed) - 1;
            let slab = header.first.load(Relaxed) + slab;
            self.lowest = self.lowest.min(slab);
            if left == 0 {
                touched = slab;
            }
        }
        self.out -= records.len();
        // At most one a batch, so that no thread pays for much at once.
        if touched != usize::MAX {
            self.trim(touched);
        }
    }

    /// Gives the free pages of a slab back, where much is free; says whether much is free.
    fn trim(&mut self, slab: usize) -> bool {
        if self.resident <= self.out + self.out / 4 + KEEP {
            return false;
        }
        let Some(chunk) = chunk_at(slab / (CHUNK - 1)) else {
            return true;
        };
        let (header, slab) = (chunk.header(), slab % (CHUNK - 1));
        let page = (memory::page_bytes() / RECORD_BYTES).max(1);
        if page > SLAB {
            return false; // pages larger than a slab: none is ever known to be free
        }
        let is_set =
            |bits: &[AtomicU64; WORDS], at: usize| bits[at / 64].load(Relaxed) & (1 << (at % 64)) != 0;
        let records = chunk.slab(slab);
        let mut start = 0;
        while start < SLAB {
            // The longest run of pages on which every record is free, and one at least resident.
            let mut end = start;
            while end < SLAB && (end..end + page).all(|at| is_set(&header.free[slab], at)) {
                end += page;
            }
            let run = start..end;
            let was_resident = run
                .clone()
                .filter(|&at| is_set(&header.resident[slab], at))
                .count();
            if was_resident > 0 && memory::give_back(&records[run.clone()]) {
                for at in run {
                    let word = &header.resident[slab][at / 64];
                    word.store(word.load(Relaxed) & !(1 << (at % 64)), Relaxed);
                }
                self.resident -= was_resident;
            }
            start = end + page;
        }
        true
    }
}
