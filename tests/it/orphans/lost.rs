//! Programs that end up where nothing can wake them.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{self, FutureExt};
use futures::stream::StreamExt;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use super::{Program, boxed};

pub(super) static LOST: &[Program] = &[
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
