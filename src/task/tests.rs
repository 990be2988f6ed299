//! The whole of the write side at work, small enough for Miri, which finds what a weak memory lets happen and no
//! processor of ours does.
//!
//! Run it with `cargo +nightly miri test --lib task::tests`. Under Miri a toy executor stands in for tokio's, whose
//! multi-thread runtime takes too long there.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::kind::KindId;
use super::record::Record;
use super::{Outcome, Track, exit, extra, local, slab, waker};

/// Tasks that each thread of a test runs.
const TASKS: usize = if cfg!(miri) { 12 } else { 2_000 };

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor with one queue, run by whoever asks it to.
#[derive(Default)]
struct Toy {
    queue: Mutex<VecDeque<Arc<Task>>>,
}

struct Task {
    toy: Arc<Toy>,
    future: Mutex<Option<Boxed>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let toy = Arc::clone(&self.toy);
        toy.queue().push_back(self);
    }
}

impl Toy {
    /// Tests that let its wakers pass for tokio's run one at a time, and only under Miri, where no other does.
    fn new() -> Arc<Self> {
        let toy = Arc::new(Self::default());
        if cfg!(miri) {
            waker::learn_tokio(&Waker::from(toy.task(Box::pin(async {}))));
        }
        toy
    }

    fn task(self: &Arc<Self>, future: Boxed) -> Arc<Task> {
        Arc::new(Task {
            toy: Arc::clone(self),
            future: Mutex::new(Some(future)),
        })
    }

    fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        self.task(Box::pin(future)).wake();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Task>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls until nothing is woken; a panic ends its task, as in tokio.
    fn run(&self) {
        loop {
            let Some(task) = self.queue().pop_front() else {
                return;
            };
            let waker = Waker::from(Arc::clone(&task));
            let mut future = task.future.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = &mut *future else { continue };
            let mut context = Context::from_waker(&waker);
            let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut context)));
            if !matches!(polled, Ok(Poll::Pending)) {
                let _ = catch_unwind(AssertUnwindSafe(|| *future = None));
                *future = None;
            }
        }
    }
}

/// Walks all records, as a sweep does, until it is told to stop.
fn read_until(stop: &AtomicBool) -> usize {
    let mut looks = 0;
    while !stop.load(SeqCst) {
        for slab in 0..slab::slabs() {
            for record in slab::records(slab) {
                let Some(look) = record.look() else { continue };
                assert!(look.site.is_some());
                let _ = record.pin(look.id, |extra| extra.facts.name.clone());
                looks += 1;
            }
        }
        extra::sweep_unlinked();
        std::thread::yield_now();
    }
    looks
}

/// Runs `f` while a reader walks.
fn while_read(f: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_until(&stop));
        let done = catch_unwind(AssertUnwindSafe(f));
        stop.store(true, SeqCst);
        reader.join().unwrap();
        done.unwrap_or_else(|payload| resume_unwind(payload));
    });
    extra::sweep_unlinked();
}

/// What was counted for a kind: spawned, and finished by outcome.
fn counts(kind: KindId) -> (u64, [u64; 4]) {
    let totals = local::totals();
    let totals = &totals[usize::from(kind.index())];
    (totals.spawned, totals.finished)
}

/// A flag that wakes whoever waits for it; set by another thread.
#[derive(Default)]
struct Flag(Mutex<(bool, Option<Waker>)>);

impl Flag {
    fn set(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

#[test]
fn tasks_are_woken_by_other_threads_while_a_reader_walks() {
    let kind = KindId::named("tasks-tests-woken");
    let toy = Toy::new();
    let ended = Arc::new(AtomicUsize::new(0));
    while_read(|| {
        for task in 0..TASKS {
            let flag = Arc::new(Flag::default());
            let (waits, done) = (Arc::clone(&flag), Arc::clone(&ended));
            let future = async move {
                std::future::poll_fn(|cx| waits.poll(cx)).await;
                done.fetch_add(1, SeqCst);
            };
            if task % 2 == 0 {
                toy.spawn(future.tracked(kind).root());
            } else {
                toy.spawn(super::Builder::new(kind).name("a name").track(future));
            }
            let setter = std::thread::spawn(move || flag.set());
            toy.run();
            setter.join().unwrap();
            toy.run();
        }
    });
    assert_eq!(ended.load(SeqCst), TASKS);
    let tasks = u64::try_from(TASKS).unwrap();
    assert_eq!(counts(kind), (tasks, [tasks, 0, 0, 0]));
}

#[test]
fn a_future_moves_to_another_task_while_it_is_woken() {
    let kind = KindId::named("tasks-tests-moved");
    for _ in 0..TASKS {
        let toy = Toy::new();
        let [one, two] = [(), ()].map(|()| toy.task(Box::pin(async {})));
        let flag = Arc::new(Flag::default());
        let waits = Arc::clone(&flag);
        let mut future =
            Box::pin(async move { std::future::poll_fn(|cx| waits.poll(cx)).await }.tracked(kind));
        let mut poll = |task: &Arc<Task>| {
            let waker = Waker::from(Arc::clone(task));
            future.as_mut().poll(&mut Context::from_waker(&waker))
        };
        assert!(poll(&one).is_pending());
        let setter = std::thread::spawn(move || flag.set());
        let polled = poll(&two);
        setter.join().unwrap();
        if polled.is_pending() {
            assert!(toy.queue().iter().any(|task| Arc::ptr_eq(task, &two)), "lost");
            assert!(poll(&two).is_ready());
        }
        drop(future);
        toy.queue().clear();
        // No waker outlives the future: the executor's tasks are ours alone again.
        assert_eq!([&one, &two].map(Arc::strong_count), [1, 1]);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("a bomb"));
    }
}

#[test]
fn panics_leave_nothing_behind() {
    let kind = KindId::named("tasks-tests-panics");
    let toy = Toy::new();
    let panics = || resume_unwind(Box::new("in a poll"));
    while_read(|| {
        for _ in 0..TASKS {
            toy.spawn(async move { panics() }.tracked(kind));
            // The second panic, of its destructor, is not told.
            let bomb = BombOnce;
            toy.spawn(
                async move {
                    let _bomb = bomb;
                    panics();
                }
                .tracked(kind),
            );
            toy.run();
            // Dropped before it is polled, and after it has returned.
            let bomb = Bomb;
            let never = async move { drop(bomb) }.tracked(kind);
            catch_unwind(AssertUnwindSafe(|| drop(never))).unwrap_err();
            let mut returns = Box::pin(ReadyWithBomb { _bomb: Bomb }.tracked(kind));
            let mut context = Context::from_waker(Waker::noop());
            catch_unwind(AssertUnwindSafe(|| {
                returns.as_mut().poll(&mut context).is_ready()
            }))
            .unwrap_err();
            drop(returns);
            assert!(local::current_record().is_null());
        }
    });
    let tasks = u64::try_from(TASKS).unwrap();
    assert_eq!(counts(kind), (4 * tasks, [0, 0, 3 * tasks, tasks]));
}

/// Panics when it is dropped, unless a panic is on its way already, which would end the process.
struct BombOnce;

impl Drop for BombOnce {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new("a bomb"));
        }
    }
}

/// Returns at once, and panics when it is dropped.
struct ReadyWithBomb {
    _bomb: Bomb,
}

impl Future for ReadyWithBomb {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn threads_end_with_their_counts_and_records() {
    let kind = KindId::named("tasks-tests-threads");
    while_read(|| {
        let threads = (0..3).map(|_| {
            std::thread::spawn(move || {
                // More than a magazine holds, ended by another thread.
                let tasks: Vec<_> = (0..200).map(|_| Box::pin(async {}.tracked(kind))).collect();
                std::thread::spawn(move || drop(tasks)).join().unwrap();
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.join().unwrap();
        }
    });
    assert_eq!(counts(kind), (600, [0, 0, 0, 600]));
}

#[test]
fn a_host_ends_tasks_while_its_thread_is_torn_down() {
    struct Late(RefCell<Vec<Boxed>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let kind = KindId::named("tasks-tests-torn-down");
            if let Some(task) = self.0.get_mut().first_mut() {
                assert!(
                    task.as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
            }
            drop(std::future::ready(()).tracked(kind));
        }
    }
    thread_local! {
        static LATE: Late = const { Late(RefCell::new(Vec::new())) };
    }
    let kind = KindId::named("tasks-tests-torn-down");
    std::thread::spawn(move || {
        // The host's local first, so that it goes last.
        LATE.with(|late| {
            let tasks = (0..3).map(|_| -> Boxed { Box::pin(std::future::pending().tracked(kind)) });
            *late.0.borrow_mut() = tasks.collect();
        });
    })
    .join()
    .unwrap();
    assert_eq!(counts(kind), (4, [0, 0, 0, 4]));
}

#[test]
fn forgotten_clones_never_give_a_record_back() {
    let kind = KindId::named("tasks-tests-forgotten");
    for forgotten in [1, (1 << 30) - 2, 1 << 30, (1 << 30) + 1, (1 << 31) - 5] {
        let task = std::future::pending::<()>().tracked(kind);
        let id = task.id().unwrap().get();
        let record = find(id).unwrap();
        record.forget_clones(forgotten);
        for _ in 0..3 {
            record.clone_waker();
        }
        for _ in 0..3 {
            assert!(!record.release());
        }
        drop(task);
        assert!(record.holders() > 0);
        // Ended, so that no reader sees it; and never another task's.
        assert!(record.look().is_none());
        assert_eq!(record.id(), id);
    }
}

fn find(id: u64) -> Option<&'static Record> {
    (0..slab::slabs())
        .flat_map(slab::records)
        .find(|record| record.look().is_some_and(|look| look.id == id))
}

/// Run alone, in a process of its own, by the test below.
#[test]
#[ignore = "counts all exits of its process"]
fn exits_alone() {
    exit::want(true);
    let kind = KindId::named("tasks-tests-exits");
    let tasks = 4 * exit::RING;
    let threads = (0..3).map(|_| {
        std::thread::spawn(move || {
            for _ in 0..tasks {
                drop(async {}.tracked(kind));
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut drained = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        exit::drain(|exit| {
            assert_eq!((exit.kind, exit.outcome), (kind.index(), Outcome::Cancelled));
            drained += 1;
        });
    }
    for thread in threads {
        thread.join().unwrap();
    }
    exit::drain(|_| drained += 1);
    assert_eq!(drained + exit::dropped(), 3 * u64::try_from(tasks).unwrap());
    exit::want(false);
    drop(async {}.tracked(kind));
    exit::drain(|_| panic!("nobody wanted it"));
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn exits_are_drained_or_counted_as_dropped() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "task::tests::exits_alone", "--ignored"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn tokio_runs_them() {
    let kind = KindId::named("tasks-tests-tokio");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        if cfg!(miri) {
            // The toy's may be known.
            let learns = std::future::poll_fn(|cx| {
                waker::learn_tokio(cx.waker());
                Poll::Ready(())
            });
            tokio::runtime::Handle::current().spawn(learns).await.unwrap();
        }
        let (sends, receives) = tokio::sync::oneshot::channel();
        let receiver = super::spawn(kind, receives);
        let sender = super::spawn(kind, async move { sends.send(42).is_ok() });
        assert!(sender.await.unwrap());
        assert_eq!(receiver.await.unwrap(), Ok(42));
        let aborted = super::spawn(kind, std::future::pending::<()>());
        tokio::task::yield_now().await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        let panics = super::spawn(kind, async { resume_unwind(Box::new("told")) });
        assert!(panics.await.unwrap_err().is_panic());
    });
    drop(runtime);
    assert_eq!(counts(kind), (4, [2, 0, 1, 1]));
}

/// Asked all the time while other threads wake them, and while they end.
#[cfg(feature = "profile")]
#[test]
fn tasks_are_asked_while_they_are_woken_and_end() {
    use super::probe::{Asking, Held, Refusal, Said, Tape, refusal};

    let kind = KindId::named("tasks-tests-asked");
    let toy = Toy::new();
    let mut answered = 0;
    for task in 0..TASKS {
        let flag = Arc::new(Flag::default());
        let waits = Arc::clone(&flag);
        let future = async move { std::future::poll_fn(|cx| waits.poll(cx)).await };
        let future = future.tracked(kind).root();
        let id = future.id().unwrap().get();
        toy.spawn(future);
        toy.run();
        let record = find(id).unwrap();
        let look = record.look().unwrap();
        if !cfg!(miri) {
            // The toy's waker is not tokio's.
            assert_eq!(refusal(&look), Some(Refusal::PassesThrough));
            flag.set();
            toy.run();
            continue;
        }
        let setter = std::thread::spawn(move || flag.set());
        let held = Held::of(record, &look);
        assert!(Held::of(record, &look).is_none(), "somebody has it");
        let asking = Asking::begin(vec![held.unwrap()], Tape::new()).unwrap();
        if task % 2 == 0 {
            toy.run();
        }
        let (answers, tape) = asking.finish();
        let captured = tape.stacks().count();
        match answers[0].said {
            Said::Waits { .. } => assert_eq!(captured, 1),
            Said::Nothing | Said::Ended { .. } => assert_eq!(captured, 0),
            Said::Runs => panic!("nobody polls it"),
        }
        answered += u32::from(answers[0].said != Said::Nothing);
        drop(answers);
        setter.join().unwrap();
        toy.run();
        assert!(record.look().is_none_or(|look| look.id != id), "it has ended");
    }
    assert_eq!(answered > 0, cfg!(miri));
    let tasks = u64::try_from(TASKS).unwrap();
    assert_eq!(counts(kind), (tasks, [tasks, 0, 0, 0]));
}
