//! Where records live: type-stable memory that gives free pages back to the system.
//!
//! Memory comes in chunks, mapped once and never unmapped, cut into slabs of [`SLAB`] records. A thread takes
//! and gives records in batches, from the lowest slab that has some, so that what lives stays close together.
//! Where many records are free, the pages under them go back to the system; they then read as zeros, which
//! is a free record.
//!
//! # Invariants
//!
//! 1. A chunk's memory stays mapped and holds nothing but records behind its header, for the life of the
//!    process. Readers need no lock to look at them.
//! 2. A record is in one of three places: in use (held by a task or a waker), in a thread's magazine, or free
//!    here, with its bit set in `free`. `free`, `out` and `resident` are changed under the lock of [`DEPOT`].
//! 3. Pages are given back only while every record on them is free here, under the same lock.
//!
//! No foreign code runs under the lock.

#![expect(unsafe_code, reason = "memory that outlives every type of Rust's for it")]

use super::record::Record;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::local;
use Ordering::{Acquire, Relaxed, Release};

/// Records in a slab.
pub(crate) const SLAB: usize = if cfg!(miri) { 64 } else { 512 };
/// Slabs in a chunk; the space of the first is its header.
const CHUNK: usize = if cfg!(miri) { 4 } else { 256 };
/// The most chunks: 16.7 million records.
const CHUNKS: usize = 128;
/// Free records that keep their memory, so that a calm service never asks the system for any: 512 KiB.
const KEEP: usize = 4_096;

const RECORD_BYTES: usize = size_of::<Record>();
const SLAB_BYTES: usize = SLAB * RECORD_BYTES;
const CHUNK_BYTES: usize = CHUNK * SLAB_BYTES;
const WORDS: usize = SLAB / 64;

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

// ===== readers =====

/// How many slabs there are by now. They are never fewer.
pub(crate) fn slabs() -> usize {
    CHUNK_COUNT.load(Acquire) * (CHUNK - 1)
}

/// The records of one slab; none where it has no record in use.
pub(crate) fn records(slab: usize) -> &'static [Record] {
    let (chunk, slab) = (slab / (CHUNK - 1), slab % (CHUNK - 1));
    let Some(base) = CHUNK_BASES
        .get(chunk)
        .and_then(|base| NonNull::new(base.load(Acquire)))
    else {
        return &[];
    };
    let chunk = Chunk(base);
    // A slab whose records are all here is not looked at: its pages may have gone back to the system.
    if chunk.header().out[slab].load(Relaxed) == 0 {
        return &[];
    }
    chunk.slab(slab)
}

/// A number for each record of a slab, for the sweep to remember by; made at first use, never freed.
pub(crate) fn marks(slab: usize) -> &'static [AtomicU32] {
    let Some(place) = marks_place(slab) else {
        return &[];
    };
    let found = place.load(Acquire);
    if !found.is_null() {
        // SAFETY: never freed.
        return unsafe { &*found };
    }
    let made = Box::into_raw(Box::new([const { AtomicU32::new(0) }; SLAB]));
    match place.compare_exchange(std::ptr::null_mut(), made, Release, Acquire) {
        // SAFETY: never freed from now on.
        Ok(_) => unsafe { &*made },
        Err(other) => {
            // SAFETY: made above, and seen by nobody.
            drop(unsafe { Box::from_raw(made) });
            // SAFETY: never freed.
            unsafe { &*other }
        }
    }
}

/// The number of one record; 0 where none was set.
pub(crate) fn mark(slab: usize, place: usize) -> u32 {
    let marks = marks_place(slab).map_or(std::ptr::null_mut(), |marks| marks.load(Acquire));
    // SAFETY: never freed.
    let marks = unsafe { marks.as_ref() };
    marks
        .and_then(|marks| marks.get(place))
        .map_or(0, |mark| mark.load(Relaxed))
}

fn marks_place(slab: usize) -> Option<&'static AtomicPtr<[AtomicU32; SLAB]>> {
    let (chunk, slab) = (slab / (CHUNK - 1), slab % (CHUNK - 1));
    let base = NonNull::new(CHUNK_BASES.get(chunk)?.load(Acquire))?;
    Chunk(base).header().marks.get(slab)
}

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

// ===== the depot =====

static DEPOT: Mutex<Depot> = Mutex::new(Depot {
    lowest: 0,
    out: 0,
    resident: 0,
});
static CHUNK_BASES: [AtomicPtr<Header>; CHUNKS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];
static CHUNK_COUNT: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

struct Depot {
    /// No slab below has a free record.
    lowest: usize,
    /// Records in use or in a magazine.
    out: usize,
    /// Records whose memory is ours, in use or free.
    resident: usize,
}

fn depot<R>(f: impl FnOnce(&mut Depot) -> R) -> R {
    f(&mut DEPOT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What stands in the space of a chunk's first slab. Never given back.
#[repr(C)]
struct Header {
    /// The place of the chunk's first slab among all slabs.
    first: AtomicUsize,
    /// Records of a slab that are not free here.
    out: [AtomicU16; CHUNK - 1],
    /// A bit for each free record. Atomic only to be shared: they change under the lock.
    free: [[AtomicU64; WORDS]; CHUNK - 1],
    /// A bit for each record that was taken since its page last went back to the system.
    resident: [[AtomicU64; WORDS]; CHUNK - 1],
    /// See [`marks`].
    marks: [AtomicPtr<[AtomicU32; SLAB]>; CHUNK - 1],
}

const _: () = assert!(size_of::<Header>() <= SLAB_BYTES);

/// A mapped chunk.
#[derive(Clone, Copy)]
struct Chunk(NonNull<Header>);

impl Chunk {
    fn header(self) -> &'static Header {
        // SAFETY: a chunk begins with a header and stays mapped (invariant 1); zeros are a valid one.
        unsafe { self.0.as_ref() }
    }

    fn slab(self, slab: usize) -> &'static [Record] {
        debug_assert!(slab < CHUNK - 1);
        // SAFETY: inside of the chunk, behind the header.
        let first = unsafe { self.0.cast::<u8>().add((slab + 1) * SLAB_BYTES) };
        // SAFETY: mapped, and records for the life of the process (invariant 1); zeros are valid ones.
        unsafe { std::slice::from_raw_parts(first.cast::<Record>().as_ptr(), SLAB) }
    }

    /// The place of a record of this chunk, behind the header; `None` where it is of another.
    fn place_of(self, record: NonNull<Record>) -> Option<usize> {
        let offset = record.addr().get().wrapping_sub(self.0.addr().get());
        (offset < CHUNK_BYTES).then(|| offset / RECORD_BYTES - SLAB)
    }

    /// The chunk of a record. Found by its address: a pointer to a record may reach that record alone, and not
    /// the header before it. There is one chunk for 130,000 records.
    fn of(record: NonNull<Record>) -> Option<Self> {
        let bases = CHUNK_BASES.get(..CHUNK_COUNT.load(Relaxed))?.iter();
        let mut chunks = bases.filter_map(|base| NonNull::new(base.load(Relaxed)).map(Self));
        chunks.find(|chunk| chunk.place_of(record).is_some())
    }
}

impl Depot {
    /// Moves up to `count` records into the magazine.
    fn take(&mut self, magazine: &mut Magazine, count: usize) {
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

    fn give(&mut self, records: &[NonNull<Record>]) {
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
        let page = (page_bytes() / RECORD_BYTES).max(1);
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
            if was_resident > 0 && give_back(&records[run.clone()]) {
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

fn chunk_at(index: usize) -> Option<Chunk> {
    NonNull::new(CHUNK_BASES.get(index)?.load(Relaxed)).map(Chunk)
}

/// Maps one more chunk, under the depot's lock.
#[cold]
fn map_chunk() -> bool {
    let index = CHUNK_COUNT.load(Relaxed);
    let Some(place) = CHUNK_BASES.get(index) else {
        return false;
    };
    let Some(base) = map() else { return false };
    let chunk = Chunk(base.cast());
    let header = chunk.header();
    header.first.store(index * (CHUNK - 1), Relaxed);
    for word in header.free.iter().flatten() {
        word.store(u64::MAX, Relaxed);
    }
    place.store(chunk.0.as_ptr(), Release);
    CHUNK_COUNT.store(index + 1, Release);
    true
}

/// Fresh zeroed memory for a chunk, aligned to its size.
#[cfg(all(unix, not(miri)))]
fn map() -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
    let map = |bytes: usize| {
        // SAFETY: a new private mapping wherever the system likes.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            None
        } else {
            NonNull::new(at.cast::<u8>())
        }
    };
    let unmap = |at: *mut u8, bytes: usize| {
        if bytes > 0 {
            // SAFETY: a part of our own new mapping, which nobody has seen.
            unsafe { libc::munmap(at.cast(), bytes) };
        }
    };
    // Twice as much, of which one aligned half stays.
    let start = map(2 * CHUNK_BYTES)?;
    let before = start.as_ptr().align_offset(CHUNK_BYTES);
    // SAFETY: `before` is less than CHUNK_BYTES, so that a whole chunk lies between there and the end.
    let base = unsafe { start.add(before) };
    unmap(start.as_ptr(), before);
    // SAFETY: still inside of the mapping, or one byte behind its end.
    let end = unsafe { base.add(CHUNK_BYTES) };
    unmap(end.as_ptr(), CHUNK_BYTES - before);
    #[cfg(target_os = "linux")]
    // SAFETY: our own mapping. Huge pages would make the first record cost 2 MiB.
    unsafe {
        libc::madvise(base.as_ptr().cast(), CHUNK_BYTES, libc::MADV_NOHUGEPAGE)
    };
    Some(base)
}

#[cfg(any(not(unix), miri))]
fn map() -> Option<NonNull<u8>> {
    let layout = std::alloc::Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).ok()?;
    // SAFETY: not of size zero.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

/// Gives whole pages of free records back to the system, after which they read as zeros.
///
/// Only Linux promises the zeros. Elsewhere the memory stays ours, for the next spike.
#[cfg(all(target_os = "linux", not(miri)))]
fn give_back(records: &[Record]) -> bool {
    let bytes = size_of_val(records);
    // SAFETY: private anonymous memory of ours with nothing on it but free records (invariant 3), for which
    // zeros are as good.
    let done = unsafe { libc::madvise(records.as_ptr().cast_mut().cast(), bytes, libc::MADV_DONTNEED) };
    done == 0
}

#[cfg(any(not(target_os = "linux"), miri))]
fn give_back(_: &[Record]) -> bool {
    false
}

#[cfg(unix)]
fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn page_bytes() -> usize {
    usize::MAX
}
