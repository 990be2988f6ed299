//! Stacks of tasks that wait, in every view of them.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::until;
use crate::client::{Answer, get};

/// Waits in a channel, in a function with a parameter.
async fn waits_in_a_channel<T>(mut receiver: Receiver<T>) {
    receiver.recv().await;
}

/// Waits for two things at once.
async fn waits_for_either(mut receiver: Receiver<u8>) {
    tokio::select! {
        _ = receiver.recv() => {}
        () = tokio::time::sleep(Duration::from_secs(3_600)) => {}
    }
}

/// Two tasks of a kind that wait in a channel, and what keeps them waiting.
fn two(kind: &'static str) -> [(tokio::sync::mpsc::Sender<String>, JoinHandle<()>); 2] {
    [(), ()].map(|()| {
        let (sender, receiver) = channel(1);
        (sender, lifespan::spawn(kind, waits_in_a_channel(receiver)))
    })
}

fn functions(points: &Value) -> Vec<&str> {
    let frames = points[0].as_array().unwrap().iter();
    frames.map(|frame| frame["function"].as_str().unwrap()).collect()
}

#[track_caller]
fn assert_in_a_channel(points: &Value) {
    assert_eq!(points.as_array().unwrap().len(), 1, "{points}");
    let functions = functions(points);
    assert!(functions[0].contains("tokio::sync::mpsc::"), "{functions:?}");
    assert_eq!(
        *functions.last().unwrap(),
        "it::pprof::stacks::waits_in_a_channel::{{closure}}"
    );
    // A debug build of the tests can have more debug information than is read: then there are names and no lines.
    let frame = points[0].as_array().unwrap().last().unwrap();
    if let Some(file) = frame["file"].as_str() {
        assert!(file.ends_with(file!()), "{frame}");
        assert!(frame["line"].as_u64().unwrap() < u64::from(line!()), "{frame}");
    }
}

#[tokio::test]
async fn as_many_rows_as_are_asked_for_say_where_their_tasks_wait() {
    let tasks = two("pprof-stack-rows");
    tokio::task::yield_now().await;
    let path = "/debug/tasks?kind=pprof-stack-rows&sort=age&stacks=1";
    let answer = until(path, |answer| answer.json()["tasks"][0]["waiting_at"].is_array()).await;
    let rows = &answer.json()["tasks"];
    assert_in_a_channel(&rows[0]["waiting_at"]);
    assert_eq!(rows[1]["waiting_at"], Value::Null);
    let lines = "/debug/tasks?kind=pprof-stack-rows&stacks=2";
    assert_eq!(
        until(lines, |answer| !answer.body.contains("\"waiting_at\":null"))
            .await
            .status,
        200
    );
    let id = rows[0]["id"].as_u64().unwrap();
    let one = get(&format!("/debug/tasks/{id}")).await.json();
    // Others may be asked just now.
    if one["waits"].is_null() {
        assert_in_a_channel(&one["waiting_at"]);
    }
    tasks.iter().for_each(|(_, task)| task.abort());
}

#[tokio::test]
async fn tasks_that_wait_at_one_place_are_one_group() {
    let tasks = two("pprof-stack-groups");
    tokio::task::yield_now().await;
    let path = "/debug/tasks?kind=pprof-stack-groups&group_by=waiting_at";
    let answer = until(path, |answer| answer.json()["groups"][0]["waiting_at"].is_array())
        .await
        .json();
    let groups = answer["groups"].as_array().unwrap();
    assert_eq!(
        (groups.len(), &groups[0]["live"]),
        (1, &Value::from(2)),
        "{answer}"
    );
    assert_in_a_channel(&groups[0]["waiting_at"]);
    assert_eq!(groups[0]["waits"], Value::Null);
    tasks.iter().for_each(|(_, task)| task.abort());
}

#[tokio::test]
async fn texts_show_frames_and_branches() {
    let tasks = two("pprof-stack-text");
    let (_sender, receiver) = channel(1);
    let either = lifespan::spawn("pprof-stack-either", waits_for_either(receiver));
    tokio::task::yield_now().await;
    let is_whole = |answer: &Answer| answer.body.contains("stacks::waits_for_either");
    let answer = until("/debug/pprof/tasks?debug=2", is_whole).await;
    let block = |kind: &str| -> String {
        let mut blocks = answer.body.split("\n\n");
        blocks
            .find(|block| block.contains(&format!("{{kind: {kind}}}:")))
            .unwrap()
            .to_owned()
    };
    let one = block("pprof-stack-text");
    let own = "\nit::pprof::stacks::waits_in_a_channel::{{closure}}\n";
    let (above, below) = one.split_once(own).unwrap();
    assert!(
        above.contains("] {kind: pprof-stack-text}:\n") && above.contains("tokio::sync::mpsc::"),
        "{one}"
    );
    // See above.
    assert!(
        !below.starts_with('\t') || below.lines().next().unwrap().contains(file!()),
        "{one}"
    );
    assert!(below.contains("spawned at "), "{one}");
    // No branch stands alone, and what is the runtime's or ours is left out.
    assert!(
        !one.contains("branch") && !one.contains("lifespan::task") && !one.contains("tokio::runtime"),
        "{one}"
    );
    let both = block("pprof-stack-either");
    assert!(
        both.contains("\nbranch 1 of 2:\n") && both.contains("\nbranch 2 of 2:\n"),
        "{both}"
    );
    let (branches, trunk) = both.split_once("\nall branches in:\n").unwrap();
    assert!(
        branches.contains("Sleep") && branches.contains("tokio::sync::mpsc::"),
        "{both}"
    );
    assert!(
        trunk.starts_with("it::pprof::stacks::waits_for_either::{{closure}}\n"),
        "{both}"
    );

    let answer = until("/debug/pprof/tasks?debug=1", is_whole).await;
    let mut groups = answer.body.split("\n\n");
    let group = groups
        .find(|group| group.contains("\"kind\":\"pprof-stack-text\""))
        .unwrap();
    // The first comes after the lines of the head.
    let lines: Vec<&str> = group.lines().skip_while(|line| !line.contains(" @ ")).collect();
    assert!(lines[0].starts_with("2 @ 0x"), "{group}");
    // One address a place, of which each has one frame or, with those inlined there, more.
    let addresses: Vec<&str> = lines[0].split(' ').skip(2).collect();
    let frames = lines.iter().filter_map(|line| line.strip_prefix("#\t"));
    let mut places: Vec<&str> = frames.map(|line| line.split('\t').next().unwrap()).collect();
    places.dedup();
    assert_eq!(places, addresses, "{group}");
    tasks.iter().for_each(|(_, task)| task.abort());
    either.abort();
}

#[tokio::test]
async fn pictures_have_the_frames_below_the_kind() {
    let tasks = two("pprof-stack-picture");
    tokio::task::yield_now().await;
    let whole = |answer: &Answer| answer.body.contains("waits_in_a_channel");
    let answer = until("/debug/pprof/tasks/flamegraph", whole).await;
    assert!(
        answer.body.contains("<title>pprof-stack-picture: 2 tasks, "),
        "{}",
        answer.body
    );
    tasks.iter().for_each(|(_, task)| task.abort());
}
