//! A task that nothing can wake any more, found by two sweeps.
//!
//! An agent sweeps every second by itself. Run it with `cargo run --example orphan`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use lifespan::registry;
use tokio::sync::oneshot;
use tokio::task::yield_now;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Someone is to answer, and keeps the waker until then.
    let answerer = Arc::new(Mutex::new(None::<Waker>));
    let asked = Arc::clone(&answerer);
    let lost = lifespan::spawn(
        "lost",
        std::future::poll_fn(move |cx| {
            *asked.lock().expect("nobody panics") = Some(cx.waker().clone());
            Poll::<()>::Pending
        }),
    );
    // This one waits for something that can still come.
    let (sender, receiver) = oneshot::channel::<()>();
    let waiting = lifespan::spawn("waiting", receiver);
    yield_now().await;

    registry::sweep();
    println!("before: {} orphaned", orphans());

    // The one who was to answer forgets it: a callback dropped, a map cleared, an error path that returns.
    *answerer.lock().expect("nobody panics") = None;

    // The first sweep that finds a task so remembers it, the second is sure.
    registry::sweep();
    registry::sweep();
    println!("after:  {} orphaned", orphans());
    for row in registry::rows().filter(|row| row.orphaned) {
        let site = row.spawned_at.map(ToString::to_string).unwrap_or_default();
        println!(
            "  {} {}, {} wakers left, spawned at {site}",
            row.id,
            row.kind,
            row.wakers.unwrap_or(0)
        );
    }
    assert_eq!(orphans(), 1);

    // Only whoever holds its handle can end it.
    lost.abort();
    assert!(lost.await.is_err_and(|error| error.is_cancelled()));
    drop(sender);
    assert!(waiting.await.expect("it does not panic").is_err());
}

fn orphans() -> usize {
    registry::rows().filter(|row| row.orphaned).count()
}
