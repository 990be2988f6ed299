//! The wrapper changes nothing but what is known: random programs have the same results, at the same virtual times,
//! with and without it; and nothing of the runtime outlives what it would outlive without.

use std::pin::Pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use futures::future::{self, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::Track;
use proptest::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// What a task does.
#[derive(Clone, Debug)]
enum Step {
    Yield(u8),
    Sleep(u8),
    Send(u8),
    Receive,
    Notify,
    Notified,
    Permit(u8),
    Lock(u8),
    Tell(u8),
    Changed,
    Shout(u8),
    Hear,
    Then(Vec<Self>),
    Select(Box<Self>, Box<Self>),
    Join(Box<Self>, Box<Self>),
    JoinAll(Vec<Self>),
    Unordered(Vec<Self>),
    Shared(Box<Self>),
    /// As a future of its own, in the same task.
    Nested(Box<Self>),
    Spawn(Box<Self>),
    /// Spawned, and told of through a `oneshot`.
    Ask(Box<Self>),
    /// Spawned, and aborted after so long.
    Abort(u8, Box<Self>),
    Panics(Box<Self>),
    /// The first poll in one task, the others in another.
    Moved(Box<Self>),
}

fn steps() -> impl Strategy<Value = Step> {
    let time = 0u8..20;
    let leaf = prop_oneof![
        (0u8..3).prop_map(Step::Yield),
        time.clone().prop_map(Step::Sleep),
        any::<u8>().prop_map(Step::Send),
        Just(Step::Receive),
        Just(Step::Notify),
        Just(Step::Notified),
        time.clone().prop_map(Step::Permit),
        time.clone().prop_map(Step::Lock),
        any::<u8>().prop_map(Step::Tell),
        Just(Step::Changed),
        any::<u8>().prop_map(Step::Shout),
        Just(Step::Hear),
    ];
    leaf.prop_recursive(4, 24, 4, move |step| {
        let boxed = step.clone().prop_map(Box::new);
        let some = proptest::collection::vec(step, 1..4);
        prop_oneof![
            some.clone().prop_map(Step::Then),
            (boxed.clone(), boxed.clone()).prop_map(|(one, two)| Step::Select(one, two)),
            (boxed.clone(), boxed.clone()).prop_map(|(one, two)| Step::Join(one, two)),
            some.clone().prop_map(Step::JoinAll),
            some.prop_map(Step::Unordered),
            boxed.clone().prop_map(Step::Shared),
            boxed.clone().prop_map(Step::Nested),
            boxed.clone().prop_map(Step::Spawn),
            boxed.clone().prop_map(Step::Ask),
            (time.clone(), boxed.clone()).prop_map(|(after, step)| Step::Abort(after, step)),
            boxed.clone().prop_map(Step::Panics),
            boxed.prop_map(Step::Moved),
        ]
    })
}

/// How tasks and futures are made: as they are, or tracked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Raw,
    Tracked,
    PassedThrough,
    /// Tracked, and asked where they wait whenever nothing else is to be done.
    #[cfg(all(feature = "profile", target_os = "linux"))]
    Probed,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What all tasks of a program share.
struct World {
    how: How,
    start: Instant,
    log: StdMutex<Vec<(u128, String)>>,
    sender: mpsc::Sender<u8>,
    receiver: Mutex<mpsc::Receiver<u8>>,
    notify: Notify,
    semaphore: Semaphore,
    sum: Mutex<u64>,
    told: watch::Sender<u8>,
    /// One waits at a time: of several, `watch` draws lots for whom to wake first.
    changed: Mutex<watch::Receiver<u8>>,
    shouted: broadcast::Sender<u8>,
}

impl World {
    fn new(how: How) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(2);
        let (told, changed) = watch::channel(0);
        Arc::new(Self {
            how,
            start: Instant::now(),
            log: StdMutex::default(),
            sender,
            receiver: Mutex::new(receiver),
            notify: Notify::new(),
            semaphore: Semaphore::new(2),
            sum: Mutex::new(0),
            told,
            changed: Mutex::new(changed),
            shouted: broadcast::Sender::new(2),
        })
    }

    fn spawn<T: Send + 'static>(&self, future: Boxed<T>) -> JoinHandle<T> {
        match self.how {
            How::Raw => Handle::current().spawn(future),
            How::Tracked => lifespan::spawn("waker-tests", future),
            #[cfg(all(feature = "profile", target_os = "linux"))]
            How::Probed => lifespan::spawn("waker-tests-probed", future),
            How::PassedThrough => lifespan::Builder::new("waker-tests").no_waker().spawn(future),
        }
    }

    fn nest<T: Send + 'static>(&self, future: Boxed<T>) -> Boxed<T> {
        match self.how {
            How::Raw => future,
            How::Tracked => Box::pin(future.tracked("waker-tests")),
            #[cfg(all(feature = "profile", target_os = "linux"))]
            How::Probed => Box::pin(future.tracked("waker-tests-probed")),
            How::PassedThrough => Box::pin(future.tracked("waker-tests").no_waker()),
        }
    }

    fn note(&self, what: String) {
        self.log
            .lock()
            .unwrap()
            .push((self.start.elapsed().as_millis(), what));
    }
}

/// Within a limit, since another task may never do its part.
async fn limited<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_millis(50), future).await.ok()
}

fn ms(time: u8) -> Duration {
    Duration::from_millis(time.into())
}

fn run(world: &Arc<World>, step: Step) -> Boxed<String> {
    let world = Arc::clone(world);
    Box::pin(async move {
        let result = run_step(&world, step).await;
        world.note(result.clone());
        result
    })
}

async fn run_step(world: &Arc<World>, step: Step) -> String {
    match step {
        Step::Yield(times) => {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
            format!("yielded {times}")
        }
        Step::Sleep(time) => {
            sleep(ms(time)).await;
            format!("slept {time}")
        }
        Step::Send(value) => format!("sent {value}: {:?}", limited(world.sender.send(value)).await),
        Step::Receive => {
            let received = limited(async { world.receiver.lock().await.recv().await }).await;
            format!("received {received:?}")
        }
        Step::Notify => {
            world.notify.notify_one();
            "notified others".to_owned()
        }
        Step::Notified => format!("notified {:?}", limited(world.notify.notified()).await),
        Step::Permit(time) => {
            let permit = limited(world.semaphore.acquire()).await;
            sleep(ms(time)).await;
            format!("permit {}", permit.is_some())
        }
        Step::Lock(time) => {
            let mut sum = world.sum.lock().await;
            sleep(ms(time)).await;
            *sum += u64::from(time);
            format!("sum {sum}")
        }
        Step::Tell(value) => format!("told {}", world.told.send_replace(value)),
        Step::Changed => {
            let changed = limited(async { world.changed.lock().await.changed().await }).await;
            format!("changed {changed:?} to {}", *world.told.borrow())
        }
        Step::Shout(value) => format!("shouted {:?}", world.shouted.send(value)),
        Step::Hear => {
            let mut receiver = world.shouted.subscribe();
            format!("heard {:?}", limited(receiver.recv()).await)
        }
        combined => run_combined(world, combined).await,
    }
}

async fn run_combined(world: &Arc<World>, step: Step) -> String {
    match step {
        Step::Then(steps) => {
            let mut results = Vec::new();
            for step in steps {
                results.push(run(world, step).await);
            }
            results.join(", ")
        }
        Step::Select(one, two) => {
            // In order: the other way draws lots.
            tokio::select! {
                biased;
                one = run(world, *one) => format!("first {one}"),
                two = run(world, *two) => format!("second {two}"),
            }
        }
        Step::Join(one, two) => format!("{:?}", tokio::join!(run(world, *one), run(world, *two))),
        Step::JoinAll(steps) => {
            let all = steps.into_iter().map(|step| world.nest(run(world, step)));
            format!("{:?}", future::join_all(all).await)
        }
        Step::Unordered(steps) => {
            let all: FuturesUnordered<_> = steps
                .into_iter()
                .map(|step| world.nest(run(world, step)))
                .collect();
            format!("{:?}", all.collect::<Vec<_>>().await)
        }
        Step::Shared(step) => {
            let shared = world.nest(run(world, *step)).shared();
            let other = world.spawn(shared.clone().boxed());
            format!("{:?}", (shared.await, other.await.unwrap()))
        }
        Step::Nested(step) => world.nest(run(world, *step)).await,
        Step::Spawn(step) => world.spawn(run(world, *step)).await.unwrap(),
        Step::Ask(step) => {
            let (answer, answered) = oneshot::channel();
            let step = run(world, *step);
            world.spawn(Box::pin(async move { drop(answer.send(step.await)) }));
            format!("answered {:?}", answered.await)
        }
        Step::Abort(after, step) => {
            let task = world.spawn(run(world, *step));
            sleep(ms(after)).await;
            task.abort();
            format!("aborted {:?}", task.await.map_err(|error| error.is_cancelled()))
        }
        Step::Panics(step) => {
            let step = run(world, *step);
            let task = world.spawn(Box::pin(async move {
                let told = step.await;
                std::panic::resume_unwind(Box::new(told))
            }));
            let task: JoinHandle<()> = task;
            let payload = task.await.unwrap_err().into_panic();
            format!("panicked with {}", payload.downcast::<String>().unwrap())
        }
        Step::Moved(step) => {
            let mut moves = world.nest(run(world, *step));
            match futures::poll!(&mut moves) {
                std::task::Poll::Ready(result) => result,
                std::task::Poll::Pending => world.spawn(moves).await.unwrap(),
            }
        }
        leaf => format!("no combinator: {leaf:?}"),
    }
}

/// Runs a program; returns its results, and what was noted when.
fn results(program: &[Step], how: How) -> (Vec<String>, Vec<(u128, String)>) {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(all(feature = "profile", target_os = "linux"))]
    let prober = (how == How::Probed).then(probed::Prober::start);
    // Held by the runtime, which every waker of a task of it keeps alive.
    builder.on_thread_park(move || {
        let _ = &held;
        #[cfg(all(feature = "profile", target_os = "linux"))]
        if let Some(prober) = &prober {
            prober.probe();
        }
    });
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    drop(builder);
    let noted = runtime.block_on(async {
        let world = World::new(how);
        let tasks: Vec<_> = program
            .iter()
            .map(|step| world.spawn(run(&world, step.clone())))
            .collect();
        // A wake that is lost ends here: nothing else is as late.
        let results = timeout(Duration::from_secs(1_000), future::join_all(tasks)).await;
        let results = results.expect("no wake is lost").into_iter().map(Result::unwrap);
        let log = std::mem::take(&mut *world.log.lock().unwrap());
        (results.collect(), log)
    });
    drop(runtime);
    #[cfg(all(feature = "profile", target_os = "linux"))]
    if how == How::Probed {
        // Who asks may still hold a record, and with it the runtime's waker, for the rest of its batch.
        crate::support::wait_until("no waker outlives the runtime", || Arc::strong_count(&alive) == 1);
    }
    assert_eq!(
        Arc::strong_count(&alive),
        1,
        "{how:?}: a waker outlives the runtime"
    );
    noted
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_program_does_the_same_with_and_without_us(program in proptest::collection::vec(steps(), 1..6)) {
        let raw = results(&program, How::Raw);
        prop_assert_eq!(&raw, &results(&program, How::Tracked));
        prop_assert_eq!(&raw, &results(&program, How::PassedThrough));
    }
}

#[cfg(all(feature = "profile", target_os = "linux"))]
mod probed {
    //! Probes at every moment at which the runtime has nothing to do.
    //!
    //! A probe at any other moment can bring a task forward in the runtime's queue: that changes in which order tasks
    //! run, and so what a program does that depends on the order.

    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    use std::sync::{Arc, mpsc};

    use lifespan::KindId;
    use lifespan::profile::{Ask, Waits, dump};
    use proptest::prelude::*;
    use tokio::runtime::Handle;

    use super::{How, results, steps};

    static ANSWERED: AtomicU64 = AtomicU64::new(0);

    /// Asks on a thread of its own.
    pub(super) struct Prober {
        requests: mpsc::Sender<()>,
        requested: AtomicBool,
        done: Arc<AtomicBool>,
    }

    impl Prober {
        pub(super) fn start() -> Self {
            let (requests, requested) = mpsc::channel();
            let done = Arc::new(AtomicBool::new(false));
            let finished = Arc::clone(&done);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                let mut ask = Ask::default();
                ask.kinds = vec![KindId::named("waker-tests-probed")];
                ask.long_idle = super::super::awaits::LONG;
                while let Ok(()) = requested.recv() {
                    // Refused where another test dumps.
                    if let Ok(dump) = runtime.block_on(dump(&ask)) {
                        let at = dump
                            .tasks
                            .iter()
                            .filter(|task| matches!(task.waits, Waits::At(_)));
                        ANSWERED.fetch_add(at.count() as u64, SeqCst);
                    }
                    finished.store(true, SeqCst);
                }
            });
            Self {
                requests,
                requested: AtomicBool::new(false),
                done,
            }
        }

        /// Before the runtime parks: returns where tasks were woken to be asked, or all have been.
        pub(super) fn probe(&self) {
            if !self.requested.swap(true, SeqCst) {
                self.done.store(false, SeqCst);
                self.requests.send(()).unwrap();
            }
            let woken =
                || Handle::try_current().is_ok_and(|handle| handle.metrics().global_queue_depth() > 0);
            while !woken() {
                if self.done.load(SeqCst) {
                    self.requested.store(false, SeqCst);
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 16,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_program_does_the_same_while_it_is_probed(program in proptest::collection::vec(steps(), 1..6)) {
            // Of what is noted at one moment, `join!` decides the order by how often it was polled.
            let in_order = |(results, mut noted): (Vec<String>, Vec<_>)| {
                noted.sort();
                (results, noted)
            };
            let raw = in_order(results(&program, How::Raw));
            prop_assert_eq!(&raw, &in_order(results(&program, How::Probed)));
        }
    }

    #[test]
    fn programs_that_are_probed_answer() {
        let program = [super::Step::Sleep(10), super::Step::Receive];
        let before = ANSWERED.load(SeqCst);
        crate::support::wait_until("they answer", || {
            results(&program, How::Probed);
            ANSWERED.load(SeqCst) > before
        });
    }
}
