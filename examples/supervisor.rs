//! A pipeline of which one part fails: who is started again, and what happens when it fails too often.
//!
//! Run it with `cargo run --example supervisor`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use lifespan::supervisor::{self, Backoff, ChildSpec, Context, End, Strategy, Supervisor};
use lifespan::{Scope, event};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

/// Works until it is told to stop.
async fn lasts(cx: Context) {
    cx.ready();
    cx.cancelled().await;
}

/// Fails after a while, as things do that have a bad connection.
async fn flaps(cx: Context) -> Result<(), String> {
    tokio::select! {
        _ = cx.cancelled() => Ok(()),
        () = sleep(10 * MS) => Err(format!("run {}: the connection broke", cx.restarts() + 1)),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), supervisor::StartError> {
    let service = Scope::root();
    let ingest = Supervisor::builder("ingest")
        .strategy(Strategy::RestForOne) // who fails takes those behind it along
        .intensity(3, Duration::from_secs(10)) // a fourth time, and it gives up
        .child(ChildSpec::new("reader", lasts).start_timeout(Duration::from_secs(1)))
        .child(ChildSpec::new("parser", flaps).backoff(Backoff::new(5 * MS, 50 * MS)))
        .child(ChildSpec::new("writer", lasts))
        .start(&service)
        .await?;
    println!(
        "{} of {} children run",
        ingest.count().active,
        ingest.count().specs
    );

    // Here it does: a parser that cannot be helped, and with none above it, its scope is cancelled.
    let End::GaveUp(why) = ingest.ended().await else {
        unreachable!("nobody stops it");
    };
    println!("{why}");
    for child in ingest.list() {
        let last = child.last_exit.and_then(|exit| exit.error).unwrap_or_default();
        println!("  {:<6} restarts {}  {last}", child.name, child.restarts);
    }
    assert_eq!(supervisor::exhausted(), ["ingest".into()]); // and /readyz says so
    println!("{}", service.close(Duration::from_secs(1)).await);

    println!("what was told of it:");
    for told in event::recent().entries.iter().take(8) {
        let child = told.subject.child.as_deref().unwrap_or("-");
        println!("  {:<6} {}", child, told.event.name());
    }
    Ok(())
}
