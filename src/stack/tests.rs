//! Copies of real stacks, unwound and named.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
#![expect(unsafe_code, reason = "stacks are copied")]

use super::copy::{Registers, copy};
use super::frame::{End, Frame};
use super::symbol::Symbols;
use super::unwind::Unwinder;
use std::hint::black_box;
use std::mem::MaybeUninit;

/// A copy of a stack, as a probe would take it.
struct Taken {
    registers: Registers,
    words: Vec<u64>,
    cut: bool,
}

/// Copies the stack from here to `top`.
#[inline(never)]
fn take(top: u64, capacity: usize) -> Taken {
    let registers = Registers::here();
    let mut tape = vec![MaybeUninit::uninit(); capacity];
    // SAFETY: callers give the `sp` of a function that is still running.
    let copied = unsafe { copy(&registers, top, &mut tape) };
    tape.truncate(copied.words);
    // SAFETY: so many words were written.
    let words = tape.iter().map(|word| unsafe { word.assume_init() }).collect();
    Taken {
        registers,
        words,
        cut: copied.cut,
    }
}

/// Unwinds and names it.
fn named(taken: &Taken) -> (Vec<Frame>, End) {
    let (mut unwinder, mut symbols) = (Unwinder::new(), Symbols::new());
    unwinder.refresh().unwrap();
    let mut addresses = Vec::new();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    let frames = addresses
        .iter()
        .flat_map(|&address| symbols.resolve(unwinder.modules(), address).to_vec())
        .collect();
    (frames, end)
}

#[inline(never)]
fn recurse(depth: usize, top: u64, capacity: usize) -> Taken {
    let taken = if depth == 0 {
        take(top, capacity)
    } else {
        recurse(depth - 1, top, capacity)
    };
    // Not a tail call.
    black_box(depth);
    taken
}

fn count(frames: &[Frame], function: &str) -> usize {
    frames
        .iter()
        .filter(|frame| frame.function.ends_with(function))
        .count()
}

#[test]
fn a_recursion_is_unwound_and_named() {
    let top = Registers::here().sp;
    let taken = recurse(49, top, 16 << 10);
    assert!(!taken.cut);
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Whole, "{frames:#?}");
    assert_eq!(count(&frames, "stack::tests::recurse"), 50, "{frames:#?}");
    assert_eq!(count(&frames, "stack::tests::take"), 1, "{frames:#?}");
    // The function of `top` is the last one.
    let last = frames.last().unwrap();
    assert!(
        last.function.ends_with("a_recursion_is_unwound_and_named"),
        "{last:?}"
    );
    assert!(
        last.file.as_ref().unwrap().ends_with("src/stack/tests.rs"),
        "{last:?}"
    );
    assert!(last.line.is_some(), "{last:?}");
}
