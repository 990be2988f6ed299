//! A record that goes from one task to the next while a reader looks: the look tells of one of them.

use std::sync::Arc;
use std::task::Waker;

use super::leaf::Locked;
use super::{Held, World, check_bounded, forsaken};

/// What a task does in its only poll.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    /// Registers a waker that stays until it has ended.
    Registers,
    /// Wakes itself.
    WakesItself,
    /// Nothing: it cannot be woken.
    Forgets,
    /// Returns.
    Returns,
}

impl Task {
    fn poll(self, waker: &Waker, held: &Held) -> bool {
        match self {
            Self::Registers => held.keep(waker),
            Self::WakesItself => waker.wake_by_ref(),
            Self::Forgets | Self::Returns => {}
        }
        self == Self::Returns
    }
}

#[derive(Clone, Copy, PartialEq)]
enum From {
    /// The reader runs from before the first task.
    Start,
    /// It starts after the first task's poll: less to explore.
    FirstPoll,
}

fn reused(first: Task, second: Task, from: From, by_other_thread: bool) {
    let preemptions = match (from, by_other_thread) {
        (From::FirstPoll, _) => 3,
        (From::Start, false) => 2,
        (From::Start, true) => 1,
    };
    check_bounded(preemptions, move || {
        let world = World::<Locked>::new();
        let runtime = world.runtime.waker();
        let held = Held::default();
        let early = (from == From::Start).then(|| world.reader());
        world.begin(1);
        world.poll(&runtime, |waker| first.poll(waker, &held));
        let reader = early.unwrap_or_else(|| world.reader());
        if by_other_thread {
            let (other, waker) = (Arc::clone(&world), held.take());
            let ends = loom::thread::spawn(move || {
                other.end();
                drop(waker);
            });
            ends.join().unwrap();
        } else {
            world.end();
            drop(held.take());
        }
        world.begin(2);
        world.poll(&runtime, |waker| second.poll(waker, &held));
        if let Some(look) = reader.join().unwrap() {
            let may = [first, second][usize::from(look.id == 2)] == Task::Forgets;
            assert!(!look.forsaken || may, "{look:?}");
        }
        assert_eq!(forsaken(world.look().as_ref()), second == Task::Forgets);
        drop(runtime);
        world.end();
        drop(held.take());
        world.assert_quiet(2);
    });
}

macro_rules! models {
    ($($name:ident: $first:ident $second:ident $from:ident $other:literal;)*) => {
        $(#[test]
        fn $name() {
            reused(Task::$first, Task::$second, From::$from, $other);
        })*
    };
}

models! {
    registers_then_registers: Registers Registers Start false;
    wakes_itself_then_registers: WakesItself Registers Start false;
    wakes_itself_twice: WakesItself WakesItself Start false;
    registers_then_forgets: Registers Forgets Start false;
    forgets_then_registers: Forgets Registers Start false;
    forgets_then_wakes_itself: Forgets WakesItself Start false;
    wakes_itself_then_forgets: WakesItself Forgets Start false;
    returns_then_registers: Returns Registers Start false;
    registers_then_registers_through_another_thread: Registers Registers Start true;
    wakes_itself_then_registers_through_another_thread: WakesItself Registers Start true;
    late_registers_then_registers: Registers Registers FirstPoll false;
    late_forgets_then_registers: Forgets Registers FirstPoll false;
    late_wakes_itself_then_forgets: WakesItself Forgets FirstPoll false;
}
