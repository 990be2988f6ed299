//! A child that does as it is told, and a log of what such children did.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifespan::supervisor::{ChildSpec, Context, Exit};
use tokio::sync::oneshot;

/// What happened, in order: `+a` as child `a` starts, `-a` when it has ended and its destructors run.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// What happened since it was asked last, with blanks between.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }
}

/// How a child is to end.
#[derive(Debug)]
pub(super) enum Order {
    Done,
    Fail,
    Stop,
    Escalate,
    Panic,
    /// With a payload whose destructor panics.
    Bomb,
    /// With one whose destructor panics with such a payload.
    BombOfBombs,
    /// As it is dropped.
    PanicInDrop,
}

/// A child of a test.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) name: &'static str,
    log: Log,
    order: Arc<Mutex<Option<oneshot::Sender<Order>>>>,
    running: Arc<AtomicUsize>,
    starts: Arc<AtomicUsize>,
}

impl Actor {
    pub(super) fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            log: log.clone(),
            order: Arc::default(),
            running: Arc::default(),
            starts: Arc::default(),
        }
    }

    /// Runs until it is cancelled or told to end. Its kind is shared by all of its test.
    pub(super) fn spec(&self) -> ChildSpec {
        let actor = self.clone();
        ChildSpec::new(self.name, move |cx| actor.clone().run(cx)).kind("sup-actor")
    }

    /// The same, and says that it is ready, after so long.
    pub(super) fn ready_after(&self, wait: Duration) -> ChildSpec {
        let actor = self.clone();
        let spec = ChildSpec::new(self.name, move |cx| {
            let actor = actor.clone();
            async move {
                tokio::time::sleep(wait).await;
                actor.log.push(format!("={}", actor.name));
                cx.ready();
                actor.run(cx).await
            }
        });
        spec.kind("sup-actor").start_timeout(Duration::from_secs(60))
    }

    pub(super) async fn run(self, cx: Context) -> Exit {
        let (order, mut ordered) = oneshot::channel();
        *self.order.lock().unwrap() = Some(order);
        let mut guard = Guard::enter(&self);
        let order = tokio::select! {
            _ = cx.cancelled() => return Exit::Done,
            order = &mut ordered => order.unwrap(),
        };
        match order {
            Order::Done => Exit::Done,
            Order::Fail => Exit::restart("told to fail"),
            Order::Stop => Exit::Stop,
            Order::Escalate => Exit::escalate("told to escalate"),
            Order::Panic => panic!("told to panic"),
            Order::Bomb => std::panic::panic_any(Bomb(1)),
            Order::BombOfBombs => std::panic::panic_any(Bomb(100)),
            Order::PanicInDrop => {
                guard.panics = true;
                Exit::Done
            }
        }
    }

    /// Tells it to end so, and lets everybody react.
    pub(super) async fn order(&self, order: Order) {
        let to = self.order.lock().unwrap().take().expect("it runs");
        to.send(order).expect("it listens");
        super::settle().await;
    }

    /// Counts as a run for as long as what it returns lives.
    pub(super) fn hold(&self) -> impl Send + use<> {
        Guard::enter(self)
    }

    pub(super) fn starts(&self) -> usize {
        self.starts.load(SeqCst)
    }

    pub(super) fn runs(&self) -> bool {
        self.running.load(SeqCst) == 1
    }
}

/// Drops with a panic of its own kind, so many times deep.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(next) = self.0.checked_sub(1) {
            std::panic::panic_any(Self(next));
        }
    }
}

/// From the start of a run to the moment when its destructors run.
struct Guard {
    actor: Actor,
    panics: bool,
}

impl Guard {
    fn enter(actor: &Actor) -> Self {
        assert_eq!(actor.running.fetch_add(1, SeqCst), 0, "{} runs twice", actor.name);
        actor.starts.fetch_add(1, SeqCst);
        actor.log.push(format!("+{}", actor.name));
        Self {
            actor: actor.clone(),
            panics: false,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.actor.log.push(format!("-{}", self.actor.name));
        self.actor.running.fetch_sub(1, SeqCst);
        assert!(!self.panics, "told to panic as it is dropped");
    }
}
