//! How it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::process::{Demo, request};
use crate::client::{connect, get_from, until};

#[test]
fn told_to_end_it_drains_and_reports_what_was_alive() {
    let mut demo = Demo::start(&["--rate", "100"]);
    until("requests", || demo.count("request", "spawned") > 20);
    demo.plant("leak?n=2");
    demo.signal("TERM");
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("SIGTERM: draining"), "{output}");
    assert!(output.contains("\nnot drained in time, ended in "), "{output}");
    assert!(output.contains("ended: completed "), "{output}");
    let table = output.split_once("\nlate: ").unwrap().1;
    let lines: Vec<&str> = table.lines().collect();
    // The two of them and nothing else: all that should end has ended.
    let [count, _, leak, alive] = &lines[..] else {
        panic!("{output}")
    };
    assert_eq!(*count, "2 tasks");
    let words: Vec<&str> = leak.split_whitespace().collect();
    assert_eq!(words[..2], ["leak", "2"]);
    assert!(words.last().unwrap().starts_with("src/demo/fault.rs:"), "{leak}");
    // They could be aborted.
    assert_eq!(*alive, "nothing was still alive");
    assert_all_ended(&output);
}

#[test]
fn what_was_started_last_ends_first() {
    let mut demo = Demo::start(&["--rate", "0"]);
    let mut stream = connect(demo.agent);
    write!(
        stream,
        "GET /debug/events?after=0 HTTP/1.0\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        demo.agent
    )
    .unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    stream.read_line(&mut head).unwrap();
    assert!(head.contains(" 200 "), "{head}");
    demo.signal("TERM");
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let told = (told.lines())
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str::<Value>(data).unwrap());
    let stopped: Vec<String> = told
        .skip_while(|event| event["event"] != "shutdown_initiated")
        .filter(|event| event["event"] == "stopped" && event["supervisor"].is_string())
        .map(|event| event["child"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        stopped,
        [
            "writer",
            "parser",
            "reader",
            "session-sweeper",
            "config-reloader",
            "cache-evictor"
        ]
    );
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(
        output.ends_with("nothing was late\nnothing was still alive\n"),
        "{output}"
    );
    assert_all_ended(&output);
}

/// Spawned = finished + live, and none is live.
#[track_caller]
fn assert_all_ended(output: &str) {
    let last = output.lines().rfind(|line| line.contains("  live ")).unwrap();
    let number = |word: &str| -> u64 {
        let after = last.split_once(word).unwrap().1;
        after.split_whitespace().next().unwrap().parse().unwrap()
    };
    let finished = ["completed ", "failed ", "panicked ", "cancelled "].map(number);
    assert_eq!(number("live "), 0, "{last}");
    assert_eq!(number("spawned "), finished.iter().sum::<u64>(), "{last}");
}

#[test]
fn under_load_with_all_that_can_be_in_the_way_it_ends_in_time_and_names_every_survivor() {
    let mut demo = Demo::start(&["--rate", "100"]);
    until("requests", || demo.count("request", "spawned") > 20);
    demo.plant("leak?n=10000");
    for _ in 0..10 {
        demo.plant("block?ms=30000&kind=thumbnail");
    }
    demo.plant("spin?ms=30000&kind=thumbnail");
    let start = Instant::now();
    demo.signal("TERM");
    until("a service that is no longer ready", || {
        get_from(demo.agent, "/readyz").status == 503
    });
    let (status, output) = demo.wait();
    let took = start.elapsed();
    println!("{took:?} of 10 s");
    assert_eq!(status.code(), Some(1), "{output}");
    let survivors: Vec<&str> = (output.lines())
        .filter(|line| line.starts_with("  thumbnail, task "))
        .collect();
    assert_eq!(survivors.len(), 11, "{output}");
    for line in survivors {
        assert!(line.contains(", spawned at src/demo/fault.rs:"), "{line}");
        assert!(line.ends_with(": cannot be aborted"), "{line}");
    }
    assert!(output.contains("\nlate: 10011 tasks"), "{output}");
    assert!(output.contains("\nstill alive: 11 tasks"), "{output}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut demo = Demo::start(&["--rate", "100"]);
    demo.plant("leak?n=10000");
    demo.plant("block?ms=30000&kind=thumbnail");
    demo.signal("TERM");
    until("a service that is no longer ready", || {
        get_from(demo.agent, "/readyz").status == 503
    });
    let start = Instant::now();
    demo.signal("TERM");
    let (status, output) = demo.wait();
    println!("ended {:?} after the second signal", start.elapsed());
    assert_eq!(status.code(), Some(143), "{output}\n{}", demo.errors());
    // Nothing was waited for, nor reported in peace.
    assert!(!output.contains("shutdown report"), "{output}");
}

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
    assert!(
        output.ends_with("nothing was late\nnothing was still alive\n"),
        "{output}"
    );
}

#[test]
fn with_every_worker_blocked_the_agent_answers_and_the_demo_ends() {
    let mut demo = Demo::start(&["--rate", "0"]);
    let start = Instant::now();
    // As many as there are workers, whatever their number.
    let block = "POST /fault/block?ms=30000";
    while exchange(demo.app, block, Duration::from_secs(2)).is_some_and(|answer| answer.contains(" 200 ")) {}
    assert_eq!(get_from(demo.agent, "/livez").status, 200);
    assert_eq!(get_from(demo.agent, "/readyz").status, 200);
    let blocked = demo.tasks("kind=block&state=running").len();
    assert!(blocked >= 1, "{blocked}");

    demo.signal("TERM");
    until("a service that is no longer ready", || {
        get_from(demo.agent, "/readyz").status == 503
    });
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("\nnot drained in time, ended in "), "{output}");
    let named = output
        .lines()
        .filter(|line| line.starts_with("  block, task "))
        .count();
    assert!(named >= blocked, "{blocked}: {output}");
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for them");
}

/// What is answered in that time, if anything is.
fn exchange(to: SocketAddr, line: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(request(to, line, "").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
