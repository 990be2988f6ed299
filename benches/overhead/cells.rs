//! An allocator that takes the same number of instructions for each of tokio's tasks.
//!
//! tokio aligns a task's cell to 128 bytes, and what glibc does for such a block depends on what was freed before:
//! 700 to 1,300 instructions, with phases that differ between two subjects by more than either costs. The counts
//! would be of glibc. So while instructions are counted, cells come from free lists; and as times are of what a
//! service has, everything comes from the system's allocator while they are measured.
#![expect(unsafe_code, reason = "an allocator has no safe form")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[derive(Debug)]
pub(crate) struct Cells {
    listed: AtomicBool,
}

impl Cells {
    pub(crate) const fn new() -> Self {
        Self {
            listed: AtomicBool::new(false),
        }
    }

    /// From now on, cells go through free lists. Once, before there is a second thread or a task.
    pub(crate) fn list(&self) {
        self.listed.store(true, Relaxed);
    }

    /// The free list for such blocks, if they have one.
    fn class(&self, layout: Layout) -> Option<usize> {
        let class = layout.size() / ALIGN;
        (layout.align() == ALIGN
            && layout.size().is_multiple_of(ALIGN)
            && class < CLASSES
            && self.listed.load(Relaxed))
        .then_some(class)
    }
}

const ALIGN: usize = 128;
const CLASSES: usize = 16;

thread_local! {
    /// The first free block of each size; each holds the address of the next.
    static FREE: [Cell<*mut u8>; CLASSES] = const { [const { Cell::new(null_mut()) }; CLASSES] };
}

// SAFETY: blocks come from the system's allocator with the layout that was asked for, and are used again only for
// the same layout (all of a class have one size and alignment) and after they were given back.
unsafe impl GlobalAlloc for Cells {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let listed = self.class(layout).and_then(|class| {
            FREE.with(|free| {
                let head = free.get(class)?;
                let block = head.get();
                if block.is_null() {
                    return None;
                }
                // SAFETY: a block on the list is free, aligned, and holds the next one's address.
                head.set(unsafe { block.cast::<*mut u8>().read() });
                Some(block)
            })
        });
        // SAFETY: the caller's contract is the system's.
        listed.unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.class(layout) {
            Some(class) => FREE.with(|free| {
                if let Some(head) = free.get(class) {
                    // SAFETY: the block is the caller's to give, aligned, and as large as its class: at least 128.
                    unsafe { block.cast::<*mut u8>().write(head.get()) };
                    head.set(block);
                }
            }),
            // SAFETY: the caller's contract is the system's.
            None => unsafe { System.dealloc(block, layout) },
        }
    }
}
