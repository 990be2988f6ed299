//! Programs that something will, or could, wake.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::Track;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::sleep;

use super::{Boxed, LONG, Program, boxed};

pub(crate) static ALIVE: &[Program] = &[
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
