//! Memory from the system, and back to it.

#![expect(unsafe_code, reason = "calls of the system")]

use std::ptr::NonNull;

use crate::task::record::Record;

/// Fresh zeroed memory, aligned to a page at least; never given back as a whole.
#[cfg(all(unix, not(miri)))]
pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
    // SAFETY: a new private mapping wherever the system likes.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: our own mapping. Huge pages would make the first record cost 2 MiB.
    unsafe {
        libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE)
    };
    NonNull::new(at.cast())
}

#[cfg(any(not(unix), miri))]
pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
    let layout = std::alloc::Layout::from_size_align(bytes, 4_096).ok()?;
    // SAFETY: not of size zero.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

/// Gives whole pages of free records back to the system, after which they read as zeros.
///
/// Only Linux promises the zeros. Elsewhere the memory stays ours, for the next spike.
#[cfg(all(target_os = "linux", not(miri)))]
pub(super) fn give_back(records: &[Record]) -> bool {
    let bytes = size_of_val(records);
    // SAFETY: private anonymous memory of ours with nothing on it but free records (invariant 3), for which
    // zeros are as good.
    let done = unsafe { libc::madvise(records.as_ptr().cast_mut().cast(), bytes, libc::MADV_DONTNEED) };
    done == 0
}

#[cfg(any(not(target_os = "linux"), miri))]
pub(super) fn give_back(_: &[Record]) -> bool {
    false
}

#[cfg(unix)]
pub(super) fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
pub(super) fn page_bytes() -> usize {
    usize::MAX
}
