//! What it costs to ask idle tasks where they wait.
//!
//! ```text
//! cargo bench --features profile --bench dump           # 1,000, 10,000 and 100,000 tasks
//! cargo bench --features profile --bench dump -- --test # 1,000: does it still run?
//! ```
//!
//! Writes `target/lifespan-bench/dump.json`: an array with one object for each number of tasks.
//!
//! A quarter of the tasks wait in a `select!`, the others in one leaf. Each number has a process of its own. The first
//! dump of a process reads the symbols of its code; figures are of the second one, which asks every task anew; both
//! are told. CPU time is that of the whole process, the agent's share included. A task of the same runtime sleeps a
//! millisecond at a time and remembers by how much it was late at worst.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lifespan::KindId;
use lifespan::profile::{Ask, Dump, Waits, dump};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--bench")
        .collect();
    let done = match words.as_slice() {
        ["--child", tasks] => tasks.parse().map_err(|_| "no number".to_owned()).and_then(child),
        ["--test"] => all(&[1_000]),
        [] => all(&[1_000, 10_000, 100_000]),
        other => Err(format!("unknown arguments: {other:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all(sizes: &[usize]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let mut objects = Vec::new();
    for tasks in sizes {
        let run = Command::new(&this).args(["--child", &tasks.to_string()]).output();
        let run = run.map_err(|error| format!("{tasks} tasks: {error}"))?;
        let told = String::from_utf8_lossy(&run.stdout).trim().to_owned();
        if !run.status.success() {
            return Err(format!(
                "{tasks} tasks: {}: {}",
                run.status,
                String::from_utf8_lossy(&run.stderr)
            ));
        }
        println!("{told}");
        objects.push(told);
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lifespan-bench");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("dump.json"), format!("[{}]\n", objects.join(",\n"))));
    written.map_err(|error| format!("{}: {error}", folder.display()))
}

fn child(tasks: usize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    let senders = spawn(&runtime, tasks);
    let late = Arc::new(AtomicU64::new(0));
    let worst = Arc::clone(&late);
    runtime.spawn(async move {
        loop {
            let start = Instant::now();
            sleep(Duration::from_millis(1)).await;
            let late = start.elapsed().saturating_sub(Duration::from_millis(1));
            worst.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let calm = late.swap(0, Relaxed);
    let asker = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    let mut ask = Ask::default();
    ask.kinds = vec![KindId::named("idle")];
    ask.most = tasks;
    ask.long_idle = Duration::ZERO;
    let once = || {
        let (cpu, bytes) = (cpu_us(), resident()?);
        late.store(0, Relaxed);
        let dump = asker
            .block_on(dump(&ask))
            .map_err(|refused| refused.to_string())?;
        Ok::<_, String>((
            cpu_us() - cpu,
            late.load(Relaxed),
            resident()?.saturating_sub(bytes),
            dump,
        ))
    };
    let (first_cpu, first_late, _, first) = once()?;
    drop(first);
    let (cpu, late, bytes, dump) = once()?;
    println!(
        "{{\"tasks\":{tasks},\"answered\":{},\"stacks\":{},\"cut\":{},\"took_ms\":{},\"cpu_ms\":{},\"cpu_ns_a_task\":{},\
         \"ticker_late_us\":{late},\"ticker_calm_us\":{calm},\"bytes\":{bytes},\"first_cpu_ms\":{},\"first_ticker_late_us\":{first_late}}}",
        answered(&dump).0,
        answered(&dump).1,
        dump.cut,
        dump.took.as_millis(),
        cpu / 1_000,
        cpu * 1_000 / tasks as u64,
        first_cpu / 1_000,
    );
    drop(senders);
    runtime.shutdown_background();
    Ok(())
}

fn answered(dump: &Dump) -> (usize, usize) {
    let stacks = dump.tasks.iter().filter_map(|task| match &task.waits {
        Waits::At(stacks) => Some(stacks.len()),
        _ => None,
    });
    stacks.fold((0, 0), |(tasks, all), stacks| (tasks + 1, all + stacks))
}

fn spawn(runtime: &Runtime, tasks: usize) -> Vec<mpsc::Sender<u8>> {
    let _in_runtime = runtime.enter();
    let spawn = |task| {
        let (sender, mut receiver) = mpsc::channel::<u8>(1);
        match task % 4 {
            0 | 1 => drop(lifespan::spawn("idle", async move { receiver.recv().await })),
            2 => drop(lifespan::spawn("idle", async {
                sleep(Duration::from_secs(3_600)).await;
            })),
            _ => drop(lifespan::spawn("idle", async move {
                tokio::select! {
                    _ = receiver.recv() => {}
                    () = sleep(Duration::from_secs(3_600)) => {}
                }
            })),
        }
        sender
    };
    (0..tasks).map(spawn).collect()
}

/// What the process's threads have used, in microseconds. None of them ends meanwhile.
fn cpu_us() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanos = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanos.sum::<u64>() / 1_000
}

fn resident() -> Result<u64, String> {
    let statm =
        std::fs::read_to_string("/proc/self/statm").map_err(|error| format!("/proc/self/statm: {error}"))?;
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages
        .map(|pages| pages * 4_096)
        .ok_or_else(|| "/proc/self/statm has no pages".to_owned())
}
