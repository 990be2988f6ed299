//! Dumps that the agent writes of its own accord, while nobody else could.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use lifespan::agent::{DumpSignal, Dumps};
use lifespan::{Agent, registry};
use tokio::runtime::Runtime;

use crate::processes::run_alone;
use crate::support::wait_until;

#[test]
fn a_signal_gets_a_dump_while_every_worker_is_blocked() {
    run_alone("pprof::unasked::signal_alone", &[]);
}

#[test]
#[ignore = "needs a process of its own"]
fn signal_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.txt");
    let agent = Agent::builder("unasked")
        .without_server()
        .dumps(Dumps::new().on_signal(DumpSignal::Usr2).to_file(&file))
        .start()
        .unwrap();
    assert!(agent.status().dumps.is_on());
    wait_until("the signal is caught", || caught(12));
    let blocked = Blocked::new();
    send("USR2");
    let dump = whole(&file);
    assert_eq!(dump.matches("{kind: unasked-blocked}").count(), 2, "{dump}");
    assert_eq!(dump.matches("[running").count(), 2, "{dump}");
    assert!(
        dump.contains("{kind: unasked-waits, name: \"the one\"}"),
        "{dump}"
    );
    assert!(dump.contains("\nthe last exits, 1 of 1:\ntask "), "{dump}");
    assert!(dump.contains(" {kind: unasked-ended}"), "{dump}");
    // Nobody but its owner can read it.
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // A second one takes its place.
    std::fs::remove_file(&file).unwrap();
    send("USR2");
    whole(&file);
    drop(blocked);
}

#[test]
fn a_file_that_appears_gets_a_dump_and_is_taken_away() {
    run_alone("pprof::unasked::file_alone", &[]);
}

#[test]
#[ignore = "needs a process of its own"]
fn file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (request, dump) = (folder.path().join("request"), folder.path().join("dump.txt"));
    let agent = Agent::builder("unasked")
        .without_server()
        .dumps(Dumps::new().on_file(&request).to_file(&dump))
        .start()
        .unwrap();
    let task = lifespan::thread::spawn("unasked-file", {
        let request = request.clone();
        move || wait_until("the request is taken", || !request.exists())
    });
    std::fs::write(&request, "").unwrap();
    assert!(whole(&dump).contains("{kind: unasked-file}"));
    task.join().unwrap();
    drop(agent);
}

#[test]
fn a_panic_gets_a_dump_with_what_it_died_of() {
    run_alone("pprof::unasked::panic_alone", &[("LIFESPAN_DUMP_PANIC", "1")]);
}

#[test]
#[ignore = "needs a process of its own"]
fn panic_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump.txt");
    let _agent = Agent::builder("unasked")
        .without_server()
        .dumps(Dumps::new().to_file(&dump))
        .start()
        .unwrap();
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let _waits = lifespan::spawn("unasked-waits", std::future::pending::<()>());
    let task = lifespan::spawn("unasked-panics", async { panic!("told \"so\"") });
    runtime.block_on(task).unwrap_err();
    let dump = whole(&dump);
    assert!(dump.contains("{kind: unasked-waits}"), "{dump}");
    let (_, exits) = dump.split_once("the last exits").unwrap();
    assert!(exits.contains("{kind: unasked-panics} panicked at "), "{dump}");
    assert!(exits.contains(": \"told \\\"so\\\"\"\n"), "{dump}");
}

/// Standard error of a child: nothing is written unless it is asked for.
#[test]
fn without_a_file_it_goes_to_standard_error() {
    for (signal, dumps) in [("SIGUSR1", 1), ("", 0)] {
        let run = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "pprof::unasked::stderr_alone",
                "--ignored",
                "--nocapture",
            ])
            .env("LIFESPAN_DUMP_SIGNAL", signal)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{said}");
        assert_eq!(
            said.matches("lifespan dump of tasks, version 1; ").count(),
            dumps,
            "{said}"
        );
        assert_eq!(said.contains("{kind: unasked-blocked}"), dumps > 0, "{said}");
    }
}

#[test]
#[ignore = "needs a process of its own"]
fn stderr_alone() {
    let agent = Agent::builder("unasked").without_server().start().unwrap();
    let wanted = agent.status().dumps.is_on();
    assert_eq!(
        wanted,
        std::env::var("LIFESPAN_DUMP_SIGNAL").unwrap() == "SIGUSR1"
    );
    let blocked = Blocked::new();
    if wanted {
        wait_until("the signal is caught", || caught(10));
        send("USR1");
    } else {
        assert!(!caught(10));
    }
    // The sweep runs on the same thread: three of them, and the dump has had its turn.
    for _ in 0..3 {
        let before = registry::last_sweep().map(|sweep| sweep.at);
        wait_until("a sweep", || {
            registry::last_sweep().map(|sweep| sweep.at) > before
        });
    }
    agent.shutdown(Duration::from_secs(2)).unwrap();
    drop(blocked);
}

/// A runtime of which every worker is blocked, until this is dropped.
struct Blocked {
    released: Arc<AtomicBool>,
    runtime: Option<Runtime>,
}

impl Blocked {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let ended = lifespan::spawn("unasked-ended", async {});
        runtime.block_on(ended).unwrap();
        let builder = lifespan::Builder::new("unasked-waits").name("the one");
        drop(builder.spawn(std::future::pending::<()>()));
        let waits = || registry::rows().any(|row| row.kind.name() == "unasked-waits" && row.polls == 1);
        wait_until("it waits", waits);
        let released = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let released = Arc::clone(&released);
            lifespan::spawn("unasked-blocked", async move {
                while !released.load(Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let running = || {
            let rows = registry::rows().filter(|row| row.kind.name() == "unasked-blocked");
            rows.filter(|row| row.state == lifespan::State::Running).count()
        };
        wait_until("both are blocked", || running() == 2);
        drop(entered);
        Self {
            released,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.released.store(true, Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(20));
        }
    }
}

/// What is in a dump that has been written to its end.
#[track_caller]
fn whole(file: &Path) -> String {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    wait_until("the dump is written", || read().contains("\nthe last exits"));
    let dump = read();
    assert!(dump.starts_with("lifespan dump of tasks, version 1; "), "{dump}");
    dump
}

fn send(signal: &str) {
    let id = std::process::id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
    assert!(sent.success());
}

/// Whether the process catches the signal of that number.
fn caught(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("SigCgt:")).unwrap();
    let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    mask >> (number - 1) & 1 == 1
}
