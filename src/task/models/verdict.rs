//! What a reader sees of a task that is woken, polled and left without a waker meanwhile.
//!
//! A task that something can still wake never looks forsaken; one that nothing can wake looks so once it is quiet.

use std::sync::Arc;

use super::leaf::{Leaf, Locked};
use super::{Held, World, check, forsaken};

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// By value.
    Wake,
    /// By reference; the waker is dropped afterwards.
    WakeByRef,
}

/// Another thread wakes the task, which is polled as soon as the runtime hears of it and then registers a waker
/// that stays. `early`: both other threads run from before the first poll.
fn woken(how: How, early: bool) {
    check(move || {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        let start = |world: &Arc<World>| {
            let other = Arc::clone(world);
            let waker = loom::thread::spawn(move || match other.leaf.take() {
                Some(waker) if how == How::WakeByRef => waker.wake_by_ref(),
                Some(waker) => waker.wake(),
                None => {}
            });
            (waker, world.reader())
        };
        let mut done = false;
        let mut poll = |world: &World| {
            world.poll(&runtime, |waker| {
                if !done {
                    done = world.leaf.poll(waker);
                }
                if done {
                    held.keep(waker);
                }
                false
            });
            done
        };
        world.begin(1);
        let threads = early.then(|| start(&world));
        let mut waits = poll(&world);
        let (waker, reader) = threads.unwrap_or_else(|| start(&world));
        if !waits && world.runtime.take() {
            waits = poll(&world);
        }
        waker.join().unwrap();
        if !waits && world.runtime.take() {
            waits = poll(&world);
        }
        assert!(waits, "a wake was lost");
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        assert!(!forsaken(world.look().as_ref()));
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

#[test]
fn a_task_that_is_woken_never_looks_forsaken() {
    woken(How::Wake, false);
}

#[test]
fn a_task_that_is_woken_early_never_looks_forsaken() {
    woken(How::Wake, true);
}

#[test]
fn a_task_that_is_woken_by_reference_never_looks_forsaken() {
    woken(How::WakeByRef, false);
}

#[test]
fn a_task_that_is_woken_early_by_reference_never_looks_forsaken() {
    woken(How::WakeByRef, true);
}

#[test]
fn a_task_that_wakes_itself_never_looks_forsaken() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        let reader = world.reader();
        world.poll(&runtime, |waker| {
            waker.wake_by_ref();
            false
        });
        assert!(world.runtime.take());
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

#[test]
fn a_task_that_registers_never_looks_forsaken() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        let reader = world.reader();
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

#[test]
fn of_two_wakers_one_wakes_and_one_is_dropped() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let (one, two) = (Held::default(), Held::default());
        world.begin(1);
        world.poll(&runtime, |waker| {
            one.keep(waker);
            two.keep(waker);
            false
        });
        let (one, two) = (one.take().unwrap(), two.take().unwrap());
        let wakes = loom::thread::spawn(move || one.wake());
        let drops = loom::thread::spawn(move || drop(two));
        let look = world.look();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        wakes.join().unwrap();
        drops.join().unwrap();
        assert!(world.runtime.take(), "a wake was lost");
        assert!(!forsaken(world.look().as_ref()));
        world.poll(&runtime, |_| false);
        assert!(forsaken(world.look().as_ref()), "nothing can wake it");
        drop(runtime);
        world.end();
        world.assert_quiet(1);
    });
}

/// The last waker goes, and what the task does then registers nothing.
fn forsaken_once_quiet(wakes: bool) {
    check(move || {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        world.begin(1);
        world.poll(&runtime, |waker| world.leaf.poll(waker));
        let other = Arc::clone(&world);
        let waker = loom::thread::spawn(move || {
            let waker = other.leaf.take().unwrap();
            if wakes {
                waker.wake();
            }
        });
        let reader = world.reader();
        let mut polls = 1;
        if wakes && world.runtime.take() {
            world.poll(&runtime, |_| false);
            polls += 1;
        }
        waker.join().unwrap();
        if wakes && world.runtime.take() {
            world.poll(&runtime, |_| false);
            polls += 1;
        }
        assert_eq!(polls, if wakes { 2 } else { 1 }, "a wake was lost");
        if let Some(look) = reader.join().unwrap() {
            assert!(!look.forsaken || look.polls == polls, "{look:?}");
        }
        let look = world.look().unwrap();
        assert!(look.forsaken && look.polls == polls, "{look:?}");
        drop(runtime);
        world.end();
        world.assert_quiet(1);
    });
}

#[test]
fn the_last_waker_is_dropped() {
    forsaken_once_quiet(false);
}

#[test]
fn the_last_waker_wakes_for_nothing() {
    forsaken_once_quiet(true);
}

#[test]
fn a_leaf_exchanges_its_waker_while_polled() {
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
        world.poll(&runtime, |waker| {
            drop(held.take());
            held.keep(waker);
            false
        });
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

/// Its owner polls it unasked, and that poll registers anew: the look may show the moment before, in which nothing
/// could wake it, and never the one after.
#[test]
fn the_last_waker_is_dropped_while_it_is_polled() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        let former = held.take().unwrap();
        let drops = loom::thread::spawn(move || drop(former));
        let reader = world.reader();
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        drops.join().unwrap();
        if let Some(look) = reader.join().unwrap() {
            assert!(!look.forsaken || look.polls == 1, "{look:?}");
        }
        assert!(!forsaken(world.look().as_ref()));
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}
