//! A service that is told to end: what is drained in which order, and who was late.
//!
//! Run it with `cargo run --example shutdown`. It tells itself; Ctrl-C or SIGTERM do the same.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use lifespan::shutdown::{self, Finished, Settings};
use lifespan::{Reason, Scope};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Finished<()> {
    let settings = Settings::new().readiness_delay(50 * MS).grace(400 * MS);
    let finished = settings.run(service).await;
    // As an exit code it is 0: what was late could be aborted.
    println!("{}", finished.report);
    assert_eq!(finished.report.late.len(), 1);
    assert_eq!(finished.report.survivors().count(), 0);
    finished
}

async fn service(root: Scope) {
    // Made first, closed last: requests need it to the end.
    let database = root.child("database");
    database.spawn("pool", |cx| async move {
        cx.cancelled().await;
        println!("the database closes");
    });
    database
        .on_close("flush", 100 * MS, async { println!("flushed") })
        .expect("the scope is open");

    let http = root.child("http");
    http.spawn("listener", |cx| async move {
        cx.cancelled().await;
        println!("no more requests");
    });
    // One that takes its time, and has it.
    http.spawn("request", |_cx| async {
        sleep(100 * MS).await;
        println!("a request is answered");
    });
    // One that does not listen: it is aborted when its time is over.
    http.spawn("deaf", |_cx| std::future::pending::<()>());

    sleep(20 * MS).await;
    shutdown::initiate(Reason::new("an example ends"));
    // From here on /readyz says 503, and the service works on until load balancers have taken notice.
    println!("draining: {}", shutdown::requested().await);
}
