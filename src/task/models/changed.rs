//! A runtime's waker that changes, since the future moves to another task: no wake goes to the old one and is lost.

use std::sync::Arc;

use super::leaf::{AtomicWaker, Leaf, Locked, Oneshot};
use super::{Held, World, check, check_bounded, forsaken};

/// Polled by one runtime, then by another, while a thread sets the leaf. `back`: then by the first again.
fn moved<L: Leaf>(back: bool) {
    check(move || {
        let world = World::<L>::new();
        let (one, two) = (world.runtime.waker(), world.other.waker());
        let poll = |runtime| world.poll(runtime, |waker| world.leaf.poll(waker));
        world.begin(1);
        assert!(!poll(&one));
        if back {
            assert!(!poll(&two));
        }
        let other = Arc::clone(&world);
        let sets = loom::thread::spawn(move || other.leaf.set());
        let (runtime, last) = if back {
            (&world.runtime, &one)
        } else {
            (&world.other, &two)
        };
        let ready = poll(last);
        sets.join().unwrap();
        if !ready {
            assert!(runtime.take(), "the wake went to the former runtime");
            assert!(poll(last));
        }
        drop((one, two));
        world.end();
        world.leaf.clear();
        world.assert_quiet(1);
    });
}

#[test]
fn a_lock_wakes_the_new_runtime() {
    moved::<Locked>(false);
}

#[test]
fn an_atomic_waker_wakes_the_new_runtime() {
    moved::<AtomicWaker>(false);
}

#[test]
fn a_oneshot_wakes_the_new_runtime() {
    moved::<Oneshot>(false);
}

#[test]
fn an_atomic_waker_wakes_the_runtime_to_which_it_went_back() {
    moved::<AtomicWaker>(true);
}

#[test]
fn a_oneshot_wakes_the_runtime_to_which_it_went_back() {
    moved::<Oneshot>(true);
}

/// The owner polls with another runtime's waker while a thread wakes. `stays`: afterwards it registers a waker that
/// stays, and a reader looks on; else it registers none, and is found once it is quiet.
fn moved_then(stays: bool) {
    check_bounded(2, move || {
        let world = World::<Locked>::new();
        let (one, two) = (world.runtime.waker(), world.other.waker());
        let held = Held::default();
        world.begin(1);
        world.poll(&one, |waker| world.leaf.poll(waker));
        let other = Arc::clone(&world);
        let sets = loom::thread::spawn(move || other.leaf.set());
        let reader = stays.then(|| world.reader());
        let mut over = false;
        let mut poll = || {
            world.poll(&two, |waker| {
                if !over && world.leaf.poll(waker) {
                    over = true;
                    if stays {
                        held.keep(waker);
                    }
                }
                false
            });
            over
        };
        let first = poll();
        sets.join().unwrap();
        let woken = world.other.take();
        assert!(first || woken && poll(), "a wake was lost");
        if first && woken {
            poll();
        }
        if let Some(reader) = reader {
            let look = reader.join().unwrap();
            assert!(!forsaken(look.as_ref()), "{look:?}");
        }
        let look = world.look();
        assert_eq!(forsaken(look.as_ref()), !stays, "{look:?}");
        drop((one, two));
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

#[test]
fn a_task_that_moves_never_looks_forsaken() {
    moved_then(true);
}

#[test]
fn a_task_that_moves_and_forgets_is_found() {
    moved_then(false);
}

/// A bare record gets its `Extra` while a waker may already be on its way to it.
#[test]
fn two_wakes_meet_a_change() {
    check(|| {
        let world = World::<Locked>::new();
        let (one, two) = (world.runtime.waker(), world.other.waker());
        let (a, b) = (Held::default(), Held::default());
        world.begin(1);
        world.poll(&one, |waker| {
            a.keep(waker);
            b.keep(waker);
            false
        });
        let threads = [a, b].map(|held| {
            let waker = held.take().unwrap();
            loom::thread::spawn(move || waker.wake())
        });
        world.poll(&two, |_| false);
        for thread in threads {
            thread.join().unwrap();
        }
        let look = world.look().unwrap();
        assert!(look.forsaken || world.other.take(), "a wake was lost: {look:?}");
        drop((one, two));
        world.end();
        world.assert_quiet(1);
    });
}
