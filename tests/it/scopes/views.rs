//! What readers see of scopes.

use std::future::pending;
use std::time::Duration;

use lifespan::{Reason, Scope, registry};
use serde_json::{Value, json};
use tokio::time::advance;

use super::{SECOND, settle};
use crate::client::get;
use crate::exposition::Scrape;
use crate::support::wait_until;

/// The scopes of one tree, as `/debug/scopes` shows them.
async fn shown(tree: &str) -> Vec<Value> {
    let answer = get("/debug/scopes?limit=100000").await.json();
    let scopes = answer["scopes"].as_array().unwrap().iter();
    let ours = scopes.filter(|scope| scope["path"].as_str().unwrap().split('/').next() == Some(tree));
    ours.cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn the_tree_is_shown_with_its_counts() {
    let service = Scope::new("views-tree");
    let request = service.child("request").timeout(SECOND * 60);
    request.on_close("flush", SECOND, async {}).unwrap();
    let tasks = [(); 3].map(|()| request.spawn("scope-views-tree", |_| pending::<()>()));
    let scopes = shown("views-tree").await;
    assert_eq!(scopes.len(), 2);
    assert_eq!(scopes[0]["parent"], Value::Null);
    assert_eq!(scopes[0]["tasks"], 0);
    let child = &scopes[1];
    assert_eq!(child["parent"], scopes[0]["id"]);
    assert_eq!(
        (&child["path"], &child["name"]),
        (&json!("views-tree/request"), &json!("request"))
    );
    assert_eq!(
        (&child["state"], &child["reason"]),
        (&json!("open"), &Value::Null)
    );
    assert_eq!(
        (&child["tasks"], &child["overstayed"], &child["cleanups"]),
        (&json!(3), &json!(0), &json!(1))
    );
    assert_eq!(child["deadline_seconds"], 60.0);
    service.cancel(Reason::new("client went away"));
    advance(SECOND * 6).await;
    let child = &shown("views-tree").await[1];
    assert_eq!(
        (&child["state"], &child["reason"]),
        (&json!("cancelled"), &json!("client went away"))
    );
    assert_eq!(child["overstayed"], 3);
    let _ = service.close(SECOND).await;
    let child = &shown("views-tree").await[1];
    assert_eq!((&child["state"], &child["tasks"]), (&json!("closed"), &json!(0)));
    drop((service, request, tasks));
    assert!(shown("views-tree").await.is_empty());
}

#[tokio::test]
async fn limits_are_kept() {
    let scopes = [(); 3].map(|()| Scope::new("views-limit"));
    let answer = get("/debug/scopes?limit=2").await.json();
    assert_eq!(answer["scopes"].as_array().unwrap().len(), 2);
    assert_eq!(answer["truncated"], true);
    assert!(answer["total"].as_u64().unwrap() >= 3);
    for bad in ["limit=0", "limit=100001", "limit=x"] {
        assert_eq!(get(&format!("/debug/scopes?{bad}")).await.status, 400, "{bad}");
    }
    drop(scopes);
}

#[tokio::test(start_paused = true)]
async fn the_overstayed_are_found_by_filter_row_and_metric() {
    const KIND: &str = "scope-views-late";
    let scope = Scope::new("views-late");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let line = line!() + 3;
    scope
        .spawn("scope-views-opener", |_| async move {
            lifespan::thread::spawn(KIND, move || held.recv());
        })
        .await
        .unwrap();
    let report = scope.close(SECOND).await;
    assert_eq!(report.late.len(), 1);
    advance(Duration::from_millis(1)).await;
    let answer = get(&format!("/debug/tasks?kind={KIND}&verdict=overstayed"))
        .await
        .json();
    assert_eq!(answer["total"], 1);
    let row = &answer["tasks"][0];
    assert_eq!(
        (&row["verdict"], &row["scope"]),
        (&json!("overstayed"), &json!("views-late"))
    );
    let groups = get(&format!("/debug/tasks?kind={KIND}&group_by=kind"))
        .await
        .json();
    assert_eq!(groups["groups"][0]["overstayed"], 1);
    // Other tests sweep as well, on the real clock: those count what is late by it.
    registry::sweep();
    let scrape = Scrape::take(usize::MAX);
    let leaked = scrape.family("lifespan_tasks_leaked").unwrap();
    let ours: Vec<_> = leaked
        .samples
        .iter()
        .filter(|sample| sample.labels["kind"] == KIND)
        .collect();
    let [ours] = ours[..] else { panic!("{leaked:?}") };
    assert_eq!((&*ours.labels["verdict"], ours.value), ("overstayed", 1.0));
    let site = &ours.labels["spawned_at"];
    assert!(site.starts_with(&format!("{}:{line}:", file!())), "{site}");
    drop(release);
}

#[tokio::test]
async fn open_scopes_are_counted() {
    let open = || {
        Scrape::take(usize::MAX)
            .value("lifespan_scope_open", &[])
            .unwrap()
    };
    let scopes: Vec<Scope> = (0..1_000).map(|_| Scope::new("views-open")).collect();
    assert!(open() >= 1_000.0);
    // One half is closed and the other dropped. Other tests have scopes too, but in the end not so many.
    for scope in scopes.iter().step_by(2) {
        assert!(scope.close(SECOND).await.is_clean());
    }
    let kept: Vec<Scope> = scopes.into_iter().step_by(2).collect();
    wait_until("neither is counted", || open() < 500.0);
    drop(kept);
}

#[tokio::test]
async fn an_exit_tells_the_scope() {
    let _agent = lifespan::Agent::builder("scope-views").start().unwrap();
    let scope = Scope::new("views-exit").child("request");
    scope.spawn("scope-views-exit", |_| async {}).await.unwrap();
    settle().await;
    let answer = get("/debug/exits?kind=scope-views-exit").await.json();
    assert_eq!(answer["exits"][0]["scope"], "views-exit/request");
    // A scope that is gone is still told of.
    drop(scope);
    let answer = get("/debug/exits?kind=scope-views-exit").await.json();
    assert_eq!(answer["exits"][0]["scope"], "views-exit/request");
}
