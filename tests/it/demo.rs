//! `lifespan demo`, as a process of its own: what it serves, what its faults plant, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Answer, connect, get_from, send, until};

#[test]
fn it_serves_under_load_and_its_kinds_grow() {
    let demo = Demo::start(&["--rate", "100"]);
    let all = [
        "acceptor",
        "analytics",
        "analytics-worker",
        "cache-read",
        "connection",
        "daemon",
        "db-query",
        "ingest",
        "load",
        "load-connection",
        "parser",
        "price-feed",
        "reader",
        "request",
        "thumbnail",
        "writer",
    ];
    until("tasks of every kind", || {
        all.iter().all(|kind| demo.count(kind, "spawned") > 0)
    });
    let busy = [
        "analytics",
        "cache-read",
        "db-query",
        "load",
        "request",
        "thumbnail",
    ];
    let before = busy.map(|kind| demo.count(kind, "spawned"));
    until("more tasks of every busy kind", || {
        (busy.iter().zip(before)).all(|(kind, before)| demo.count(kind, "spawned") > before)
    });
    assert_eq!(demo.count("analytics-worker", "live"), 4);
    assert_eq!(demo.count("price-feed", "live"), 1);
    let daemons = demo.tasks("kind=daemon");
    let mut names: Vec<&str> = daemons.iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-evictor", "config-reloader", "heartbeat"]);
}

#[test]
fn it_takes_orders_and_shows_them() {
    let demo = Demo::start(&["--rate", "0"]);
    // Not at the first try: a query conflicts now and then, or is too slow, as it is meant to.
    until("an order that is taken", || {
        let answer = demo.order(r#"{"sku":7,"quantity":2}"#);
        answer.status == 201 && answer.body == r#"{"id":1001}"#
    });
    until("an order that is shown", || {
        let shown = get_from(demo.app, "/orders/1001");
        shown.status == 200 && shown.json()["customer"] == "customer-4"
    });
    until("an order that is not there", || {
        get_from(demo.app, "/orders/1002").status == 404
    });
    assert_eq!(get_from(demo.app, "/orders/seven").status, 400);
    assert_eq!(demo.order(r#"{"sku":64,"quantity":2}"#).status, 422);
    assert_eq!(demo.order(r#"{"sku":7,"quantity":2,"price":0}"#).status, 422);
    assert_eq!(demo.count("load", "spawned"), 0);
}

#[test]
fn planted_orphans_are_found_within_five_seconds() {
    let demo = Demo::start(&["--rate", "0"]);
    demo.plant("leak?n=2");
    demo.plant("lost-wakeup?n=2");
    let start = Instant::now();
    demo.plant("orphan?n=3");
    until("three orphans", || demo.tasks("verdict=orphaned").len() == 3);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for row in demo.tasks("verdict=orphaned") {
        assert_eq!(row["kind"], "orphan");
        assert_eq!(row["wakers"], 0);
        assert!(
            row["spawned_at"]
                .as_str()
                .unwrap()
                .starts_with("src/demo/fault.rs:")
        );
    }
    // These could still be woken, and so are none.
    for kind in ["leak", "lost-wakeup"] {
        let rows = demo.tasks(&format!("kind={kind}"));
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!(
                (&row["state"], &row["wakers"], &row["verdict"]),
                (&"idle".into(), &1.into(), &Value::Null)
            );
        }
    }
}

#[test]
fn a_planted_panic_is_the_outcome_of_a_task_of_that_kind() {
    let demo = Demo::start(&["--rate", "0"]);
    // A future, a blocking job, a thread.
    for (kind, nature) in [
        ("request", "future"),
        ("thumbnail", "blocking"),
        ("price-feed", "thread"),
    ] {
        demo.plant(&format!("panic?kind={kind}"));
        until("a task that panicked", || demo.outcome(kind, "panicked") == 1);
        let exits = get_from(demo.agent, &format!("/debug/exits?kind={kind}&outcome=panicked")).json();
        let exit = &exits["exits"][0];
        assert_eq!(exit["nature"], nature);
        assert_eq!(exit["panic"]["message"], "planted by /fault/panic");
        assert!(
            exit["panic"]["location"]
                .as_str()
                .unwrap()
                .starts_with("src/demo/fault.rs:")
        );
    }
    until("an order that can be shown", || {
        get_from(demo.app, "/orders/7").status == 200
    });
}

#[test]
fn a_restart_storm_fails_the_parser_and_passes() {
    let demo = Demo::start(&["--rate", "0"]);
    demo.plant("restart-storm");
    until("a parser that failed ten times", || {
        demo.outcome("parser", "panicked") >= 10
    });
    until("a parser that stays", || {
        let parsers = demo.tasks("kind=parser");
        matches!(&parsers[..], [parser] if parser["age_seconds"].as_f64().unwrap() > 1.0)
    });
}

#[test]
fn a_spinning_task_costs_its_kind_that_much() {
    let demo = Demo::start(&["--rate", "0"]);
    demo.plant("spin?kind=load&ms=300");
    demo.plant("spin?kind=thumbnail&ms=100");
    until("tasks that have spun", || {
        demo.outcome("load", "completed") == 1 && demo.outcome("thumbnail", "completed") == 1
    });
    let load = demo.kind("load").unwrap();
    assert!(load["poll"]["sum_seconds"].as_f64().unwrap() > 0.25, "{load}");
    // It lets others run in between.
    assert!(load["poll"]["count"].as_u64().unwrap() > 1, "{load}");
    let thumbnail = demo.kind("thumbnail").unwrap();
    let lifetime = thumbnail["lifetime"]["sum_seconds"].as_f64().unwrap();
    assert!(lifetime > 0.09, "{thumbnail}");
}

#[test]
fn bad_parameters_of_faults_are_told() {
    let demo = Demo::start(&["--rate", "0"]);
    let cases = [
        ("leak?n=0", "n is from 1 to 10000"),
        ("leak?n=10001", "n is from 1 to 10000"),
        ("leak?n=-1", "n: invalid digit"),
        ("leak?n=99999999999", "n: number too large"),
        ("leak?n=", "n: cannot parse integer from empty string"),
        ("leak?n=1&n=2", "duplicate field `n`"),
        ("leak?m=1", "unknown field `m`"),
        ("orphan?n=many", "n: invalid digit"),
        ("lost-wakeup?n=0", "n is from 1 to 10000"),
        ("panic", "missing field `kind`"),
        ("panic?kind=%00", "no such kind; there are acceptor, analytics, "),
        ("panic?kind=%ff", "no such kind"),
        ("block", "missing field `ms`"),
        ("block?ms=30001", "ms is from 1 to 30000"),
        ("block?ms=1e3", "ms: invalid digit"),
        ("restart-storm?seconds=5", "unknown field `seconds`"),
        ("spin?kind=request", "missing field `ms`"),
        ("spin?kind=request&ms=0", "ms is from 1 to 30000"),
        ("spin?kind=nobody&ms=1", "no such kind"),
    ];
    for (fault, text) in cases {
        let answer = demo.post(fault);
        assert_eq!(answer.status, 400, "{fault}: {answer:?}");
        assert!(answer.body.contains(text), "{fault}: {}", answer.body);
        assert!(answer.body.ends_with('\n'), "{fault}: {:?}", answer.body);
    }
    for fault in [
        "leak",
        "orphan",
        "lost-wakeup",
        "panic",
        "block",
        "restart-storm",
        "spin",
    ] {
        let answer = get_from(demo.app, &format!("/fault/{fault}?n=1&ms=1&kind=request"));
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    }
    assert_eq!(demo.post("no-such-fault").status, 404);
    for kind in ["leak", "orphan", "lost-wakeup", "block"] {
        assert_eq!(demo.count(kind, "spawned"), 0, "{kind}");
    }
}

#[test]
fn faults_are_bounded_in_number() {
    let demo = Demo::start(&["--rate", "0"]);
    for _ in 0..10 {
        demo.plant("leak?n=10000");
    }
    let answer = demo.post("orphan?n=1");
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(
        answer.body.contains("at most 100000 tasks that never end"),
        "{}",
        answer.body
    );
    assert_eq!(demo.count("leak", "live"), 100_000);
    assert_eq!(demo.count("orphan", "spawned"), 0);
}

#[cfg(unix)]
#[test]
fn told_to_end_it_drains_and_reports_what_was_alive() {
    let mut demo = Demo::start(&["--rate", "100"]);
    until("requests", || demo.count("request", "spawned") > 20);
    demo.plant("leak?n=2");
    demo.signal("TERM");
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("SIGTERM: draining"), "{output}");
    assert!(output.contains("\ndrained in "), "{output}");
    assert!(output.contains("ended: completed "), "{output}");
    let table = output.split_once("still alive: ").unwrap().1;
    let lines: Vec<&str> = table.lines().collect();
    // The two of them and nothing else: all that should end has ended.
    let [count, _, leak] = &lines[..] else {
        panic!("{output}")
    };
    assert_eq!(*count, "2 tasks");
    let words: Vec<&str> = leak.split_whitespace().collect();
    assert_eq!(words[..2], ["leak", "2"]);
    assert!(words.last().unwrap().starts_with("src/demo/fault.rs:"), "{leak}");
}

#[cfg(unix)]
#[test]
fn a_request_under_way_is_answered_before_it_ends() {
    let mut demo = Demo::start(&["--rate", "0"]);
    let whole = request(demo.app, "POST /orders", r#"{"sku":7,"quantity":2}"#);
    let (most, rest) = whole.split_at(whole.len() - 1);
    let mut stream = connect(demo.app);
    stream.write_all(most.as_bytes()).unwrap();
    until("a request under way", || demo.count("request", "live") == 1);

    demo.signal("TERM");
    until("a service that takes no more", || {
        TcpStream::connect(demo.app).is_err()
    });
    assert_eq!(get_from(demo.agent, "/readyz").status, 503);
    assert_eq!(demo.count("request", "live"), 1);
    stream.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 "), "{answer}");

    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("\ndrained in "), "{output}");
    assert!(output.ends_with("nothing was still alive\n"), "{output}");
}

#[cfg(unix)]
#[test]
fn with_every_worker_blocked_the_agent_answers_and_the_demo_ends() {
    let mut demo = Demo::start(&["--rate", "0"]);
    let start = Instant::now();
    // As many as there are workers, whatever their number.
    while exchange(demo.app, "POST /fault/block?ms=30000", Duration::from_secs(1)).is_some() {}
    assert_eq!(get_from(demo.agent, "/livez").status, 200);
    assert_eq!(get_from(demo.agent, "/readyz").status, 200);
    let blocked = demo.tasks("kind=block&state=running").len();
    assert!(blocked >= 2, "{blocked}");

    demo.signal("TERM");
    until("a service that is no longer ready", || {
        get_from(demo.agent, "/readyz").status == 503
    });
    demo.signal("INT");
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("not drained"), "{output}");
    let report = output.split_once("still alive: ").unwrap().1;
    assert!(report.lines().any(|line| line.starts_with("  block")), "{output}");
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for them");
}

#[test]
fn it_ends_by_itself_after_so_many_seconds() {
    let mut demo = Demo::start(&["--rate", "20", "--seconds", "1"]);
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("--seconds have passed"), "{output}");
    assert!(output.ends_with("nothing was still alive\n"), "{output}");
}

#[test]
fn it_does_not_mind_that_nobody_reads_what_it_prints() {
    let mut process = demo(&["--rate", "0", "--seconds", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    drop(process.stderr.take());
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn without_its_port_the_agent_is_off_and_the_service_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let mut process = demo(&["--rate", "0", "--listen", &taken.1.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Process)
        .unwrap();
    let lines = lines(&mut process);
    let app = line(&lines, "  app ");
    let agent = line(&lines, "  agent ");
    assert!(agent.contains("off, the service runs without it: "), "{agent}");
    assert!(agent.contains(&taken.1.to_string()), "{agent}");
    let app = address(&app);
    until("an order that can be shown", || {
        get_from(app, "/orders/7").status == 200
    });
}

#[test]
fn without_its_port_the_service_fails() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo(&["--app", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.starts_with(&format!("lifespan: failed to listen on {address}")),
        "{error}"
    );
    assert!(error.contains("--app"), "{error}");
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let cases: [(&[&str], &str); 13] = [
        (&[], "Usage: lifespan <COMMAND>"),
        (&["demon"], "unrecognized subcommand 'demon'"),
        (&["demo", "shop"], "unexpected argument 'shop'"),
        (&["demo", "--app", "0.0.0.0:8080"], "not a loopback address"),
        (&["demo", "--app", "[::]:8080"], "not a loopback address"),
        (
            &["demo", "--app", "localhost:8080"],
            "expected an IP address and a port",
        ),
        (&["demo", "--listen", "9464"], "expected an IP address and a port"),
        (&["demo", "--rate", "-1"], "-1 is not in 0..=20000"),
        (&["demo", "--rate", "20001"], "20001 is not in 0..=20000"),
        (&["demo", "--rate", "fast"], "invalid digit"),
        (&["demo", "--seconds", "0"], "from 1 to 31536000"),
        (&["demo", "--seconds", "-1"], "from 1 to 31536000"),
        (&["demo", "--seconds", "1.5"], "from 1 to 31536000"),
    ];
    for (arguments, text) in cases {
        let output = lifespan(arguments).output().unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--help"], &["Usage: lifespan <COMMAND>", "demo", "Exit codes:"]),
        (&["--version"], &[concat!("lifespan ", env!("CARGO_PKG_VERSION"))]),
        (
            &["demo", "--help"],
            &[
                "Usage: lifespan demo",
                "--listen",
                "--app",
                "--rate",
                "--seconds",
                "/fault/orphan",
            ],
        ),
        (&["help", "demo"], &["Usage: lifespan demo"]),
    ];
    for (arguments, texts) in cases {
        let output = lifespan(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        for text in texts {
            assert!(help.contains(text), "{arguments:?}: no {text:?} in {help}");
        }
    }
}

/// A demo with ports of its own, until it is dropped.
struct Demo {
    process: Process,
    output: Receiver<String>,
    agent: SocketAddr,
    app: SocketAddr,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut process = demo(arguments)
            .stdout(Stdio::piped())
            // Panics that are planted on purpose would only confuse who reads a test's output.
            .stderr(Stdio::null())
            .spawn()
            .map(Process)
            .unwrap();
        let output = lines(&mut process);
        let app = address(&line(&output, "  app "));
        let agent = address(&line(&output, "  agent "));
        Self {
            process,
            output,
            agent,
            app,
        }
    }

    fn post(&self, fault: &str) -> Answer {
        send(self.app, &request(self.app, &format!("POST /fault/{fault}"), ""))
    }

    #[track_caller]
    fn plant(&self, fault: &str) {
        let answer = self.post(fault);
        assert_eq!(answer.status, 200, "{fault}: {answer:?}");
    }

    fn order(&self, body: &str) -> Answer {
        send(self.app, &request(self.app, "POST /orders", body))
    }

    /// What `/debug/kinds` says of that one; `None` where it has not been used.
    fn kind(&self, name: &str) -> Option<Value> {
        let mut kinds = get_from(self.agent, "/debug/kinds").json();
        let kinds = kinds["kinds"].as_array_mut().unwrap();
        kinds.drain(..).find(|kind| kind["kind"] == name)
    }

    fn count(&self, kind: &str, field: &str) -> u64 {
        self.kind(kind).map_or(0, |kind| kind[field].as_u64().unwrap())
    }

    fn outcome(&self, kind: &str, outcome: &str) -> u64 {
        self.kind(kind)
            .map_or(0, |kind| kind["finished"][outcome].as_u64().unwrap())
    }

    fn tasks(&self, query: &str) -> Vec<Value> {
        let tasks = get_from(self.agent, &format!("/debug/tasks?{query}")).json();
        tasks["tasks"].as_array().unwrap().clone()
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let id = self.process.0.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until it has ended, and returns what it printed since it had started.
    fn wait(&mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        while let Ok(line) = self.output.recv_timeout(Duration::from_secs(30)) {
            output.push_str(&line);
            output.push('\n');
        }
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return (status, output);
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it runs on: {output}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lifespan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifespan"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "LIFESPAN_LISTEN",
        "LIFESPAN_TOKEN",
        "LIFESPAN_ALLOWED_HOSTS",
        "LIFESPAN_DISABLED",
        "LIFESPAN_WAKER",
    ] {
        command.env_remove(variable);
    }
    command
}

/// The demo on free ports, unless the arguments say which.
fn demo(arguments: &[&str]) -> Command {
    let mut command = lifespan(&["demo"]);
    for port in ["--listen", "--app"] {
        if !arguments.contains(&port) {
            command.args([port, "127.0.0.1:0"]);
        }
    }
    command.args(arguments);
    command
}

/// What it prints, read all the time, so that it never waits for us.
fn lines(process: &mut Process) -> Receiver<String> {
    let output = process.0.stdout.take().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Once the test is over there is nobody to tell.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The next line that starts so.
#[track_caller]
fn line(lines: &Receiver<String>, start: &str) -> String {
    loop {
        let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
        if line.starts_with(start) {
            return line;
        }
    }
}

/// The address in the URL of a line.
#[track_caller]
fn address(line: &str) -> SocketAddr {
    let url = line.split_once("http://").expect(line).1;
    url.split_once('/').unwrap().0.parse().unwrap()
}

fn request(to: SocketAddr, line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// What is answered in that time, if anything is.
#[cfg(unix)]
fn exchange(to: SocketAddr, line: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(request(to, line, "").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
