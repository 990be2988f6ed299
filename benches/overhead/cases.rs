//! What is measured: four cases, on two runtimes, whoever spawns.

use std::pin::Pin;
use std::task::{Context, Poll};

#[expect(
    clippy::disallowed_types,
    reason = "a bench measures the time that passes, not one that a test drives"
)]
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A way to spawn tasks.
pub(crate) trait Spawner: 'static {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
}

/// `tokio::spawn`, and nothing else.
pub(crate) enum Raw {}

impl Spawner for Raw {
    fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_raw(future)
    }
}

#[expect(clippy::disallowed_methods, reason = "what all others are compared with")]
pub(crate) fn spawn_raw<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Case {
    /// From spawn to exit of a task that yields once: two polls.
    Spawn,
    /// One poll of a task that wakes itself 1,000 times.
    Poll,
    /// A round trip of two tasks over two `mpsc::channel(1)`.
    PingPong,
    /// A task that fails at its first poll, and the next one in its place: a loop, or a supervisor.
    Restart,
}

/// How often a task of [`Case::Poll`] wakes itself.
const WAKES: u64 = 1_000;

impl Case {
    pub(crate) const ALL: [Self; 4] = [Self::Spawn, Self::Poll, Self::PingPong, Self::Restart];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Poll => "poll",
            Self::PingPong => "pingpong",
            Self::Restart => "restart",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }

    /// Does it so often, and returns the nanoseconds that one took.
    ///
    /// All of it runs inside of one raw task, so that no case waits for the thread that blocks on the runtime.
    pub(crate) fn nanos_per_op<S: Spawner>(self, runtime: &Runtime, ops: u64) -> f64 {
        Self::nanos_of(runtime, ops, self.run::<S>(ops))
    }

    /// The same of work that does it so often.
    #[expect(clippy::disallowed_types, reason = "see above")]
    pub(crate) fn nanos_of(
        runtime: &Runtime,
        ops: u64,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> f64 {
        let start = Instant::now();
        runtime
            .block_on(async move { spawn_raw(work).await })
            .expect("the case does not panic");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let ops = ops as f64;
        start.elapsed().as_secs_f64() * 1e9 / ops
    }

    async fn run<S: Spawner>(self, ops: u64) {
        match self {
            Self::Spawn => {
                for _ in 0..ops {
                    S::spawn(SelfWakes(1)).await.expect("the task does not panic");
                }
            }
            Self::Poll => {
                for _ in 0..ops.div_ceil(WAKES) {
                    S::spawn(SelfWakes(WAKES)).await.expect("the task does not panic");
                }
            }
            Self::PingPong => ping_pong::<S>(ops).await,
            Self::Restart => {
                for _ in 0..ops {
                    let ended = S::spawn(async { Err::<(), _>("it fails") }).await;
                    std::hint::black_box(ended)
                        .expect("the task does not panic")
                        .expect_err("it fails");
                }
            }
        }
    }
}

/// A task that wakes itself so often, and ends.
pub(crate) struct SelfWakes(pub(crate) u64);

impl Future for SelfWakes {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(());
        };
        self.0 = left;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn ping_pong<S: Spawner>(ops: u64) {
    let (to_pong, mut from_ping) = mpsc::channel(1);
    let (to_ping, mut from_pong) = mpsc::channel(1);
    let ping = S::spawn(async move {
        for ball in 0..ops {
            to_pong.send(ball).await.expect("pong lives");
            from_pong.recv().await.expect("pong answers");
        }
    });
    let pong = S::spawn(async move {
        while let Some(ball) = from_ping.recv().await {
            to_ping.send(ball).await.expect("ping lives");
        }
    });
    ping.await.expect("ping does not panic");
    pong.await.expect("pong does not panic");
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Flavor {
    CurrentThread,
    TwoWorkers,
}

impl Flavor {
    pub(crate) const ALL: [Self; 2] = [Self::CurrentThread, Self::TwoWorkers];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current-thread",
            Self::TwoWorkers => "two-workers",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flavor| flavor.name() == name)
    }

    pub(crate) fn build(self) -> Runtime {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::TwoWorkers => Builder::new_multi_thread(),
        };
        builder
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the system gives a runtime its threads")
    }
}
