//! The text dump: `docs/FORMATS.md`.

use std::future::pending;

use super::{asked, until};
use crate::client::Answer;

/// The block of the only task of a kind, with numbers replaced.
async fn block(kind: &str) -> String {
    let block = |answer: &Answer| -> Option<String> {
        let mut blocks = answer.body.split("\n\n");
        blocks
            .find(|block| block.contains(&format!("{{kind: {kind}")))
            .map(normal)
    };
    let answer = until("/debug/pprof/tasks?debug=2", |answer| block(answer).is_some()).await;
    block(&answer).unwrap()
}

/// `#` for every number of more than one part, or after `task `.
fn normal(block: &str) -> String {
    let mut normal = String::new();
    let mut digits = false;
    for c in block.chars() {
        match c {
            '0'..='9' if digits => {}
            '0'..='9' => normal.push('#'),
            c => normal.push(c),
        }
        digits = c.is_ascii_digit();
    }
    normal
}

#[tokio::test]
async fn a_dump_begins_with_its_version_and_ends_with_its_count() {
    let task = lifespan::spawn("pprof-text", pending::<()>());
    let answer = asked("/debug/pprof/tasks?debug=2").await;
    let first = answer.body.lines().next().unwrap();
    assert!(
        first.starts_with("lifespan dump of tasks, version 1; 20"),
        "{first}"
    );
    let blocks = answer
        .body
        .lines()
        .filter(|line| line.starts_with("task "))
        .count();
    let last = answer.body.lines().last().unwrap();
    assert_eq!(last, format!("end of dump, {blocks} tasks"));
    task.abort();
}

#[tokio::test]
async fn a_block_says_what_a_task_is_and_who_spawned_it() {
    let (told, task) = tokio::sync::oneshot::channel();
    lifespan::spawn("pprof-parent", async {
        let builder = lifespan::Builder::new("pprof-block").name("shard 7");
        told.send(builder.attribute("shard", 7).spawn(pending::<()>()))
            .unwrap();
    });
    let task = task.await.unwrap();
    tokio::task::yield_now().await;
    let block = block("pprof-block").await;
    let lines: Vec<&str> = block.lines().collect();
    assert_eq!(
        lines[0],
        "task # [idle] {kind: pprof-block, name: \"shard #\", shard: #}:"
    );
    let spawned = format!("spawned at {}:#:# by task #", file!());
    assert_eq!(lines[lines.len() - 2], spawned);
    assert_eq!(
        lines[lines.len() - 1],
        "\tage #.# s, idle #.# s, busy #.# s, # polls, # wakers"
    );
    task.abort();
}
