//! A future that moves between tasks and runtimes is woken where it is now, also by a leaf that knew its waker before.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lifespan::{Kind, Track};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

static KIND: Kind = Kind::new("moved");

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Polls the future once in a task of its own, where it must wait.
async fn polled_once<T: 'static>(mut future: Boxed<T>, on: &Handle) -> Boxed<T> {
    let polled = on.spawn(async move {
        let waits = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
        // In a tuple: it is not to be awaited here.
        (waits, future)
    });
    let (waits, future) = polled.await.unwrap();
    assert!(waits);
    future
}

/// Polls it in one task after the other, and then lets what it waits for happen while a third one has it.
async fn moves<T: Send + 'static>(future: Boxed<T>, happen: impl FnOnce()) -> T {
    let other = runtime();
    let future = polled_once(future, &Handle::current()).await;
    let future = polled_once(future, other.handle()).await;
    let (waiting, waits) = oneshot::channel();
    let last = Handle::current().spawn(async move {
        let mut future = future;
        let mut waiting = Some(waiting);
        poll_fn(move |cx| {
            let polled = future.as_mut().poll(cx);
            if let Some(waiting) = waiting.take() {
                assert!(polled.is_pending());
                waiting.send(()).unwrap();
            }
            polled
        })
        .await
    });
    waits.await.unwrap();
    happen();
    let result = timeout(Duration::from_secs(20), last)
        .await
        .expect("the wake was lost")
        .unwrap();
    other.shutdown_background();
    result
}

#[test]
fn a_leaf_that_knew_the_waker_wakes_the_task_that_has_the_future_now() {
    let first = runtime();
    first.block_on(async {
        let (send, receive) = oneshot::channel();
        let future = Box::pin(async { receive.await.unwrap() }.tracked(&KIND));
        assert_eq!(moves(future, move || send.send(42).unwrap()).await, 42);

        let (send, mut receive) = mpsc::channel(1);
        let future = Box::pin(async move { receive.recv().await.unwrap() }.tracked(&KIND));
        assert_eq!(moves(future, move || send.try_send(43).unwrap()).await, 43);

        let notify = std::sync::Arc::new(Notify::new());
        let notified = std::sync::Arc::clone(&notify).notified_owned();
        let future = Box::pin(notified.tracked(&KIND));
        moves(future, move || notify.notify_one()).await;

        let (end, ends) = oneshot::channel::<()>();
        let task = Handle::current().spawn(async { ends.await.unwrap() });
        let future = Box::pin(async { task.await.unwrap() }.tracked(&KIND));
        moves(future, move || end.send(()).unwrap()).await;
    });
}

#[test]
fn futures_that_wander_into_a_set_and_out_again_lose_no_wake() {
    let runtime = runtime();
    runtime.block_on(async {
        for round in 0..50u64 {
            let (mut senders, mut set) = (Vec::new(), FuturesUnordered::new());
            for _ in 0..8 {
                let (send, receive) = oneshot::channel::<u64>();
                senders.push(send);
                let future: Boxed<u64> = Box::pin(async { receive.await.unwrap() }.tracked(&KIND));
                // With tokio's waker first, then with the set's, which passes through.
                set.push(polled_once(future, &Handle::current()).await);
            }
            let sum = Handle::current().spawn(async move {
                let mut sum = 0;
                while let Some(value) = set.next().await {
                    sum += value;
                }
                sum
            });
            for (value, send) in senders.into_iter().enumerate() {
                if value as u64 % 3 == round % 3 {
                    tokio::task::yield_now().await;
                }
                send.send(1).unwrap();
            }
            let sum = timeout(Duration::from_secs(20), sum)
                .await
                .expect("a wake was lost")
                .unwrap();
            assert_eq!(sum, 8);
        }
    });
}
