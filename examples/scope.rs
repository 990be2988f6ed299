//! A request that must be done in time, and a shutdown that names what did not stop.
//!
//! Run it with `cargo run --example scope`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use lifespan::{Reason, Scope};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = Scope::root();

    // A request has half a second, and its parts have no more.
    let request = service.child("request").timeout(500 * MS);
    let parts = [20u32, 10].map(|ms| {
        move |_cx| async move {
            sleep(ms * MS).await;
            Ok::<_, std::io::Error>(ms)
        }
    });
    let joined = request.try_join("db-query", parts).await;
    println!("both parts: {:?}", joined.expect("none fails"));

    // A client goes away. Whatever the request spawned is told, through however many tasks.
    let told = request.spawn("order", |cx| async move {
        let watcher = lifespan::spawn("watcher", async move { cx.cancelled().await });
        watcher.await.expect("it does not panic")
    });
    request.cancel(Reason::new("client went away"));
    println!("the task was told: {}", told.await.expect("it does not panic"));

    // The explicit end: what is to be done then is done in reverse order, each in its time.
    service
        .on_close("flush", 100 * MS, async { println!("flushed") })
        .expect("the scope is open");

    // One that does not listen, and one that nothing can abort.
    service.spawn("deaf", |_cx| std::future::pending::<()>());
    service
        .spawn("opener", |_cx| async {
            lifespan::spawn_blocking("blocked", || std::thread::sleep(1_000 * MS));
        })
        .await
        .expect("it does not panic");

    let report = service.close(200 * MS).await;
    println!("{report}");
    assert_eq!(report.late.len(), 2);
    assert_eq!(report.survivors().count(), 1);
}
