//! What is supervised and bounded, and what an operator sees of it.

use super::process::{Demo, order};
use crate::client::{get_from, until};
use crate::exposition::Scrape;

#[test]
fn what_lives_long_is_supervised() {
    let demo = Demo::start(&["--rate", "0"]);
    for (path, strategy, children) in [
        (
            "daemons",
            "one_for_one",
            ["cache-evictor", "config-reloader", "session-sweeper"],
        ),
        ("ingest", "rest_for_one", ["reader", "parser", "writer"]),
    ] {
        let supervisor = demo.supervisor(path);
        assert_eq!(supervisor["strategy"], strategy);
        assert_eq!(supervisor["state"], "running");
        let names: Vec<&str> = (supervisor["children"].as_array().unwrap().iter())
            .map(|child| child["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, children);
        for child in children {
            let child = demo.child(path, child);
            assert_eq!(child["restart"], "permanent");
            assert_eq!(child["overdue"], false, "{child}");
        }
    }
    let reader = demo.tasks("kind=reader").pop().unwrap();
    assert_eq!(reader["supervisor"], "ingest");
    assert_eq!(reader["scope"], "root/pipelines/ingest/reader");
}

#[test]
fn a_parser_that_panics_is_started_again_with_the_writer_and_the_reader_reads_on() {
    let demo = Demo::start(&["--rate", "0"]);
    let reader = demo.child("ingest", "reader")["task"].clone();
    let panics = || demo.outcome("parser", "panicked");
    let before = panics();
    demo.plant("panic?kind=parser");
    until("a pipeline that runs again", || {
        // By chance it may have failed once more.
        panics() > before
            && ["parser", "writer"].iter().all(|child| {
                let child = demo.child("ingest", child);
                child["state"] == "running" && child["restarts"].as_u64().unwrap() == panics()
            })
    });
    let of_reader = demo.child("ingest", "reader");
    assert_eq!((&of_reader["restarts"], &of_reader["task"]), (&0.into(), &reader));
    // It was told to stop, and was not lost.
    assert_eq!(
        demo.child("ingest", "writer")["last_exit"]["outcome"],
        "completed"
    );
    let panicked = demo.events("panicked");
    assert!(
        panicked
            .iter()
            .any(|event| event["child"] == "parser" && event["message"] == "planted by /fault/panic"),
        "{panicked:?}"
    );
    let scrape = demo.scrape();
    let restarts = |child| {
        let labels = [("child", child), ("supervisor", "ingest")];
        scrape.value("lifespan_task_restarts_total", &labels).unwrap()
    };
    assert!(restarts("parser") >= 1.0);
    assert!(restarts("writer") >= 1.0);
    assert!(restarts("reader") < 1.0);
    assert_eq!(get_from(demo.agent, "/readyz").status, 200);
}

#[test]
fn a_restart_storm_exhausts_the_supervisor_and_is_survived() {
    let demo = Demo::start(&["--rate", "20"]);
    demo.plant("restart-storm");
    // It is given up for some seconds only: what is to be seen then is looked at together.
    let gave_up = || {
        let ingest = demo.supervisors("ingest").pop()?;
        let scrape = demo.scrape();
        let readiness = get_from(demo.agent, "/readyz");
        (ingest["state"] == "exhausted" && scrape.value("lifespan_supervisor_exhausted", &[]) == Some(1.0))
            .then_some((ingest, scrape, readiness))
    };
    let mut seen = None;
    until("a supervisor that gave up", || {
        seen = gave_up();
        seen.is_some()
    });
    let (ingest, scrape, readiness) = seen.unwrap();
    assert_eq!(readiness.status, 503);
    assert!(
        readiness.body.contains("supervisor ingest gave up\n"),
        "{}",
        readiness.body
    );
    let cause = ingest["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("child `parser` failed once too often: it panicked: the schema is not"),
        "{cause}"
    );
    let children = ingest["children"].as_array().unwrap();
    assert!(
        children.iter().all(|child| child["state"] == "stopped"),
        "{children:?}"
    );
    assert!(demo.outcome("parser", "panicked") > 10);
    let budget = |supervisor| {
        let labels = [("supervisor", supervisor)];
        scrape.value("lifespan_supervisor_budget_remaining", &labels)
    };
    assert_eq!(budget("daemons"), Some(5.0));
    let exhausted = demo.events("budget_exhausted");
    assert_eq!(exhausted[0]["supervisor"], "ingest");
    assert_eq!(exhausted[0]["child"], "parser");
    assert_eq!(demo.events("escalated").len(), exhausted.len());

    // Nobody else minds, and it comes back.
    let served = demo.count("request", "spawned");
    until("more orders", || demo.count("request", "spawned") > served);
    until("a service that is ready again", || {
        get_from(demo.agent, "/readyz").status == 200
    });
    // The one that gave up is shown until its scope is closed.
    until("one pipeline, which runs", || {
        let all = demo.supervisors("ingest");
        all.len() == 1 && all[0]["state"] == "running"
    });
    assert_eq!(
        demo.scrape().value("lifespan_supervisor_exhausted", &[]),
        Some(0.0)
    );
    // One pipeline, not two.
    for kind in ["reader", "writer"] {
        assert_eq!(demo.tasks(&format!("kind={kind}")).len(), 1, "{kind}");
    }
}

#[test]
fn sales_that_find_no_room_are_rejected_and_counted_and_the_orders_taken() {
    let demo = Demo::start(&["--rate", "0"]);
    let rejected = |scrape: &Scrape| {
        let labels = [("pool", "analytics")];
        scrape.value("lifespan_pool_rejected_total", &labels).unwrap()
    };
    assert!(rejected(&demo.scrape()) < 1.0);
    let mut taken = 0;
    // As many as it takes: how fast they come is the machine's affair.
    for _ in 0..20 {
        let app = demo.app;
        let clients: Vec<_> = (0..100)
            .map(|_| std::thread::spawn(move || order(app, r#"{"sku":7,"quantity":2}"#)))
            .collect();
        let answers = clients.into_iter().map(|client| client.join().unwrap());
        taken += answers.filter(|answer| answer.status == 201).count();
        if rejected(&demo.scrape()) > 0.0 {
            break;
        }
    }
    let scrape = demo.scrape();
    assert!(
        rejected(&scrape) > 0.0,
        "{taken} orders, and none was one too many"
    );
    until("a pool that is empty", || demo.count("analytics", "live") == 0);
    // Each was recorded, or rejected.
    let recorded = demo.outcome("analytics", "completed");
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let accounted = recorded as f64 + rejected(&demo.scrape());
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let taken = taken as f64;
    assert_eq!(accounted, taken);
}
