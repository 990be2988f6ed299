//! The copy of a stack: registers, and the bytes that they point to.
//!
//! Nothing else of [`stack`](super) runs in the host's threads, be it in a waker's clone or in a signal handler. It
//! allocates nothing, takes no lock, calls nothing and cannot panic; it needs no stack of its own to speak of.
//!
//! # Invariants
//!
//! 1. Bytes are read from `sp` up to `top` and nowhere else, and never more than the caller's buffer takes.
//! 2. Nothing is followed: a pointer on the stack is copied, not read through.
//! 3. The words that are counted in [`Copied::words`] are initialised, whatever the compiler knew of the memory that
//!    they came from.
//!
//! The copying is machine code and not Rust, since frames have holes that Rust calls uninitialised, and locals that
//! others borrow; and so that tools which look at each access (AddressSanitizer's red zones on a stack are part of what is
//! copied) see none here. Miri knows no machine code: there a copy is empty.

#![expect(unsafe_code, reason = "registers are read and stacks copied by machine code")]

use std::mem::MaybeUninit;

/// What unwinding starts from: where a thread was, and where its stack was.
///
/// All zero on a processor that [`supported`](super::supported) does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The instruction: `rip`, or `pc`.
    pub(crate) ip: u64,
    /// The lowest byte of the stack that is in use.
    pub(crate) sp: u64,
    /// The frame pointer, or whatever else is in `rbp` or `x29`.
    pub(crate) fp: u64,
    /// The return address of a leaf function: `x30` on aarch64, else 0.
    pub(crate) lr: u64,
}

impl Registers {
    /// Those of the function in which this is written.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        #[cfg_attr(
            any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))),
            expect(unused_mut, reason = "nothing can be read here")
        )]
        let mut here = Self::default();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: reads registers, and nothing else.
        unsafe {
            core::arch::asm!(
                "lea {ip}, [rip]",
                "mov {sp}, rsp",
                "mov {fp}, rbp",
                ip = out(reg) here.ip,
                sp = out(reg) here.sp,
                fp = out(reg) here.fp,
                options(nomem, nostack, preserves_flags),
            );
        };
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        // SAFETY: reads registers, and nothing else.
        unsafe {
            core::arch::asm!(
                "adr {ip}, .",
                "mov {sp}, sp",
                "mov {fp}, x29",
                "mov {lr}, x30",
                ip = out(reg) here.ip,
                sp = out(reg) here.sp,
                fp = out(reg) here.fp,
                lr = out(reg) here.lr,
                options(nomem, nostack, preserves_flags),
            );
        };
        here
    }
}

/// How much of a stack was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The words of the buffer that hold it, from its first one on.
    pub(crate) words: usize,
    /// Whether `top` lies above them: the buffer was too small, and the outermost frames are missing.
    pub(crate) cut: bool,
}

/// Copies the stack from `registers.sp` up to `top`, as far as the buffer goes.
///
/// The `sp` of an outer function makes a good `top`: then its return address, and so the function itself, is the
/// last that is seen, and what called it is not. Where `top` is below `sp`, nothing is copied.
///
/// # Safety
///
/// The memory from `registers.sp` up to `top` is mapped, and the stack of this thread or of one that stands still. Its
/// bytes may be anything.
#[inline(always)]
pub(crate) unsafe fn copy(registers: &Registers, top: u64, into: &mut [MaybeUninit<u64>]) -> Copied {
    // Both ABIs keep the stack aligned to words, so that less than one is left over only where `top` is odd.
    let there = usize::try_from(top.saturating_sub(registers.sp) / WORD).unwrap_or(usize::MAX);
    let words = if cfg!(all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(miri)
    )) {
        there.min(into.len())
    } else {
        0
    };
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: reads the caller's stack below `top` (invariant 1), and writes at most what `into` has. The direction
    // flag is clear in all Rust code, and in signal handlers.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") registers.sp => _,
            inout("rdi") into.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    };
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: reads the caller's stack below `top` (invariant 1), and writes at most what `into` has.
    unsafe {
        core::arch::asm!(
            "2:",
            "cbz {left}, 3f",
            "ldr {word}, [{from}], #8",
            "str {word}, [{to}], #8",
            "sub {left}, {left}, #1",
            "b 2b",
            "3:",
            left = inout(reg) words => _,
            from = inout(reg) registers.sp => _,
            to = inout(reg) into.as_mut_ptr() => _,
            word = out(reg) _,
            options(nostack, preserves_flags),
        );
    };
    Copied {
        words,
        cut: words < there,
    }
}

/// Bytes of a word, which is what is copied at a time.
const WORD: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "copies with machine code")]
    fn copies_what_is_there_and_no_more() {
        let stack: Vec<u64> = (1..=32).collect();
        let sp = stack.as_ptr().expose_provenance() as u64;
        let copied = |top, capacity: usize| {
            let registers = Registers {
                sp,
                ..Registers::default()
            };
            let mut into = vec![MaybeUninit::new(0); capacity + 1];
            // SAFETY: `top` is at most the end of `stack`.
            let copied = unsafe { copy(&registers, top, &mut into[..capacity]) };
            // SAFETY: all of it was initialised at first.
            let words: Vec<u64> = into.iter().map(|word| unsafe { word.assume_init() }).collect();
            assert!(words[copied.words..].iter().all(|&word| word == 0));
            (words[..copied.words].to_vec(), copied.cut)
        };
        assert_eq!(copied(sp + 32 * 8, 64), (stack.clone(), false));
        assert_eq!(copied(sp + 32 * 8, 32), (stack.clone(), false));
        assert_eq!(copied(sp + 32 * 8, 10), (stack[..10].to_vec(), true));
        assert_eq!(copied(sp + 8, 10), (vec![1], false));
        // Half a word is none.
        assert_eq!(copied(sp + 12, 10), (vec![1], false));
        for nothing in [sp, sp - 8, 0] {
            assert_eq!(copied(nothing, 10), (vec![], false));
        }
        assert_eq!(copied(sp + 8, 0), (vec![], true));
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads registers with machine code")]
    fn registers_are_those_of_where_they_are_read() {
        let local = 0_u8;
        let here = Registers::here();
        let address = std::ptr::from_ref(std::hint::black_box(&local)) as u64;
        assert!(here.sp.abs_diff(address) < 64 << 10, "{here:x?}, {address:x}");
        assert_eq!(here.sp % WORD, 0);
        let code = registers_are_those_of_where_they_are_read as fn() as usize as u64;
        assert!(here.ip.abs_diff(code) < 64 << 20, "{here:x?}, {code:x}");
    }
}
