//! A waker, taken apart so that it fits into a record.

#![expect(unsafe_code, reason = "a waker is put together again from its two words")]

use std::ptr::null;
use std::task::{RawWakerVTable, Waker};

/// A waker's two words, or none.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    data: *const (),
    vtable: *const RawWakerVTable,
}

impl Kept {
    pub(super) const NONE: Self = Self {
        data: null(),
        vtable: null(),
    };

    #[inline]
    pub(crate) fn words(waker: &Waker) -> Self {
        Self {
            data: waker.data(),
            vtable: waker.vtable(),
        }
    }

    /// Takes the waker apart; nothing is dropped until [`into_waker`](Self::into_waker) puts it together.
    pub(crate) fn from_waker(waker: Waker) -> Self {
        Self::words(&std::mem::ManuallyDrop::new(waker))
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.vtable.is_null()
    }

    /// The waker.
    ///
    /// # Safety
    ///
    /// As for [`into_waker`](Self::into_waker), and there is one.
    #[inline(always)]
    pub(crate) unsafe fn assume_waker(self) -> Waker {
        // SAFETY: the vtable pointer came from a `&'static RawWakerVTable`.
        let vtable = unsafe { &*self.vtable };
        // SAFETY: the two words belong to one waker; who puts it together is the caller's promise.
        unsafe { Waker::new(self.data, vtable) }
    }

    /// The waker, if there is one.
    ///
    /// # Safety
    ///
    /// The words came from a waker that was taken apart, and this is either the only time that it is put
    /// together, or the result is not dropped and the original outlives it.
    #[inline]
    pub(crate) unsafe fn into_waker(self) -> Option<Waker> {
        // SAFETY: the caller's promise, and there is one.
        (!self.is_none()).then(|| unsafe { self.assume_waker() })
    }
}
