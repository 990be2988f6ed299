//! What 1,000,000 live tasks take: memory, a sweep, a scrape, a dump.
//!
//! ```text
//! cargo bench --bench scale               # builds itself again with the features that it needs, if it lacks them
//! cargo bench --bench scale -- --test     # 10,000 tasks: does it still run?
//! ```
//!
//! Writes `target/lifespan-bench/scale.json`: an array of `{"case", "value", "unit", "target"}`, and prints a table.
//! It reports whether a target is met, and fails only where something did not work.
//!
//! # Method
//!
//! Each configuration has a process of its own (`child.rs`): tasks that wait for one `Notify`, of four kinds, on a
//! current-thread runtime; spawned raw, by `lifespan::spawn`, and with a name. Bytes a task are the difference to
//! raw of what is resident once all of them wait, over their number. A raw task here takes 456 B with glibc, 272 of them
//! its cell. The `Extra` of a named task showed as nothing there; we take it that it fits into the gaps that the cell's
//! alignment leaves, and expect it to show with another allocator.
//!
//! In the second process (`readers.rs`): the median of 15 sweeps; `registry::rows` from first to last; and with the agent
//! on its own thread, over HTTP on loopback by a client that keeps nothing: `/metrics` 100 times, its median against
//! that of a process with 1,000 tasks; the streamed `/debug/tasks`, whose extra memory is the peak while it is sent
//! (`VmHWM`) over what was resident before. Client and agent share the machine's cores. At the end all tasks end, and
//! one sweep gives their records' memory back.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]

mod child;
#[cfg(all(feature = "server", feature = "prometheus"))]
mod http;
mod memory;
mod readers;
mod report;

use std::process::{Command, ExitCode, Stdio};

use child::{Figures, Spawner};
use report::Report;

/// What it is measured at; and, for what must not depend on it, against.
const TASKS: u64 = 1_000_000;
const FEW: u64 = 1_000;
const TASKS_OF_A_TEST: u64 = 10_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--child", spawner, tasks] => serve(spawner, tasks),
        // `cargo bench` says `--bench`; `cargo test --benches` does not, and wants to know that it runs.
        ["--bench"] if cfg!(all(feature = "server", feature = "prometheus")) => measure(TASKS),
        ["--bench"] => again_with_features(),
        [] | ["--test"] | ["--bench", "--test"] | ["--test", "--bench"] => measure(TASKS_OF_A_TEST),
        _ => Err(format!("unknown options {}; known is --test", args.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn again_with_features() -> Result<(), String> {
    println!("building once more, with the features `server` and `prometheus`");
    let status = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--features",
            "server,prometheus",
            "--bench",
            "scale",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("see above".to_owned())
    }
}

fn measure(tasks: u64) -> Result<(), String> {
    let [raw, bare, named] = Spawner::ALL.map(|spawner| start(spawner, tasks));
    let report = Report::new(tasks, &raw?, &bare?, &named?, &start(Spawner::Bare, FEW)?);
    report.print();
    println!("written: {}", report.write()?.display());
    Ok(())
}

/// One configuration, in a new process.
fn start(spawner: Spawner, tasks: u64) -> Result<Figures, String> {
    println!("{tasks} tasks: {}", spawner.name());
    let this = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let output = Command::new(this)
        .args(["--child", spawner.name(), &tasks.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .env_remove("LIFESPAN_DISABLED")
        .env_remove("LIFESPAN_TOKEN")
        .output()
        .map_err(|error| format!("{}: {error}", spawner.name()))?;
    if !output.status.success() {
        return Err(format!(
            "the process of {} failed: {}",
            spawner.name(),
            output.status
        ));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the process of {}: {error}", spawner.name()))
}

fn serve(spawner: &str, tasks: &str) -> Result<(), String> {
    let spawner = Spawner::ALL.into_iter().find(|known| known.name() == spawner);
    let (Some(spawner), Ok(tasks)) = (spawner, tasks.parse()) else {
        return Err("unknown configuration".to_owned());
    };
    let figures = child::run(spawner, tasks)?;
    println!("{}", serde_json::Value::Object(figures));
    Ok(())
}
