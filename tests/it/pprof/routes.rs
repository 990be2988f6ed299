//! Statuses, headers and words: those of Go, whose client knows them.

use std::future::pending;

use axum::http::Request;
use lifespan::server::{self, Settings};

use super::asked;
use crate::client::{ask, get, router};

/// Every profile that answers, and its bare name.
const ANSWERING: [(&str, &str); 5] = [
    ("tasks", "tasks"),
    ("goroutine", "goroutine"),
    ("taskleak", "taskleak"),
    ("goroutineleak", "goroutineleak"),
    ("threadcreate", "threadcreate"),
];

#[tokio::test]
async fn a_profile_is_a_file_that_is_downloaded() {
    for (path, name) in ANSWERING {
        let answer = asked(&format!("/debug/pprof/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(
            answer.header("content-disposition"),
            format!("attachment; filename=\"{name}\"")
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-go-pprof"), "");
        assert!(answer.bytes.starts_with(&[0x1f, 0x8b]), "{path} is not gzip");
    }
}

#[tokio::test]
async fn texts_are_shown() {
    for (path, name) in ANSWERING {
        let answer = asked(&format!("/debug/pprof/{path}?debug=1")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("content-disposition"), "");
        assert!(
            answer.body.starts_with(&format!("{name} profile: total ")),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn what_go_refuses_is_refused_in_its_words_and_what_it_guesses_at_too() {
    const NO_INTEGER: &str = "invalid value for \"seconds\" - must be a positive integer\n";
    for (query, status, message) in [
        ("tasks?seconds=0", 400, NO_INTEGER),
        ("tasks?seconds=-1", 400, NO_INTEGER),
        ("tasks?seconds=1.5", 400, NO_INTEGER),
        ("tasks?seconds=x", 400, NO_INTEGER),
        (
            "tasks?seconds=61",
            400,
            "invalid value for \"seconds\" - must be at most 60\n",
        ),
        (
            "goroutine?seconds=1&debug=1",
            400,
            "seconds and debug params are incompatible\n",
        ),
        (
            "tasks?debug=3",
            400,
            "`3` is no value of `debug`: it takes a whole number from 0 to 2\n",
        ),
        (
            "tasks?gc=1",
            400,
            "unknown parameter `gc`: known are debug, seconds\n",
        ),
        ("task", 404, "Unknown profile\n"),
        ("threadcreate/flamegraph", 404, "Unknown profile\n"),
        ("tasks/flamegraph/", 404, "Unknown profile\n"),
    ] {
        let answer = get(&format!("/debug/pprof/{query}")).await;
        assert_eq!((answer.status, &*answer.body), (status, message), "{query}");
        assert_eq!(answer.header("x-go-pprof"), "1", "{query}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("content-disposition"), "");
    }
    let post = Request::post("/debug/pprof/tasks").header("host", "localhost");
    let answer = ask(router(), post).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    let head = Request::head("/debug/pprof/tasks?debug=1").header("host", "localhost");
    let answer = ask(router(), head).await;
    assert!([200, 429].contains(&answer.status) && answer.body.is_empty());
}

#[tokio::test]
async fn a_difference_says_that_it_is_one() {
    let lives = lifespan::spawn("pprof-delta", pending::<()>());
    let answer = asked("/debug/pprof/tasks?seconds=1").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"tasks-delta\""
    );
    lives.abort();
}

#[tokio::test]
async fn the_index_links_what_answers_and_says_why_the_rest_does_not() {
    let answer = get("/debug/pprof/").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    for link in [
        "<a href=\"tasks?debug=1\">tasks</a>",
        "<a href=\"tasks?debug=2\">each task</a>",
        "<a href=\"taskleak/flamegraph\">flame graph</a>",
        "<a href=\"threadcreate?debug=1\">",
    ] {
        assert!(answer.body.contains(link), "{link}: {}", answer.body);
    }
    for missing in ["profile", "wall", "block", "heap", "allocs", "trace"] {
        assert!(
            answer
                .body
                .contains(&format!("<td>{missing} (not available)</td>"))
        );
        let refused = get(&format!("/debug/pprof/{missing}")).await;
        assert_eq!((refused.status, refused.header("x-go-pprof")), (501, "1"));
    }
    let count = |name: &str| -> Option<u64> {
        let (before, _) = answer.body.split_once(&format!("</td><td><a href=\"{name}?"))?;
        before.rsplit_once("<td>")?.1.parse().ok()
    };
    assert!(count("tasks").is_some(), "{}", answer.body);
    #[cfg(target_os = "linux")]
    assert!(count("threadcreate").unwrap() >= 1);
}

#[tokio::test]
async fn the_command_line_is_shown_only_where_that_is_allowed() {
    let path = "/debug/pprof/cmdline";
    let answer = get(path).await;
    assert_eq!((answer.status, answer.header("x-go-pprof")), (403, "1"));
    let allowing = server::router(&Settings::new().show_command_line(true));
    let answer = ask(allowing, Request::get(path).header("host", "localhost")).await;
    assert_eq!(answer.status, 200);
    let words: Vec<&str> = answer.body.split('\0').collect();
    assert_eq!(words, std::env::args().collect::<Vec<_>>());
}

#[tokio::test]
async fn there_are_no_symbols_to_ask_for() {
    let answer = get("/debug/pprof/symbol?0x1").await;
    assert_eq!((answer.status, &*answer.body), (200, "num_symbols: 0\n"));
}
