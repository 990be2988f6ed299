//! A chunk of mapped memory: a header, and slabs of records behind it; and what readers see of all chunks.
//!
//! The invariants are those of [`slab`](super).

#![expect(unsafe_code, reason = "memory that outlives every type of Rust's for it")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::memory;
use crate::task::record::Record;
use Ordering::{Acquire, Relaxed, Release};

/// Records in a slab.
pub(super) const SLAB: usize = if cfg!(miri) { 64 } else { 512 };
/// Slabs in a chunk; the space of the first is its header.
pub(super) const CHUNK: usize = if cfg!(miri) { 4 } else { 256 };
/// The most chunks: 16.7 million records.
const CHUNKS: usize = 128;

pub(super) const RECORD_BYTES: usize = size_of::<Record>();
const SLAB_BYTES: usize = SLAB * RECORD_BYTES;
const CHUNK_BYTES: usize = CHUNK * SLAB_BYTES;
pub(super) const WORDS: usize = SLAB / 64;

static CHUNK_BASES: [AtomicPtr<Header>; CHUNKS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];
static CHUNK_COUNT: AtomicUsize = AtomicUsize::new(0);

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

/// What stands in the space of a chunk's first slab. Never given back.
#[repr(C)]
pub(super) struct Header {
    /// The place of the chunk's first slab among all slabs.
    pub(super) first: AtomicUsize,
    /// Records of a slab that are not free here.
    pub(super) out: [AtomicU16; CHUNK - 1],
    /// A bit for each free record. Atomic only to be shared: they change under the lock.
    pub(super) free: [[AtomicU64; WORDS]; CHUNK - 1],
    /// A bit for each record that was taken since its page last went back to the system.
    pub(super) resident: [[AtomicU64; WORDS]; CHUNK - 1],
    /// See [`marks`].
    marks: [AtomicPtr<[AtomicU32; SLAB]>; CHUNK - 1],
}

const _: () = assert!(size_of::<Header>() <= SLAB_BYTES);

/// A mapped chunk.
#[derive(Clone, Copy)]
pub(super) struct Chunk(NonNull<Header>);

impl Chunk {
    pub(super) fn header(self) -> &'static Header {
        // SAFETY: a chunk begins with a header and stays mapped (invariant 1); zeros are a valid one.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn slab(self, slab: usize) -> &'static [Record] {
        debug_assert!(slab < CHUNK - 1);
        // SAFETY: inside of the chunk, behind the header.
        let first = unsafe { self.0.cast::<u8>().add((slab + 1) * SLAB_BYTES) };
        // SAFETY: mapped, and records for the life of the process (invariant 1); zeros are valid ones.
        unsafe { std::slice::from_raw_parts(first.cast::<Record>().as_ptr(), SLAB) }
    }

    /// The place of a record of this chunk, behind the header; `None` where it is of another.
    pub(super) fn place_of(self, record: NonNull<Record>) -> Option<usize> {
        let offset = record.addr().get().wrapping_sub(self.0.addr().get());
        (offset < CHUNK_BYTES).then(|| offset / RECORD_BYTES - SLAB)
    }

    /// The chunk of a record. Found by its address: a pointer to a record may reach that record alone, and not
    /// the header before it. There is one chunk for 130,000 records.
    pub(super) fn of(record: NonNull<Record>) -> Option<Self> {
        let bases = CHUNK_BASES.get(..CHUNK_COUNT.load(Relaxed))?.iter();
        let mut chunks = bases.filter_map(|base| NonNull::new(base.load(Relaxed)).map(Self));
        chunks.find(|chunk| chunk.place_of(record).is_some())
    }
}

/// The chunk of a slab, by its place among all chunks.
pub(super) fn chunk_at(index: usize) -> Option<Chunk> {
    NonNull::new(CHUNK_BASES.get(index)?.load(Relaxed)).map(Chunk)
}

/// Maps one more chunk, under the depot's lock.
#[cold]
pub(super) fn map_chunk() -> bool {
    let index = CHUNK_COUNT.load(Relaxed);
    let Some(place) = CHUNK_BASES.get(index) else {
        return false;
    };
    let Some(base) = memory::map(CHUNK_BYTES) else {
        return false;
    };
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
