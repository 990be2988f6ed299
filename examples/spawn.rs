//! Tasks with kinds: their counts, and a row for each that lives.
//!
//! Run it with `cargo run --example spawn`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use lifespan::{Kind, Outcome, Track, registry};

static WORKER: Kind = Kind::new("worker");

#[tokio::main]
async fn main() {
    // tokio's own handle comes back, and a panic still reaches it.
    let answers = (0..3).map(|n| lifespan::spawn(&WORKER, async move { n * n }));
    for answer in answers.collect::<Vec<_>>() {
        answer.await.expect("it does not panic");
    }

    // Any future can be tracked, whoever spawns it; an `Err` can be told apart.
    let parse = async { "six".parse::<u32>() };
    #[expect(clippy::disallowed_methods, reason = "to show that any spawner will do")]
    let parsed = tokio::spawn(parse.tracked("parser").fallible()).await;
    assert!(parsed.expect("it does not panic").is_err());

    // More to say of a task than its kind.
    let shard = lifespan::Builder::new("shard")
        .name("shard-7")
        .attribute("table", "orders")
        .long_lived()
        .spawn(tokio::time::sleep(Duration::from_secs(3_600)));

    // Code that blocks.
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let job = lifespan::spawn_blocking("thumbnail", move || receiver.recv().is_err());
    tokio::task::yield_now().await;

    println!(
        "{:<10} {:>7} {:>5} {:>9} {:>6}",
        "kind", "spawned", "live", "completed", "failed"
    );
    for kind in registry::kinds().iter().filter(|kind| kind.spawned > 0) {
        println!(
            "{:<10} {:>7} {:>5} {:>9} {:>6}",
            kind.kind,
            kind.spawned,
            kind.live(),
            kind.finished.with(Outcome::Completed),
            kind.finished.with(Outcome::Failed),
        );
    }
    println!();
    for row in registry::rows() {
        let name = row.name.as_deref().unwrap_or("-");
        let site = row.spawned_at.map(ToString::to_string).unwrap_or_default();
        println!(
            "{} {} {name} {} {:?} {site}",
            row.id, row.kind, row.state, row.age
        );
    }

    drop(sender);
    assert!(job.await.expect("it does not panic"));
    shard.abort();
}
