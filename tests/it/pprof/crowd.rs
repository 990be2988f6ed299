//! Many who ask at once.

use std::future::pending;

use crate::client::get;
use crate::processes::run_alone;

#[test]
fn a_thousand_requests_at_once_share_one_dump_or_are_refused_at_once() {
    run_alone("pprof::crowd::a_thousand_alone", &[]);
}

#[tokio::test]
#[ignore = "needs a process of its own"]
async fn a_thousand_alone() {
    const TASKS: usize = 5_000;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| lifespan::spawn("pprof-crowd", pending::<()>()))
        .collect();
    tokio::task::yield_now().await;
    let asking = (0..1_000).map(|at| {
        // Two views, which cannot share a dump.
        let path = if at % 10 == 9 {
            "taskleak?debug=1"
        } else {
            "tasks?debug=1"
        };
        async move { get(&format!("/debug/pprof/{path}")).await }
    });
    let answers = futures::future::join_all(asking).await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((answered.len(), refused.len()), (900, 100));
    for answer in &refused {
        assert_eq!((answer.status, answer.header("x-go-pprof")), (429, "1"));
        assert!(
            answer.body.starts_with("a dump of other tasks is under way"),
            "{}",
            answer.body
        );
    }
    for answer in &answered {
        // The same to the letter, the time of the dump included.
        assert_eq!(answer.body, answered[0].body);
    }
    assert!(
        answered[0]
            .body
            .starts_with(&format!("tasks profile: total {TASKS}\n"))
    );
    // Nothing is left under way.
    assert_eq!(get("/debug/pprof/taskleak?debug=1").await.status, 200);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
