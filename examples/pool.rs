//! Work in bounds: a pool that says when it is full, and one thread that answers calls.
//!
//! Run it with `cargo run --example pool`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lifespan::{Scope, WorkerPool, thread, worker};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // At the edge: 2 run, 3 wait, and who comes then is told so at once.
    let pool = WorkerPool::builder("resize")
        .workers(2)
        .queue(3)
        .build(&Scope::root());
    let mut jobs = Vec::new();
    for n in 0..8u32 {
        match pool.try_submit(move |_cx| async move {
            sleep(10 * MS).await;
            n * n
        }) {
            Ok(job) => jobs.push(job),
            Err(refused) => println!("request {n}: 503, {refused}"),
        }
    }
    // Inside: wait for room, and so pass the pressure on.
    jobs.push(pool.submit(|_cx| async { 64 }).await?);

    // No more; what was accepted is done.
    let report = pool.close(Duration::from_secs(1)).await;
    println!("{report}");
    for job in jobs {
        println!("  {}", job.await?);
    }
    let row = &worker::pools()[0];
    assert_eq!((row.offered, row.done, row.rejected), (9, 6, 3));

    // What belongs to one thread: made there, and never leaves it.
    let journal = thread::serve(
        "journal",
        || Rc::new(RefCell::new(Vec::new())),
        |lines, line: &'static str| {
            lines.borrow_mut().push(line);
            lines.borrow().len()
        },
    )?;
    for line in ["started", "stopped"] {
        println!("{} lines, with {line:?}", journal.call(line).await?);
    }
    journal.close();
    journal.ended().await;
    Ok(())
}
