//! What a task can wait for, each with the function that its await point must name.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures::future::{self, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::sleep;

use super::{Boxed, LONG, boxed};

/// A name, the functions that the stacks must name (each in one of them), and what waits.
pub(super) type Leaf = (&'static str, &'static [&'static str], fn() -> Boxed);

pub(super) static LEAVES: &[Leaf] = &[
    ("mpsc-recv", &["mpsc::bounded::Receiver", "recv"], || {
        boxed(async {
            let (_sender, mut receiver) = mpsc::channel::<()>(1);
            receiver.recv().await;
        })
    }),
    ("mpsc-send", &["mpsc::bounded::Sender", "send"], || {
        boxed(async {
            let (sender, _receiver) = mpsc::channel::<()>(1);
            sender.send(()).await.unwrap();
            let _ = sender.send(()).await;
        })
    }),
    ("mpsc-unbounded", &["mpsc::unbounded::UnboundedReceiver"], || {
        boxed(async {
            let (_sender, mut receiver) = mpsc::unbounded_channel::<()>();
            receiver.recv().await;
        })
    }),
    ("oneshot", &["sync::oneshot::"], || {
        boxed(async {
            let (_sender, receiver) = oneshot::channel::<()>();
            let _ = receiver.await;
        })
    }),
    ("broadcast", &["sync::broadcast::Rec"], || {
        boxed(async {
            let (_sender, mut receiver) = broadcast::channel::<()>(1);
            let _ = receiver.recv().await;
        })
    }),
    ("watch", &["sync::watch::Receiver"], || {
        boxed(async {
            let (_sender, mut receiver) = watch::channel(0);
            let _ = receiver.changed().await;
        })
    }),
    ("notify", &["sync::notify::Notified"], || {
        boxed(async { Notify::new().notified().await })
    }),
    ("mutex", &["sync::mutex::Mutex", "lock"], || {
        boxed(async {
            let mutex = Mutex::new(());
            let _one = mutex.lock().await;
            let _two = mutex.lock().await;
        })
    }),
    ("rwlock", &["sync::rwlock::RwLock", "write"], || {
        boxed(async {
            let lock = RwLock::new(());
            let _read = lock.read().await;
            let _write = lock.write().await;
        })
    }),
    ("semaphore", &["sync::semaphore::Semaphore", "acquire"], || {
        boxed(async { drop(Semaphore::new(0).acquire().await) })
    }),
    ("barrier", &["sync::barrier::Barrier", "wait"], || {
        boxed(async {
            Barrier::new(2).wait().await;
        })
    }),
    ("sleep", &["time::sleep::Sleep"], || boxed(sleep(LONG))),
    ("interval", &["time::interval::Interval"], || {
        boxed(async {
            let mut interval = tokio::time::interval(LONG);
            loop {
                interval.tick().await;
            }
        })
    }),
    (
        "timeout",
        &["time::timeout::Timeout", "sync::notify::Notified"],
        || {
            boxed(async {
                let notify = Notify::new();
                let _ = tokio::time::timeout(LONG, notify.notified()).await;
            })
        },
    ),
    ("tcp-accept", &["net::tcp::listener::TcpListener"], || {
        boxed(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _ = listener.accept().await;
        })
    }),
    ("tcp-read", &["net::tcp::stream::TcpStream"], || {
        boxed(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let _ = stream.read_u8().await;
        })
    }),
    ("udp", &["net::udp::UdpSocket"], || {
        boxed(async {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let _ = socket.recv(&mut [0]).await;
        })
    }),
    ("unix-stream", &["net::unix::stream::UnixStream"], || {
        boxed(async {
            let (mut one, _two) = tokio::net::UnixStream::pair().unwrap();
            let _ = one.read_u8().await;
        })
    }),
    (
        "unix-datagram",
        &["net::unix::datagram::socket::UnixDatagram"],
        || {
            boxed(async {
                let (one, _two) = tokio::net::UnixDatagram::pair().unwrap();
                let _ = one.recv(&mut [0]).await;
            })
        },
    ),
    ("duplex", &["io::util::mem::"], || {
        boxed(async {
            let (mut one, _two) = tokio::io::duplex(1);
            let _ = one.write_all(b"two").await;
        })
    }),
    ("process", &["process::Child", "wait"], || {
        boxed(async {
            let mut command = tokio::process::Command::new("sleep");
            let mut child = command.arg("1000").kill_on_drop(true).spawn().unwrap();
            drop(child.wait().await);
        })
    }),
    ("signal", &["signal::unix::Signal"], || {
        boxed(async {
            let kind = tokio::signal::unix::SignalKind::user_defined2();
            tokio::signal::unix::signal(kind).unwrap().recv().await;
        })
    }),
    ("fs", &["fs::", "task::join::JoinHandle"], || {
        boxed(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("fifo");
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            // Blocks until somebody writes, which happens when the test is over.
            let _ = tokio::fs::read(&path).await;
        })
    }),
    ("join-handle", &["task::join::JoinHandle"], || {
        boxed(async { drop(lifespan::spawn("awaits-child", sleep(LONG)).await) })
    }),
    ("join-set", &["task::join_set::JoinSet"], || {
        boxed(async {
            let mut set = tokio::task::JoinSet::new();
            set.spawn(sleep(LONG));
            set.join_next().await;
        })
    }),
    ("our-join-set", &["join_set::JoinSet"], || {
        boxed(async {
            let mut set = lifespan::JoinSet::new();
            set.spawn("awaits-child", sleep(LONG));
            set.join_next().await;
        })
    }),
    ("spawn-blocking", &["task::join::JoinHandle"], || {
        boxed(async {
            let (_sender, receiver) = std::sync::mpsc::channel::<()>();
            let job = tokio::task::spawn_blocking(move || receiver.recv().is_ok());
            let _ = job.await;
        })
    }),
    (
        "select",
        &["mpsc::bounded::Receiver", "time::sleep::Sleep"],
        || {
            boxed(async {
                let (_sender, mut receiver) = mpsc::channel::<()>(1);
                tokio::select! {
                    _ = receiver.recv() => {}
                    () = sleep(LONG) => {}
                }
            })
        },
    ),
    ("join", &["sync::notify::Notified", "time::sleep::Sleep"], || {
        boxed(async {
            let notify = Notify::new();
            tokio::join!(notify.notified(), sleep(LONG));
        })
    }),
    ("futures-oneshot", &["futures_channel::oneshot::"], || {
        boxed(async {
            let (_sender, receiver) = futures::channel::oneshot::channel::<()>();
            let _ = receiver.await;
        })
    }),
    ("futures-mpsc", &["futures_channel::mpsc::"], || {
        boxed(async {
            let (_sender, mut receiver) = futures::channel::mpsc::channel::<()>(1);
            receiver.next().await;
        })
    }),
    ("unordered", &["futures_unordered::FuturesUnordered"], || {
        boxed(async {
            let mut children = FuturesUnordered::from_iter((0..4).map(|_| sleep(LONG)));
            children.next().await;
        })
    }),
    ("join-all", &["join_all::JoinAll", "time::sleep::Sleep"], || {
        boxed(future::join_all((0..4).map(|_| sleep(LONG))).map(|_| ()))
    }),
    ("shared", &["future::shared::Shared"], || {
        boxed(async { sleep(LONG).shared().await })
    }),
    ("async-channel", &["async_channel::"], || {
        boxed(async {
            let (_sender, receiver) = async_channel::bounded::<()>(1);
            let _ = receiver.recv().await;
        })
    }),
    ("hyper", &["hyper_util::client::legacy"], || {
        boxed(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let executor = hyper_util::rt::TokioExecutor::new();
            let client = hyper_util::client::legacy::Client::builder(executor).build_http();
            let request = client.get(format!("http://{address}/").parse().unwrap());
            let _: Result<hyper::Response<_>, _> = tokio::join!(request, listener.accept()).0;
            drop::<hyper_util::client::legacy::Client<_, http_body_util::Empty<&[u8]>>>(client);
        })
    }),
    ("by-hand", &["awaits::leaves::by_hand"], || boxed(by_hand())),
];

/// A leaf as its author writes it: it keeps the waker of the last poll.
async fn by_hand() {
    let kept = Arc::new(std::sync::Mutex::new(None::<Waker>));
    poll_fn(move |cx| {
        *kept.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}
