//! The same work, done by a child of a supervisor.

use std::time::Duration;

use lifespan::supervisor::{ChildSpec, IntoExit, Supervisor};
use lifespan::{Kind, Scope};
use tokio::sync::oneshot;

use crate::cases::{Case, SelfWakes};

static KIND: Kind = Kind::new("bench-child");

/// One supervisor with one child does it so often; the start and the stop of the supervisor are part of it.
pub(crate) async fn run(case: Case, ops: u64) {
    if case == Case::Poll {
        // One long run: a restart for each thousand polls would be most of what is measured.
        supervise(1, move |left| SelfWakes(if left == 0 { 0 } else { ops })).await;
    } else {
        supervise(ops, |_| std::future::ready(Err::<(), _>("it fails"))).await;
    }
}

/// Runs a child so often, and tells each run how many there are from it on; that after the last one says so.
async fn supervise<F>(runs: u64, run: impl Fn(u64) -> F + Send + 'static)
where
    F: Future + Send + 'static,
    F::Output: IntoExit,
{
    let (tell, told) = oneshot::channel();
    let (mut left, mut tell) = (runs, Some(tell));
    let child = ChildSpec::new("child", move |_| {
        if left == 0
            && let Some(tell) = tell.take()
        {
            tell.send(()).expect("somebody waits");
        }
        let next = run(left);
        left = left.saturating_sub(1);
        next
    });
    let supervisor = Supervisor::builder("bench")
        .intensity(u32::MAX, Duration::from_secs(1))
        .child(child.kind(&KIND))
        .start(&Scope::new("bench"))
        .await
        .expect("it is valid");
    told.await.expect("it runs so often");
    supervisor.stop().await;
}
