//! What an agent tells of tasks that nobody else tells of.

use std::future::pending;

use lifespan::event::{Event, recent};
use lifespan::{Agent, Builder, KindId, Outcome};

use crate::support::wait_until;

fn agent() -> Agent {
    let builder = Agent::builder("test");
    #[cfg(feature = "server")]
    let builder = builder.without_server();
    builder.start().unwrap()
}

/// The events of a kind, and the names of their tasks.
fn told(kind: KindId) -> Vec<(Event, Option<String>)> {
    let entries = recent().entries;
    let ours = entries.iter().filter(|entry| entry.subject.kind == Some(kind));
    ours.map(|entry| {
        assert!(entry.subject.task.is_some());
        (
            entry.event.clone(),
            entry.subject.name.as_deref().map(str::to_owned),
        )
    })
    .collect()
}

fn names(kind: KindId) -> Vec<&'static str> {
    told(kind).iter().map(|(event, _)| event.name()).collect()
}

#[tokio::test]
async fn a_task_that_is_to_live_for_ever_is_told_of_at_both_ends() {
    let _agent = agent();
    let kind = KindId::named("event-daemon");
    let task = Builder::new(kind)
        .name("only")
        .long_lived()
        .spawn(pending::<()>());
    wait_until("its begin is told", || !told(kind).is_empty());
    // Each sweep sees it, and it is told once.
    lifespan::registry::sweep();
    task.abort();
    task.await.unwrap_err();
    wait_until("its end is told", || told(kind).len() > 1);
    assert_eq!(names(kind), ["spawned", "stopped"]);
    for (event, name) in told(kind) {
        assert_eq!(name.as_deref(), Some("only"));
        if let Event::Stopped { outcome, ran, .. } = event {
            assert_eq!(outcome, Outcome::Cancelled);
            assert!(!ran.is_zero());
        }
    }
}

#[tokio::test]
async fn one_that_no_sweep_has_seen_is_told_of_at_both_ends_too() {
    let agent = agent();
    let kind = KindId::named("event-short-daemon");
    Builder::new(kind).long_lived().spawn(async {}).await.unwrap();
    agent.shutdown(lifespan::agent::STOP_LIMIT).unwrap();
    wait_until("it is told", || told(kind).len() > 1);
    assert_eq!(names(kind), ["spawned", "stopped"]);
}

#[tokio::test]
async fn a_panic_is_told_of_any_task_and_an_end_in_peace_is_not() {
    let _agent = agent();
    let (peace, panics) = (KindId::named("event-peace"), KindId::named("event-panics"));
    lifespan::spawn(peace, async {}).await.unwrap();
    let panic = lifespan::spawn(panics, async { panic!("told as an event") }).await;
    panic.unwrap_err();
    wait_until("the panic is told", || told(panics).len() > 1);
    assert_eq!(names(panics), ["panicked", "stopped"]);
    let (event, _) = &told(panics)[0];
    let Event::Panicked {
        message, location, ..
    } = event
    else {
        unreachable!()
    };
    assert_eq!(&**message, "told as an event");
    assert!(location.as_deref().unwrap().contains("lives.rs:"), "{location:?}");
    // It ended before, and nothing of it was told.
    assert!(told(peace).is_empty());
}
