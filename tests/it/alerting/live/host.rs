//! A service in this process, for the alerts that no fault of the demo raises: it works, and fails when it is told to.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use lifespan::supervisor::{Backoff, Builder, ChildSpec, Context, Supervisor};
use lifespan::{Agent, Reason, Scope, WorkerPool};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

pub(super) struct Host {
    agent: Agent,
    runtime: Runtime,
    fails: watch::Sender<bool>,
    blocks: watch::Sender<bool>,
}

impl Host {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let agent = Agent::builder("host").listen(([127, 0, 0, 1], 0));
        let agent = agent.watch(runtime.handle()).start().unwrap();
        let fails = watch::Sender::new(false);
        let told = fails.subscribe();
        runtime.spawn(work(told.clone()));
        runtime.spawn(submit(told.clone()));
        runtime.spawn(supervise(told.clone()));
        runtime.spawn(overstay(told));
        Self {
            agent,
            runtime,
            fails,
            blocks: watch::Sender::new(false),
        }
    }

    pub(super) fn agent(&self) -> SocketAddr {
        self.agent.address().unwrap()
    }

    /// From now on, tasks are left behind, children fail, pools are full; or all of that is over.
    pub(super) fn fails(&self, fails: bool) {
        self.fails.send_replace(fails);
    }

    /// Blocks each worker, and fills the pool for blocking jobs; or lets go.
    pub(super) fn blocks(&self, blocks: bool) {
        self.blocks.send_replace(blocks);
        if !blocks {
            return;
        }
        let _on = self.runtime.enter();
        for number in 0..20 + WORKERS {
            let told = self.blocks.subscribe();
            let block = move || {
                while *told.borrow() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            };
            if number < WORKERS {
                lifespan::spawn("host-blocks", async move {
                    // A kind that was polled before.
                    tokio::task::yield_now().await;
                    block();
                });
            } else {
                lifespan::spawn_blocking("host-job", block);
            }
        }
    }
}

const WORKERS: usize = 2;
const STEP: Duration = Duration::from_millis(50);

/// Tasks that end, and when it fails, 300 that do not.
async fn work(told: watch::Receiver<bool>) {
    let mut left = 0;
    loop {
        if !*told.borrow() {
            left = 0;
        } else if left < 300 {
            left += 10;
            for _ in 0..10 {
                lifespan::spawn("host-work", until(told.clone(), false));
            }
        }
        lifespan::spawn("host-work", sleep(STEP));
        sleep(STEP).await;
    }
}

/// Jobs for a pool that has room, and none when it fails.
async fn submit(told: watch::Receiver<bool>) {
    let pool = WorkerPool::builder("host-pool").workers(1).queue(1);
    let pool = pool.build(&Scope::new("host"));
    loop {
        let told = told.clone();
        // What was refused is counted.
        let _ = pool.try_submit(|_cx| until(told, false));
        sleep(2 * STEP).await;
    }
}

async fn supervise(told: watch::Receiver<bool>) {
    let scope = Scope::new("host");
    let fails = told.clone();
    let storm = ChildSpec::new("crasher", move |_cx| crash(fails.clone()));
    let beats = told.clone();
    let silent = ChildSpec::new("silent", move |cx| beat(cx, beats.clone()));
    let tree = Supervisor::builder("host-tree").intensity(1_000_000, Duration::from_secs(1));
    let silent = silent
        .heartbeat(Duration::from_secs(2))
        .backoff(Backoff::default());
    let tree = tree.child(storm).child(silent);
    let _tree = tree.start(&scope).await.unwrap();
    loop {
        // It gives up at the first failure, and its scope with it; a new one of its name is what ends the alert.
        let frail = frail(told.clone()).start(&Scope::new("host")).await.unwrap();
        until(told.clone(), true).await;
        until(told.clone(), false).await;
        frail.stop().await;
    }
}

async fn beat(cx: Context, told: watch::Receiver<bool>) {
    loop {
        if !*told.borrow() {
            cx.heartbeat();
        }
        sleep(STEP).await;
    }
}

fn frail(told: watch::Receiver<bool>) -> Builder {
    let child = ChildSpec::new("frail", move |_cx| crash(told.clone()));
    Supervisor::builder("host-frail")
        .intensity(0, Duration::from_secs(60))
        .child(child)
}

async fn crash(told: watch::Receiver<bool>) -> Result<(), &'static str> {
    until(told, true).await;
    sleep(STEP / 5).await;
    Err("told to fail")
}

/// A scope that is cancelled, with a task that does not listen.
async fn overstay(told: watch::Receiver<bool>) {
    loop {
        until(told.clone(), true).await;
        let scope = Scope::new("host-request");
        let over = told.clone();
        scope.spawn("host-overstays", |_cx| until(over, false));
        scope.cancel(Reason::new("the client went away"));
        until(told.clone(), false).await;
    }
}

/// Waits until it is told so.
async fn until(mut told: watch::Receiver<bool>, what: bool) {
    if told.wait_for(|now| *now == what).await.is_err() {
        pending::<()>().await;
    }
}
