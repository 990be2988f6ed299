//! Text of the host that means something where it is shown.

use std::future::pending;

use serde_json::{Value, json};

use crate::client::{Answer, get, get_lines};

const HOSTILE: &str = "\"}\n</script><b>\u{1b}[31m\u{202e}\u{2028}\u{0}\\";
/// How it comes out: what no output needs is gone, and the rest is text.
const CLEANED: &str = "\"}_</script><b>_[31m___\\";

/// No line break or escape, and nothing that reorders what a person reads.
fn assert_clean(answer: &Answer) {
    let hostile = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!answer.body.contains(hostile), "{:?}", answer.body);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn names_and_attributes_come_out_as_text() {
    let kind = lifespan::KindId::named(&format!("esc{HOSTILE}"));
    assert_eq!(kind.name(), format!("esc{CLEANED}"));
    let task = lifespan::Builder::new(kind)
        .name(HOSTILE)
        .attribute(HOSTILE, HOSTILE)
        .spawn(pending::<()>());
    tokio::task::yield_now().await;
    let ours = |rows: &Value| -> Value {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["kind"] == kind.name()).unwrap().clone()
    };
    let listing = get("/debug/tasks?limit=10000").await;
    let lines = get_lines("/debug/tasks").await;
    let streamed = Value::Array(lines.lines());
    for row in [ours(&listing.json()["tasks"]), ours(&streamed)] {
        assert_eq!(row["name"], CLEANED);
        assert_eq!(row["attributes"], json!({ CLEANED: CLEANED }));
    }
    let groups = get("/debug/tasks?group_by=kind").await;
    ours(&groups.json()["groups"]);
    let kinds = get("/debug/kinds").await;
    ours(&kinds.json()["kinds"]);
    // One row is one line, whatever is in it.
    assert!(
        lines
            .body
            .lines()
            .all(|line| line.starts_with('{') && line.ends_with('}'))
    );
    for answer in [listing, lines, groups, kinds] {
        assert_clean(&answer);
    }
    task.abort();
}

#[tokio::test]
async fn messages_of_panics_come_out_as_text() {
    let agent = lifespan::Agent::builder("test").without_server().start().unwrap();
    let task = lifespan::spawn("escaping-panic", async { panic!("{HOSTILE}") });
    task.await.unwrap_err();
    let answer = get("/debug/exits?kind=escaping-panic").await;
    let panic = &answer.json()["exits"][0]["panic"];
    // A message keeps its line breaks, which JSON writes as `\n`.
    assert_eq!(panic["message"], "\"}\n</script><b>_[31m___\\");
    assert!(panic["location"].as_str().unwrap().starts_with(file!()));
    assert_eq!(answer.body.lines().count(), 1);
    assert_clean(&answer);
    drop(agent);
}

#[tokio::test]
async fn what_a_request_says_comes_back_as_text() {
    let encoded: String = HOSTILE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for path in [
        format!("/debug/tasks?{encoded}=1"),
        format!("/debug/tasks?state={encoded}"),
        format!("/debug/tasks/{encoded}"),
        format!("/debug/pprof/{encoded}"),
    ] {
        let answer = get(&path).await;
        assert!([400, 404].contains(&answer.status), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_clean(&answer);
    }
    // The only HTML there is has nothing of the host's in it.
    for path in ["/", "/debug/pprof/"] {
        let answer = get(path).await;
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(!answer.body.contains("<script") && !answer.body.contains("<b>"));
        assert_clean(&answer);
    }
}
