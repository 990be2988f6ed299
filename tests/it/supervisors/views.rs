//! What readers see of supervisors.

use std::future::pending;

use lifespan::Scope;
use lifespan::supervisor::{Backoff, ChildSpec, Strategy, Supervisor};
use serde_json::{Value, json};

use super::{Order, SECOND, actors, settle, start};
use crate::client::get;
use crate::exposition::Scrape;

/// The supervisors below that path, as `/debug/supervisors` shows them.
async fn shown(root: &str) -> Vec<Value> {
    let answer = get("/debug/supervisors?limit=100000").await.json();
    let all = answer["supervisors"].as_array().unwrap().iter();
    let ours = all.filter(|one| one["path"].as_str().unwrap().split('/').next() == Some(root));
    ours.cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn the_tree_is_shown_with_its_children() {
    let ([a, b], _log) = actors(["a", "b"]);
    let nested = b.clone();
    let builder = Supervisor::builder("views-tree")
        .strategy(Strategy::RestForOne)
        .intensity(3, 30 * SECOND)
        .child(a.spec())
        .child(ChildSpec::supervisor("sub", move |builder| {
            builder.child(nested.spec().backoff(Backoff::new(10 * SECOND, 10 * SECOND)))
        }));
    let (sup, _scope) = start(builder).await;
    a.order(Order::Panic).await;
    b.order(Order::Fail).await;
    let tree = shown("views-tree").await;
    let [root, sub] = &tree[..] else {
        panic!("{tree:?}")
    };
    assert_eq!(
        (&root["path"], &root["parent"]),
        (&json!("views-tree"), &Value::Null)
    );
    assert_eq!(root["strategy"], "rest_for_one");
    assert_eq!(root["state"], "running");
    assert_eq!(
        (
            &root["intensity"],
            &root["period_seconds"],
            &root["budget_remaining"]
        ),
        (&json!(3), &json!(30.0), &json!(2))
    );
    let child = &root["children"][0];
    assert_eq!(
        (&child["name"], &child["kind"], &child["state"]),
        (&json!("a"), &json!("sup-actor"), &json!("running"))
    );
    assert_eq!(
        (&child["restarts"], &child["last_exit"]["outcome"]),
        (&json!(1), &json!("panicked"))
    );
    assert_eq!(child["last_exit"]["error"], "it panicked: told to panic");
    assert_eq!(root["children"][1]["supervisor"], true);
    assert_eq!(
        (&sub["path"], &sub["parent"]),
        (&json!("views-tree/sub"), &root["id"])
    );
    let child = &sub["children"][0];
    assert_eq!(
        (&child["state"], &child["task"]),
        (&json!("restarting"), &Value::Null)
    );
    let wait = child["next_restart_seconds"].as_f64().unwrap();
    assert!(wait <= 10.0);
    // The row of a child knows its supervisor.
    let id = root["children"][0]["task"].as_u64().unwrap();
    let row = get(&format!("/debug/tasks/{id}")).await.json();
    assert_eq!(
        (&row["supervisor"], &row["name"], &row["scope"]),
        (&json!("views-tree"), &json!("a"), &json!("sup-test/views-tree/a"))
    );
    let _ = sup.stop().await;
    drop(sup);
    settle().await;
    assert!(shown("views-tree").await.is_empty());
}

#[tokio::test]
async fn limits_are_kept() {
    let child = |name: &str| ChildSpec::new(name, |_| pending::<()>()).kind("sup-limits");
    let builder = Supervisor::builder("views-limits")
        .child(child("a"))
        .child(child("b"));
    let (_sup, _scope) = start(builder).await;
    let answer = get("/debug/supervisors?limit=1").await.json();
    let supervisors = answer["supervisors"].as_array().unwrap();
    let children: usize = (supervisors.iter())
        .map(|one| one["children"].as_array().unwrap().len())
        .sum();
    assert_eq!((children, &answer["truncated"]), (1, &json!(true)));
    for bad in ["limit=0", "limit=100001", "limit=x"] {
        assert_eq!(
            get(&format!("/debug/supervisors?{bad}")).await.status,
            400,
            "{bad}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_is_off_while_a_supervisor_is_exhausted() {
    const REASON: &str = "supervisor views-exhausted gave up";
    let ([a], _log) = actors(["a"]);
    let builder = || {
        Supervisor::builder("views-exhausted")
            .intensity(0, SECOND)
            .on_give_up(|_| {})
            .child(a.spec())
    };
    let off = async || {
        let answer = get("/readyz").await;
        answer.status == 503 && answer.body.lines().any(|line| line == REASON)
    };
    let (sup, scope) = start(builder()).await;
    assert!(!off().await);
    a.order(Order::Fail).await;
    assert!(off().await);
    // Whoever holds it: its scope remembers.
    drop(sup);
    assert!(off().await);
    assert_eq!(shown("views-exhausted").await[0]["state"], "exhausted");
    // One of the same path takes its place.
    let sup = builder().start(&scope).await.unwrap();
    assert!(!off().await);
    settle().await;
    a.order(Order::Fail).await;
    drop(sup);
    assert!(off().await);
    let _ = scope.close(SECOND).await;
    settle().await;
    assert!(!off().await);
}

/// The first children of a process have counters of their own, so that a test of those has a process to itself.
#[test]
fn restarts_budgets_and_waits_are_counted() {
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "supervisors::views::metrics_of_supervisors",
            "--ignored",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(start_paused = true)]
#[ignore = "run by `restarts_budgets_and_waits_are_counted`, in a process of its own"]
async fn metrics_of_supervisors() {
    let ([a, b], _log) = actors(["a", "b"]);
    let builder = || {
        Supervisor::builder("metrics").child(a.spec()).child(
            b.spec()
                .backoff(Backoff::new(10 * SECOND, 10 * SECOND))
                .heartbeat(SECOND),
        )
    };
    let (sup, _scope) = start(builder()).await;
    let value = |metric: &str, labels: &[(&str, &str)]| Scrape::take(0).value(metric, labels).unwrap();
    let is = |metric: &str, labels: &[(&str, &str)], expected: f64| {
        let value = value(metric, labels);
        assert!((value - expected).abs() < 1e-3, "{metric}: {value}");
    };
    let of = |child| [("supervisor", "metrics"), ("child", child)];
    // There at 0, so that a rule sees the first restart.
    is("lifespan_task_restarts_total", &of("a"), 0.0);
    is("lifespan_supervisor_backoff_seconds", &of("b"), 0.0);
    is("lifespan_supervisor_budget_remaining", &of("a")[..1], 5.0);
    a.order(Order::Panic).await;
    is("lifespan_task_restarts_total", &of("a"), 1.0);
    is("lifespan_supervisor_budget_remaining", &of("a")[..1], 4.0);
    tokio::time::sleep(SECOND * 11 / 10).await;
    is("lifespan_supervisor_overdue", &[], 1.0);
    b.order(Order::Fail).await;
    let wait = sup.list()[1].next_restart.unwrap();
    is(
        "lifespan_supervisor_backoff_seconds",
        &of("b"),
        wait.as_secs_f64(),
    );
    is("lifespan_supervisor_overdue", &[], 0.0);
    is("lifespan_supervisor_stuck", &[], 0.0);
    is("lifespan_supervisor_exhausted", &[], 0.0);
    // A counter does not go back when its supervisor is started anew; one path is one series.
    let _ = sup.stop().await;
    let other = Scope::new("other");
    let again = builder().start(&other).await.unwrap();
    is("lifespan_task_restarts_total", &of("a"), 1.0);
    is("lifespan_supervisor_budget_remaining", &of("a")[..1], 5.0);
    settle().await;
    a.order(Order::Escalate).await;
    assert!(matches!(
        again.ended().await,
        lifespan::supervisor::End::GaveUp(_)
    ));
    settle().await;
    is("lifespan_supervisor_exhausted", &[], 1.0);
    drop((again, other));
    // Many more children than have counters of their own, and more supervisors.
    let many: Vec<_> = futures::future::join_all((0..300).map(|number| {
        let child = ChildSpec::new("child", |_| pending::<()>()).kind("sup-many");
        let name = format!("many-{number}");
        async move {
            let spec = child.backoff(Backoff::default());
            start(Supervisor::builder(name).child(spec)).await
        }
    }))
    .await;
    let scrape = Scrape::take(0);
    let series = |metric: &str| scrape.family(metric).unwrap().samples.len();
    assert_eq!(series("lifespan_task_restarts_total"), 257);
    assert_eq!(series("lifespan_supervisor_backoff_seconds"), 257);
    assert_eq!(series("lifespan_supervisor_budget_remaining"), 101);
    drop(many);
}
