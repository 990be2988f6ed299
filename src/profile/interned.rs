//! Stacks as they are shown, each once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::stack::copy::Registers;
use crate::stack::{End, Frame, Symbols, Unwinder};

/// Where a task waits, in one of its branches: from the leaf to the task's own future.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stack {
    /// The innermost first. What runs every task, and what only hands a poll on, is left out.
    pub(crate) frames: Vec<Frame>,
    /// Whether outer frames are missing.
    pub cut: bool,
}

impl Stack {
    /// The names of the functions, the innermost first.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.frames.iter().map(|frame| &*frame.function)
    }

    /// Whether the two say the same, wherever their frames are.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        let said = |frame: &Frame| (Arc::clone(&frame.function), frame.line);
        self.cut == other.cut && self.frames.iter().map(said).eq(other.frames.iter().map(said))
    }
}

/// Names stacks, and keeps one of each for the length of a dump: a hundred thousand tasks share a few.
#[derive(Debug, Default)]
pub(super) struct Interned {
    stacks: HashMap<(Box<[u64]>, bool), Arc<Stack>>,
    frames: usize,
    /// Reused.
    addresses: Vec<u64>,
}

impl Interned {
    /// The stack of one clone.
    pub(super) fn stack(
        &mut self,
        tools: (&mut Unwinder, &mut Symbols),
        registers: &Registers,
        words: &[u64],
        cut: bool,
    ) -> Arc<Stack> {
        let (unwinder, symbols) = tools;
        self.addresses.clear();
        let end = unwinder.unwind(registers, words, cut, &mut self.addresses);
        let cut = end != End::Whole;
        // The first is the waker's, and the last, where it is there, the wrapper's.
        let mut addresses = self.addresses.get(1..).unwrap_or_default();
        if let ([inner @ .., _], false) = (addresses, cut) {
            addresses = inner;
        }
        if let Some(stack) = self.stacks.get(&(addresses.into(), cut)) {
            return Arc::clone(stack);
        }
        let full = self.frames >= MOST_FRAMES;
        if full {
            addresses = addresses.get(..FEW).unwrap_or(addresses);
        }
        let modules = unwinder.modules();
        let named: Vec<Frame> = (addresses.iter())
            .flat_map(|&address| symbols.resolve(modules, address).to_vec())
            .collect();
        let mut frames: Vec<Frame> = named
            .iter()
            .filter(|frame| !is_plumbing(&frame.function))
            .cloned()
            .collect();
        if frames.is_empty() {
            frames = named; // better than nothing
        }
        let stack = Arc::new(Stack {
            frames,
            cut: cut || full,
        });
        if !full {
            self.frames += stack.frames.len();
            self.stacks.insert((addresses.into(), cut), Arc::clone(&stack));
        }
        stack
    }
}

/// Frames of different stacks, in all. From then on, stacks are cut to [`FEW`].
const MOST_FRAMES: usize = 200_000;
const FEW: usize = 8;

/// Whether a function says nothing of where a task waits: it is the runtime's, ours, or hands a poll on.
fn is_plumbing(function: &str) -> bool {
    let path = function
        .trim_start_matches(['<', '&', '('])
        .trim_start_matches("mut ");
    let of = |prefix: &&str| path.starts_with(prefix);
    if JOIN.iter().any(of) {
        return false;
    }
    // A parameter's own name, as in `<F as Future>`, has no path.
    let named = path.split([' ', '>', ',']).next().unwrap_or_default();
    PLUMBING.iter().any(of) || (function.starts_with('<') && !named.contains("::"))
}

/// Of those below, what a task waits for.
const JOIN: &[&str] = &["tokio::runtime::task::join::", "lifespan::task::join_set::"];

const PLUMBING: &[&str] = &[
    "__rust_try",
    "alloc::",
    "core::",
    "lifespan::task::",
    "std::",
    "tokio::future::",
    "tokio::loom::",
    "tokio::runtime::",
    "tokio::sync::task::",
    "tokio::task::coop",
    "tokio::util::",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plumbing_is_told_from_what_a_task_waits_for() {
        let shown = [
            "orders::serve::{{closure}}",
            "<orders::Leaf as core::future::future::Future>::poll",
            "<tokio::runtime::task::join::JoinHandle<T> as core::future::future::Future>::poll",
            "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
            "tokio::sync::mpsc::chan::Rx<T,S>::recv",
            "orders+0x1234",
        ];
        for function in shown {
            assert!(!is_plumbing(function), "{function}");
        }
        let hidden = [
            "<core::pin::Pin<P> as core::future::future::Future>::poll",
            "<&mut F as core::future::future::Future>::poll",
            "<F as futures_core::future::TryFuture>::try_poll",
            "<alloc::boxed::Box<F,A> as core::future::future::Future>::poll",
            "lifespan::task::instrument::Tracked<F,C>::poll_asked",
            "std::panicking::catch_unwind",
            "tokio::runtime::time::entry::TimerEntry::poll_elapsed",
            "tokio::sync::task::atomic_waker::AtomicWaker::do_register::{{closure}}",
        ];
        for function in hidden {
            assert!(is_plumbing(function), "{function}");
        }
    }
}
