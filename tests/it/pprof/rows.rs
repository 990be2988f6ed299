//! Where tasks wait, in rows and groups.

use std::future::pending;

use serde_json::{Value, json};

use super::until;
use crate::client::get;

#[tokio::test]
async fn groups_by_await_point_count_every_task_once() {
    let tasks: Vec<_> = (0..4)
        .map(|_| lifespan::spawn("pprof-groups", pending::<()>()))
        .collect();
    tokio::task::yield_now().await;
    let path = "/debug/tasks?kind=pprof-groups&group_by=waiting_at";
    let answer = until(path, |answer| answer.json()["total"] == 4).await.json();
    let groups = answer["groups"].as_array().unwrap();
    let live: u64 = groups.iter().map(|group| group["live"].as_u64().unwrap()).sum();
    assert_eq!(live, 4);
    for group in groups {
        let (at, why) = (&group["waiting_at"], &group["waits"]);
        assert!(at.is_array() != why.is_string(), "{group}");
        assert_eq!(group["kind"], Value::Null);
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn one_task_says_where_it_waits_or_why_that_is_not_known() {
    let task = lifespan::Builder::new("pprof-one")
        .name("one")
        .spawn(pending::<()>());
    tokio::task::yield_now().await;
    let row = get("/debug/tasks?kind=pprof-one").await.json();
    let id = row["tasks"][0]["id"].as_u64().unwrap();
    let answer = get(&format!("/debug/tasks/{id}")).await.json();
    assert_eq!((&answer["name"], &answer["exits"]), (&json!("one"), &json!([])));
    assert!(
        answer["waiting_at"].is_array() != answer["waits"].is_string(),
        "{answer}"
    );
    task.abort();
}

#[tokio::test]
async fn stacks_stand_in_rows_and_not_in_groups() {
    let answer = get("/debug/tasks?group_by=kind&stacks=1").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    let answer = get("/debug/tasks?stacks=10001").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}
