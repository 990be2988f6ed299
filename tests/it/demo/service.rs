//! What runs, with an agent and without.

use std::net::TcpListener;
use std::process::Stdio;

use super::process::{Demo, Process, address, demo, line, lines};
use crate::client::{get_from, until};

#[test]
fn it_serves_under_load_and_its_kinds_grow() {
    let demo = Demo::start(&["--rate", "100"]);
    let all = [
        "acceptor",
        "analytics",
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
    assert_eq!(demo.count("price-feed", "live"), 1);
    let daemons = demo.tasks("kind=daemon");
    let mut names: Vec<&str> = daemons.iter().map(|row| row["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-evictor", "config-reloader", "session-sweeper"]);
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
fn it_ends_by_itself_after_so_many_seconds() {
    let mut demo = Demo::start(&["--rate", "20", "--seconds", "1"]);
    let (status, output) = demo.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("--seconds have passed"), "{output}");
    assert!(output.ends_with("nothing was still alive\n"), "{output}");
}
