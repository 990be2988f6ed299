//! Each fault does what it says, and no more than there is room for.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::process::Demo;
use crate::client::{get_from, send, until};

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
    let page = format!(
        "POST /fault/leak HTTP/1.0\r\nHost: {}\r\nOrigin: https://evil.example\r\n\r\n",
        demo.app
    );
    assert_eq!(send(demo.app, &page).status, 403);
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
