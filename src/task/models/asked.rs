//! A task that is asked where it waits while it is woken, moves, ends, or its record becomes the next task's.
//!
//! Who asks holds the record meanwhile, which shows in no count of wakers; and the poll that answers heals no verdict.

use std::ptr::NonNull;
use std::sync::Arc;

use loom::thread::JoinHandle;

use super::leaf::{Leaf, Locked, Oneshot};
use super::{GIVEN, Held, World, check, check_bounded, forsaken};
use crate::task::waker;

impl<L: Leaf> World<L> {
    /// Asks the task `id`, as `probe::Held` and `probe::Asking` do; says whether it could be asked.
    fn ask(&self, id: u64) -> bool {
        if !self.record.hold() {
            return false;
        }
        let asks = self.record.id() == id && self.record.was_polled();
        if asks {
            assert!(!self.record.kept().is_none(), "no waker is kept");
            waker::ask(&self.record);
        }
        self.record.unask();
        self.let_go();
        asks
    }

    fn let_go(&self) {
        if self.record.unhold() {
            waker::give_back(NonNull::from(&self.record));
        }
    }

    /// Asks on another thread, and leaves the question there.
    fn asker(self: &Arc<Self>, id: u64) -> JoinHandle<bool> {
        let world = Arc::clone(self);
        loom::thread::spawn(move || {
            let held = world.record.hold();
            let asks = held && world.record.id() == id && world.record.was_polled();
            if asks {
                waker::ask(&world.record);
            }
            if held {
                world.let_go();
            }
            asks
        })
    }
}

#[test]
fn the_first_poll_meets_a_question() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        world.begin(1);
        let asker = world.asker(1);
        world.poll(&runtime, |waker| world.leaf.poll(waker));
        if asker.join().unwrap() {
            assert!(world.runtime.take(), "who asks wakes");
        }
        assert_eq!(world.record.holders(), 2);
        drop(runtime);
        world.end();
        world.leaf.clear();
        world.assert_quiet(1);
    });
}

/// A leaf is set while its task is asked: the wake is not lost, whoever of the two is first.
fn woken_while_asked<L: Leaf>() {
    check_bounded(2, || {
        let world = World::<L>::new();
        let runtime = world.runtime.waker();
        let poll = || world.poll(&runtime, |waker| world.leaf.poll(waker));
        world.begin(1);
        assert!(!poll());
        let other = Arc::clone(&world);
        let sets = loom::thread::spawn(move || other.leaf.set());
        let asker = world.asker(1);
        let mut ready = world.runtime.take() && poll();
        asker.join().unwrap();
        sets.join().unwrap();
        while !ready {
            assert!(world.runtime.take(), "a wake was lost");
            ready = poll();
        }
        drop(runtime);
        world.end();
        world.leaf.clear();
        world.assert_quiet(1);
    });
}

#[test]
fn a_lock_is_set_while_its_task_is_asked() {
    woken_while_asked::<Locked>();
}

#[test]
fn a_oneshot_is_set_while_its_task_is_asked() {
    woken_while_asked::<Oneshot>();
}

/// A question of which the runtime heard is in the record when it polls.
#[test]
fn a_question_is_found_by_the_poll_that_it_asked_for() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let mut probes = 0;
        let poll = || world.poll(&runtime, |waker| world.leaf.poll(waker));
        world.begin(1);
        poll();
        let asker = world.asker(1);
        for _ in 0..2 {
            if world.runtime.take() {
                poll();
                probes = world.look().unwrap().probes;
            }
        }
        assert!(asker.join().unwrap());
        if world.runtime.take() {
            poll();
            probes = world.look().unwrap().probes;
        }
        assert_eq!(probes, 1);
        assert_eq!(world.look().unwrap().polls, 1, "no poll of the host's");
        drop(runtime);
        world.end();
        world.leaf.clear();
        world.assert_quiet(1);
    });
}

/// The task moves to another runtime: the question goes to the one or the other, and to no waker that is gone.
#[test]
fn a_task_moves_while_it_is_asked() {
    check(|| {
        let world = World::<Locked>::new();
        let (one, two) = (world.runtime.waker(), world.other.waker());
        world.begin(1);
        world.poll(&one, |waker| world.leaf.poll(waker));
        let asker = world.asker(1);
        world.poll(&two, |waker| world.leaf.poll(waker));
        assert!(asker.join().unwrap());
        let (old, new) = (world.runtime.take(), world.other.take());
        assert!(old || new);
        drop((one, two));
        world.end();
        world.leaf.clear();
        world.assert_quiet(1);
    });
}

/// The task ends, and its record becomes the next one's, while it is asked.
fn reused(waker_outlives: bool) {
    check_bounded(2, move || {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        world.poll(&runtime, |waker| {
            if waker_outlives {
                held.keep(waker);
            }
            false
        });
        let other = Arc::clone(&world);
        let asker = loom::thread::spawn(move || other.ask(1));
        world.end();
        drop(held.take());
        // While it is held, it is nobody else's.
        if GIVEN.get() == 1 {
            world.begin(2);
            world.poll(&runtime, |waker| {
                held.keep(waker);
                false
            });
            asker.join().unwrap();
            let look = world.look().unwrap();
            assert_eq!((look.id, look.wakers, look.probes), (2, 1, 0));
            world.end();
            drop(held.take());
        } else {
            asker.join().unwrap();
        }
        let tasks = GIVEN.get();
        drop(runtime);
        world.assert_quiet(tasks);
    });
}

#[test]
fn a_record_is_reused_while_its_task_is_asked() {
    reused(false);
}

#[test]
fn a_record_is_reused_after_its_waker_while_its_task_is_asked() {
    reused(true);
}

/// The last waker is dropped by another thread while the task has ended and is held: one of the two gives it back.
#[test]
fn a_waker_goes_last_while_its_task_is_asked() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        world.begin(1);
        world.poll(&runtime, |waker| world.leaf.poll(waker));
        let other = Arc::clone(&world);
        let drops = loom::thread::spawn(move || other.leaf.clear());
        let other = Arc::clone(&world);
        let asker = loom::thread::spawn(move || other.ask(1));
        world.end();
        drops.join().unwrap();
        asker.join().unwrap();
        drop(runtime);
        world.assert_quiet(1);
    });
}

/// A poll that answers exchanges the waker, at which moment the task has none: no look takes it for forsaken.
#[test]
fn a_task_that_answers_never_looks_forsaken() {
    check_bounded(2, || {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        world.begin(1);
        world.poll(&runtime, |waker| {
            held.keep(waker);
            false
        });
        assert!(world.record.hold());
        waker::ask(&world.record);
        let reader = world.reader();
        assert!(world.runtime.take());
        world.poll(&runtime, |waker| {
            drop(held.take());
            held.keep(waker);
            false
        });
        world.let_go();
        let look = reader.join().unwrap();
        assert!(!forsaken(look.as_ref()), "{look:?}");
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(1);
    });
}

/// A task that nothing can wake looks so while it is asked, and after it has answered.
#[test]
fn a_task_that_is_forsaken_stays_so_while_it_is_asked() {
    check(|| {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        world.begin(1);
        world.poll(&runtime, |_| false);
        let asker = world.asker(1);
        let look = world.look().unwrap();
        assert!(look.forsaken && look.polls == 1, "{look:?}");
        assert!(asker.join().unwrap());
        assert!(world.runtime.take());
        world.poll(&runtime, |_| false);
        let look = world.look().unwrap();
        assert!(look.forsaken && look.polls == 1 && look.probes == 1, "{look:?}");
        drop(runtime);
        world.end();
        world.assert_quiet(1);
    });
}
