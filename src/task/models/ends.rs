//! A task that ends while others hold wakers of it: the last to let go gives the record back, once.

use std::task::Waker;

use super::leaf::Locked;
use super::{Held, World, check, forsaken};

/// The task ends while `each` has a waker in a thread of its own. `moves`: the runtime's waker had changed.
fn outlived(each: &'static [fn(Waker)], moves: bool) {
    check(move || {
        let world = World::<Locked>::new();
        let (runtime, other) = (world.runtime.waker(), world.other.waker());
        let held = Held::default();
        world.begin(1);
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        if moves {
            world.poll(&other, |_| false);
        }
        drop((runtime, other));
        let first = held.take().unwrap();
        let wakers: Vec<_> = each.iter().skip(1).map(|_| first.clone()).collect();
        let wakers = std::iter::once(first).chain(wakers);
        let threads: Vec<_> = (each.iter().zip(wakers))
            .map(|(f, waker)| loom::thread::spawn(move || f(waker)))
            .collect();
        world.end();
        for thread in threads {
            thread.join().unwrap();
        }
        world.assert_quiet(1);
    });
}

fn wake_by_ref_and_clone(waker: Waker) {
    waker.wake_by_ref();
    drop(waker.clone());
}

#[test]
fn a_waker_is_dropped_after_the_end() {
    outlived(&[drop], false);
}

#[test]
fn a_waker_wakes_after_the_end() {
    outlived(&[Waker::wake], false);
}

#[test]
fn a_waker_wakes_and_is_cloned_after_the_end() {
    outlived(&[wake_by_ref_and_clone], false);
}

#[test]
fn two_wakers_wake_after_the_end() {
    outlived(&[Waker::wake, Waker::wake], false);
}

#[test]
fn a_waker_wakes_another_runtime_after_the_end() {
    outlived(&[Waker::wake], true);
}

#[test]
fn a_waker_wakes_another_runtime_and_is_cloned_after_the_end() {
    outlived(&[wake_by_ref_and_clone], true);
}

#[test]
fn a_task_is_aborted_while_a_reader_looks() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        let reader = world.reader();
        world.end();
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        drop((runtime, held.take()));
        world.assert_quiet(1);
    });
}
