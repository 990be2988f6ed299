//! Orphans are found exactly: all of a corpus that cannot be woken, and none of one that can.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{self, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::{KindId, Track, registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::support::{rows_of, wait_until};

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;
type Program = (&'static str, fn() -> Boxed);

const LONG: Duration = Duration::from_secs(1_000);

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Boxed {
    Box::pin(future)
}

/// Keeps its waker and drops it at the second poll, which it asks for.
#[derive(Default)]
struct Forgets(Option<Waker>);

impl Future for Forgets {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.take().is_none() {
            self.0 = Some(cx.waker().clone());
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Programs that end up where nothing can wake them.
static LOST: &[Program] = &[
    ("pending", || boxed(pending())),
    ("poll-fn", || boxed(poll_fn(|_| Poll::Pending))),
    ("forgets", || boxed(Forgets::default())),
    ("waker-dropped", || {
        boxed(poll_fn(|cx| {
            drop(cx.waker().clone());
            Poll::Pending
        }))
    }),
    ("waker-dropped-elsewhere", || {
        boxed(poll_fn(|cx| {
            let waker = cx.waker().clone();
            std::thread::spawn(move || drop(waker)).join().unwrap();
            Poll::Pending
        }))
    }),
    ("notified-dropped", || {
        boxed(async {
            let notify = Notify::new();
            let mut notified = Box::pin(notify.notified());
            assert!(futures::poll!(&mut notified).is_pending());
            drop(notified);
            pending::<()>().await;
        })
    }),
    ("timeout-over", || {
        boxed(async {
            let _ = tokio::time::timeout(Duration::from_millis(1), pending::<()>()).await;
            pending::<()>().await;
        })
    }),
    ("select-of-lost", || {
        boxed(async {
            tokio::select! {
                () = pending() => {}
                () = poll_fn(|_| Poll::Pending) => {}
            }
        })
    }),
    ("join-of-lost", || {
        boxed(future::join(pending::<()>(), Forgets::default()).map(|_| ()))
    }),
    ("join-with-one-done", || {
        boxed(async {
            tokio::join!(sleep(Duration::from_millis(1)), pending::<()>());
        })
    }),
    ("select-all-of-lost", || {
        boxed(future::select_all([pending::<()>(), pending()]).map(|_| ()))
    }),
    ("never-branch", || {
        boxed(async {
            tokio::select! {
                biased;
                () = pending() => {}
                () = async { sleep(Duration::from_millis(1)).await; pending().await } => {}
            }
        })
    }),
    ("stream-pending", || {
        boxed(async { futures::stream::pending::<()>().next().await.unwrap_or(()) })
    }),
    ("yields-then-pending", || {
        boxed(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            pending::<()>().await;
        })
    }),
    ("receiver-cancelled", || {
        boxed(async {
            let (sender, mut receiver) = mpsc::channel::<()>(1);
            assert!(futures::poll!(Box::pin(receiver.recv())).is_pending());
            drop(receiver);
            sender.closed().await;
            pending::<()>().await;
        })
    }),
    ("fused-and-done", || {
        boxed(async {
            let mut done = future::ready(()).fuse();
            (&mut done).await;
            // A fused future that is done is pending for ever.
            done.await;
        })
    }),
    ("own-thread-gone", || {
        boxed(async {
            let (sender, receiver) = oneshot::channel::<()>();
            std::thread::spawn(move || drop(sender));
            let _ = receiver.await;
            pending::<()>().await;
        })
    }),
];

/// Each program as a task of its own kind.
fn spawn_all(programs: &[Program], handle: &Handle) -> Vec<(KindId, tokio::task::JoinHandle<()>)> {
    let spawn = |(name, program): &Program| {
        let kind = KindId::named(&format!("orphans-{name}"));
        let _in_runtime = handle.enter();
        (kind, lifespan::spawn_on(kind, program(), handle))
    };
    programs.iter().map(spawn).collect()
}

#[test]
fn what_cannot_be_woken_is_found_by_two_sweeps() {
    let runtime = runtime();
    let tasks = spawn_all(LOST, runtime.handle());
    for (kind, _) in &tasks {
        let settled = || {
            let rows = rows_of(*kind);
            rows.len() == 1 && rows[0].wakers == Some(0) && rows[0].state == lifespan::State::Idle
        };
        wait_until(kind.name(), settled);
    }
    registry::sweep();
    let sweep = registry::sweep();
    for (kind, task) in &tasks {
        let states = sweep.kinds.iter().find(|states| states.kind == *kind).unwrap();
        assert_eq!(states.orphaned, 1, "{kind}");
        assert!(rows_of(*kind)[0].orphaned, "{kind}");
        task.abort();
    }
    for (kind, task) in tasks {
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        wait_until("it has ended", || rows_of(kind).is_empty());
    }
}

/// Programs that something will, or could, wake.
static ALIVE: &[Program] = &[
    ("sleep", || boxed(sleep(LONG))),
    ("short-sleeps", || {
        boxed(async {
            loop {
                sleep(Duration::from_millis(1)).await;
            }
        })
    }),
    ("interval", || {
        boxed(async {
            let mut interval = tokio::time::interval(Duration::from_millis(1));
            loop {
                interval.tick().await;
            }
        })
    }),
    ("timeout", || {
        boxed(tokio::time::timeout(LONG, pending::<()>()).map(|_| ()))
    }),
    ("yields", || {
        boxed(async {
            loop {
                tokio::task::yield_now().await;
            }
        })
    }),
    ("coop-budget", || {
        boxed(async {
            let semaphore = Semaphore::new(1);
            loop {
                drop(semaphore.acquire().await);
            }
        })
    }),
    // Wakers in what the task itself owns: no verdict, by design.
    ("own-oneshot", || {
        boxed(async {
            let (_sender, receiver) = oneshot::channel::<()>();
            let _ = receiver.await;
        })
    }),
    ("own-mpsc", || {
        boxed(async {
            let (_sender, mut receiver) = mpsc::channel::<()>(1);
            receiver.recv().await;
        })
    }),
    ("own-unbounded", || {
        boxed(async {
            let (_sender, mut receiver) = mpsc::unbounded_channel::<()>();
            receiver.recv().await;
        })
    }),
    ("mpsc-full", || {
        boxed(async {
            let (sender, _receiver) = mpsc::channel::<()>(1);
            sender.send(()).await.unwrap();
            let _ = sender.send(()).await;
        })
    }),
    ("mpsc-reserve", || {
        boxed(async {
            let (sender, _receiver) = mpsc::channel::<()>(1);
            let _one = sender.reserve().await;
            let _two = sender.reserve().await;
        })
    }),
    ("mpsc-closed", || {
        boxed(async {
            let (sender, _receiver) = mpsc::channel::<()>(1);
            sender.closed().await;
        })
    }),
    ("oneshot-closed", || {
        boxed(async {
            let (mut sender, _receiver) = oneshot::channel::<()>();
            sender.closed().await;
        })
    }),
    ("watch", || {
        boxed(async {
            let (_sender, mut receiver) = watch::channel(0);
            let _ = receiver.changed().await;
        })
    }),
    ("watch-closed", || {
        boxed(async {
            let (sender, _receiver) = watch::channel(0);
            sender.closed().await;
        })
    }),
    ("broadcast", || {
        boxed(async {
            let (_sender, mut receiver) = broadcast::channel::<()>(1);
            let _ = receiver.recv().await;
        })
    }),
    ("notify", || boxed(async { Notify::new().notified().await })),
    ("semaphore", || {
        boxed(async { drop(Semaphore::new(0).acquire().await) })
    }),
    ("mutex", || {
        boxed(async {
            let mutex = Mutex::new(());
            let _one = mutex.lock().await;
            let _two = mutex.lock().await;
        })
    }),
    ("lock-cycle", || {
        boxed(async {
            let locks = Arc::new((Mutex::new(()), Mutex::new(()), Barrier::new(2)));
            let other = Arc::clone(&locks);
            let opposite = async move {
                let _second = other.1.lock().await;
                other.2.wait().await;
                let _first = other.0.lock().await;
            };
            let _opposite = lifespan::spawn("orphans-lock-cycle", opposite);
            let _first = locks.0.lock().await;
            locks.2.wait().await;
            let _second = locks.1.lock().await;
        })
    }),
    ("rwlock-read", || {
        boxed(async {
            let lock = RwLock::new(());
            let _write = lock.write().await;
            let _read = lock.read().await;
        })
    }),
    ("rwlock-write", || {
        boxed(async {
            let lock = RwLock::new(());
            let _read = lock.read().await;
            let _write = lock.write().await;
        })
    }),
    ("barrier", || {
        boxed(async {
            Barrier::new(2).wait().await;
        })
    }),
    ("once-cell", || {
        boxed(async {
            let cell = tokio::sync::OnceCell::new();
            cell.get_or_init(|| sleep(LONG)).await;
        })
    }),
    ("join-handle", || {
        boxed(async { drop(Handle::current().spawn(sleep(LONG)).await) })
    }),
    ("join-set", || {
        boxed(async {
            let mut set = tokio::task::JoinSet::new();
            set.spawn(sleep(LONG));
            set.join_next().await;
        })
    }),
    ("select", || {
        boxed(async {
            tokio::select! {
                () = pending() => {}
                () = sleep(LONG) => {}
            }
        })
    }),
    ("select-loop", || {
        boxed(async {
            let notify = Notify::new();
            loop {
                tokio::select! {
                    () = notify.notified() => {}
                    () = sleep(Duration::from_millis(1)) => {}
                }
            }
        })
    }),
    ("join", || {
        boxed(async {
            tokio::join!(pending::<()>(), sleep(LONG));
        })
    }),
    ("join-all", || {
        boxed(future::join_all((0..40).map(|_| sleep(LONG))).map(|_| ()))
    }),
    ("unordered", || {
        boxed(async {
            let mut children = FuturesUnordered::from_iter((0..4).map(|_| sleep(LONG)));
            children.next().await;
        })
    }),
    // A child of `FuturesUnordered` has its waker, not tokio's.
    ("unordered-lost-children", || {
        boxed(async {
            let lost = pending::<()>().tracked("orphans-child").root();
            let mut children = FuturesUnordered::from_iter([lost.boxed(), sleep(LONG).boxed()]);
            children.next().await;
        })
    }),
    ("unordered-empty", || {
        boxed(async {
            let mut children = FuturesUnordered::from_iter([pending::<()>()]);
            children.next().await;
        })
    }),
    ("shared", || boxed(async { sleep(LONG).shared().await })),
    ("futures-oneshot", || {
        boxed(async {
            let (_sender, receiver) = futures::channel::oneshot::channel::<()>();
            let _ = receiver.await;
        })
    }),
    ("futures-mpsc", || {
        boxed(async {
            let (_sender, mut receiver) = futures::channel::mpsc::channel::<()>(1);
            receiver.next().await;
        })
    }),
    ("futures-mutex", || {
        boxed(async {
            let mutex = futures::lock::Mutex::new(());
            let _one = mutex.lock().await;
            let _two = mutex.lock().await;
        })
    }),
    ("abortable", || {
        boxed(future::abortable(pending::<()>()).0.map(|_| ()))
    }),
    ("not-root", || {
        boxed(
            pending::<()>()
                .tracked("orphans-not-root")
                .map(|()| ())
                .chain_sleep(),
        )
    }),
    ("duplex", || {
        boxed(async {
            let (mut one, _two) = tokio::io::duplex(16);
            let _ = one.read_u8().await;
        })
    }),
    ("duplex-full", || {
        boxed(async {
            let (mut one, _two) = tokio::io::duplex(1);
            let _ = one.write_all(b"two").await;
        })
    }),
    ("tcp-accept", || {
        boxed(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _ = listener.accept().await;
        })
    }),
    ("tcp-read", || {
        boxed(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let _ = stream.read_u8().await;
        })
    }),
    ("udp", || {
        boxed(async {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let _ = socket.recv(&mut [0]).await;
        })
    }),
    ("blocking", || {
        boxed(async {
            loop {
                let job = || std::thread::sleep(Duration::from_millis(1));
                lifespan::spawn_blocking("orphans-blocking-job", job)
                    .await
                    .unwrap();
            }
        })
    }),
    ("fs", || {
        boxed(async {
            loop {
                drop(tokio::fs::metadata("/").await);
            }
        })
    }),
    #[cfg(unix)]
    ("signal", || {
        boxed(async {
            let kind = tokio::signal::unix::SignalKind::user_defined2();
            tokio::signal::unix::signal(kind).unwrap().recv().await;
        })
    }),
    #[cfg(unix)]
    ("process", || {
        boxed(async {
            let mut command = tokio::process::Command::new("sleep");
            drop(command.arg("1000").kill_on_drop(true).status().await);
        })
    }),
    #[cfg(unix)]
    ("unix-stream", || {
        boxed(async {
            let (mut one, _two) = tokio::net::UnixStream::pair().unwrap();
            let _ = one.read_u8().await;
        })
    }),
];

/// A tracked branch that waits for ever, in a task that does not.
trait ChainSleep: Future<Output = ()> + Send + Sized + 'static {
    fn chain_sleep(self) -> Boxed {
        boxed(future::select(Box::pin(self), Box::pin(sleep(LONG))).map(|_| ()))
    }
}

impl<F: Future<Output = ()> + Send + 'static> ChainSleep for F {}

/// Sweeps all the time, and says how often one of these kinds had an orphan.
struct Sweeper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, Vec<KindId>)>>,
}

impl Sweeper {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut sweeps, mut orphaned) = (0, Vec::new());
            while !stopped.load(SeqCst) {
                let sweep = registry::sweep();
                let kinds = sweep.kinds.iter().filter(|states| states.orphaned > 0);
                orphaned.extend(kinds.map(|states| states.kind));
                orphaned.extend(registry::rows().filter(|row| row.orphaned).map(|row| row.kind));
                sweeps += 1;
            }
            (sweeps, orphaned)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn assert_none_of(mut self, kinds: &[KindId]) {
        self.stop.store(true, SeqCst);
        let (sweeps, orphaned) = self.thread.take().unwrap().join().unwrap();
        assert!(sweeps > 1);
        let found: Vec<_> = orphaned.iter().filter(|kind| kinds.contains(kind)).collect();
        assert!(found.is_empty(), "false orphans: {found:?}");
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

#[test]
fn what_can_be_woken_is_never_reported() {
    let runtime = runtime();
    let sweeper = Sweeper::start();
    let tasks = spawn_all(ALIVE, runtime.handle());
    let mut kinds: Vec<KindId> = tasks.iter().map(|(kind, _)| *kind).collect();
    // No verdict is given on these, though nothing wakes them.
    let _in_runtime = runtime.enter();
    let unjudged = [
        runtime.spawn(pending::<()>().tracked("orphans-tracked-only")),
        runtime.spawn(pending::<()>().tracked("orphans-no-waker").root().no_waker()),
        lifespan::Builder::new("orphans-no-waker")
            .no_waker()
            .spawn(pending()),
        lifespan::Builder::new("orphans-long-lived")
            .long_lived()
            .spawn(pending()),
    ];
    let names = [
        "tracked-only",
        "no-waker",
        "long-lived",
        "child",
        "not-root",
        "blocking-job",
    ];
    kinds.extend(names.map(|name| KindId::named(&format!("orphans-{name}"))));
    for (kind, _) in &tasks {
        // Some wait in more than one task.
        wait_until(kind.name(), || rows_of(*kind).iter().all(|row| row.polls > 0));
    }
    for _ in 0..20 {
        registry::sweep();
        std::thread::sleep(Duration::from_millis(5));
    }
    for (kind, task) in &tasks {
        assert!(!task.is_finished(), "{kind} should wait");
    }
    sweeper.assert_none_of(&kinds);
    drop(unjudged);
    runtime.shutdown_background();
}

#[test]
fn tasks_at_ping_pong_never_look_orphaned() {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    let kind = KindId::named("orphans-ping-pong");
    let runtime = runtime();
    let sweeper = Sweeper::start();
    let players = (0..4).map(|_| {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        let echo = async move {
            while let Some(ball) = pinged.recv().await {
                pong.send(ball).await.unwrap();
            }
        };
        let serve = async move {
            for ball in 0..10_000 {
                ping.send(ball).await.unwrap();
                assert_eq!(ponged.recv().await, Some(ball));
                ROUNDS.fetch_add(1, SeqCst);
            }
        };
        [
            lifespan::spawn_on(kind, echo, runtime.handle()),
            lifespan::spawn_on(kind, serve, runtime.handle()),
        ]
    });
    for player in players.collect::<Vec<_>>().into_iter().flatten() {
        runtime.block_on(player).unwrap();
    }
    assert_eq!(ROUNDS.load(SeqCst), 40_000);
    sweeper.assert_none_of(&[kind]);
}
