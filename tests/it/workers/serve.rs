//! Threads that answer calls.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use lifespan::thread::{CallError, CallRefused, MAX_CALLS, Server, serve};
use lifespan::{KindId, Scope, registry};

use crate::support::{Counts, DEADLINE, rows_of, wait_until};

/// Adds up, on its thread, with a state that cannot leave it; panics at 0.
fn adder(kind: &'static str) -> Server<u64, u64> {
    let add = |sum: &mut Rc<Cell<u64>>, by: u64| {
        sum.set(sum.get() + by);
        if by == 0 {
            std::panic::resume_unwind(Box::new("nothing to add"));
        }
        sum.get()
    };
    serve(kind, Rc::default, add).unwrap()
}

/// A server whose calls wait until the test lets them go on, and that tells when it has begun one.
fn gated(kind: &'static str) -> (Server<u64, u64>, mpsc::Receiver<u64>, mpsc::Sender<()>) {
    let (begun, told) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let server = serve(
        kind,
        || (),
        move |(), number| {
            begun.send(number).unwrap();
            gate.recv().unwrap();
            number
        },
    );
    (server.unwrap(), told, go_on)
}

#[tokio::test]
async fn calls_are_answered_one_after_the_other_from_one_state() {
    let adder = adder("serve-order");
    let mut calls = Vec::new();
    for by in 1..=10 {
        calls.push(adder.try_call(by).unwrap());
    }
    let mut sum = 0;
    for (by, call) in (1..=10).zip(calls) {
        sum += by;
        assert_eq!(call.await, Ok(sum));
    }
    assert_eq!(adder.clone().call(5).await, Ok(60));
}

#[test]
fn no_runtime_is_needed() {
    let adder = adder("serve-blocking");
    assert_eq!(adder.call_blocking(2), Ok(2));
    let other = adder.clone();
    let there = std::thread::spawn(move || other.call_blocking(3));
    assert_eq!(there.join().unwrap(), Ok(5));
    // Nor one of tokio's.
    assert_eq!(futures::executor::block_on(adder.call(4)), Ok(9));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(adder.call(1)), Ok(10));
}

#[tokio::test]
async fn a_panic_reaches_its_caller_and_the_next_call_has_a_new_state() {
    let adder = adder("serve-panic");
    assert_eq!(adder.call(7).await, Ok(7));
    let panicked = adder.call(0).await;
    assert_eq!(panicked, Err(CallError::Panicked("nothing to add".to_owned())));
    assert_eq!(adder.call(1).await, Ok(1));
}

#[tokio::test]
async fn an_init_that_panics_is_tried_again_at_the_next_call() {
    let mut tries = 0;
    let init = move || {
        tries += 1;
        if tries < 3 {
            std::panic::resume_unwind(Box::new(format!("try {tries}")));
        }
        tries
    };
    let server = serve("serve-init", init, |made, ()| *made).unwrap();
    assert_eq!(
        server.call(()).await,
        Err(CallError::Panicked("try 1".to_owned()))
    );
    assert_eq!(
        server.call(()).await,
        Err(CallError::Panicked("try 2".to_owned()))
    );
    assert_eq!(server.call(()).await, Ok(3));
    assert_eq!(server.call(()).await, Ok(3));
}

/// Panics when it is dropped, with a payload that does so too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(Payload);
        }
    }
}

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("again"));
        }
    }
}

#[tokio::test]
async fn destructors_that_panic_do_not_end_the_thread() {
    let server = serve(
        "serve-bombs",
        || Bomb,
        |_state: &mut Bomb, gate: Option<mpsc::Receiver<()>>| {
            let Some(gate) = gate else {
                std::panic::resume_unwind(Box::new(Payload));
            };
            gate.recv().unwrap();
            gate.recv().unwrap();
            Bomb
        },
    )
    .unwrap();
    for _ in 0..3 {
        assert!(matches!(server.call(None).await, Err(CallError::Panicked(_))));
        // The reply goes off where nobody waits for it any more, which is on the thread.
        let (go_on, gate) = mpsc::sync_channel(0);
        let unheard = server.try_call(Some(gate)).unwrap();
        go_on.send(()).unwrap(); // taken when the call has begun
        drop(unheard);
        go_on.send(()).unwrap();
    }
    server.close();
    server.ended().await;
    wait_until("it has ended", || Counts::of("serve-bombs").ended() == 1);
    assert_eq!(
        Counts::of("serve-bombs").finished[lifespan::Outcome::Completed as usize],
        1
    );
}

#[tokio::test]
async fn the_queue_is_bounded_and_gives_back_what_it_cannot_take() {
    let (server, begun, go_on) = gated("serve-full");
    let first = server.try_call(0).unwrap();
    assert_eq!(begun.recv(), Ok(0));
    let waiting: Vec<_> = (1..=MAX_CALLS as u64)
        .map(|number| server.try_call(number).unwrap())
        .collect();
    let refused = server.try_call(1_000).unwrap_err();
    assert!(matches!(refused, CallRefused::Full(1_000)), "{refused:?}");
    // One that waits for room, and is given up, is not made.
    assert!(futures::poll!(Box::pin(server.call(2_000))).is_pending());
    for _ in 0..=MAX_CALLS {
        go_on.send(()).unwrap();
    }
    assert_eq!(first.await, Ok(0));
    for (number, reply) in (1..).zip(waiting) {
        assert_eq!(reply.await, Ok(number));
    }
    drop(server);
    assert_eq!(begun.iter().last(), Some(MAX_CALLS as u64));
}

#[tokio::test]
async fn a_call_whose_caller_has_gone_is_left_out() {
    let (server, begun, go_on) = gated("serve-gone");
    let first = server.try_call(1).unwrap();
    assert_eq!(begun.recv(), Ok(1));
    let second = server.try_call(2).unwrap();
    let third = server.try_call(3).unwrap();
    drop(second);
    for _ in 0..3 {
        go_on.send(()).unwrap();
    }
    assert_eq!((first.await, third.await), (Ok(1), Ok(3)));
    drop(server);
    assert_eq!(begun.iter().collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn a_close_answers_the_calls_that_wait_and_no_others() {
    let (server, begun, go_on) = gated("serve-close");
    let first = server.try_call(1).unwrap();
    assert_eq!(begun.recv(), Ok(1));
    let second = server.try_call(2).unwrap();
    let other = server.clone();
    server.close();
    assert_eq!(other.call(3).await, Err(CallError::Closed));
    assert!(matches!(other.try_call(4), Err(CallRefused::Closed(4))));
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
    other.ended().await;
    wait_until("it has ended", || Counts::of("serve-close").ended() == 1);
}

#[tokio::test]
async fn a_caller_that_does_not_look_does_not_hold_up_the_end() {
    let (server, begun, go_on) = gated("serve-unlooked");
    let mut call = Box::pin(server.call(1));
    assert!(futures::poll!(&mut call).is_pending());
    assert_eq!(begun.recv(), Ok(1));
    server.close();
    go_on.send(()).unwrap();
    let ended = tokio::time::timeout(DEADLINE, server.ended());
    ended.await.unwrap();
    assert_eq!(call.await, Ok(1));
}

#[test]
fn the_last_handle_ends_the_thread_and_its_state() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let server = serve(
        "serve-last",
        move || Counted(Arc::clone(&counted)),
        |_: &mut Counted, ()| (),
    )
    .unwrap();
    let other = server.clone();
    drop(server);
    assert_eq!(other.call_blocking(()), Ok(()));
    assert_eq!(dropped.load(SeqCst), 0);
    drop(other);
    wait_until("it has ended", || Counts::of("serve-last").ended() == 1);
    assert_eq!(dropped.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_a_long_lived_thread_in_the_scope_of_who_started_it() {
    let scope = Scope::new("serve-scope");
    let started = scope.spawn("serve-scope-opener", |_cx| async { adder("serve-scope") });
    let adder = started.await.unwrap();
    adder.call(1).await.unwrap();
    let rows = rows_of(KindId::named("serve-scope"));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].scope.as_deref(), Some("serve-scope"));
    assert_eq!(rows[0].nature, registry::Nature::Thread);
    assert!(rows[0].long_lived);
    let report = scope.close(std::time::Duration::from_secs(1)).await;
    assert_eq!(report.late.len(), 1);
    assert_eq!(report.late[0].fate, lifespan::scope::Fate::Unabortable);
    assert_eq!(adder.call(1).await, Ok(2));
    adder.close();
    adder.ended().await;
    wait_until("it has left", || scope.tasks() == 0);
}
