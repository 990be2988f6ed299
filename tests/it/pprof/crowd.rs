//! Many who ask at once.

use std::future::pending;

use crate::client::get;

#[tokio::test]
async fn a_thousand_requests_at_once_are_answered_or_refused_at_once() {
    let tasks: Vec<_> = (0..5_000)
        .map(|_| lifespan::spawn("pprof-crowd", pending::<()>()))
        .collect();
    let asking = (0..1_000).map(|at| {
        // Two kinds of dumps, which cannot be shared with each other.
        let path = if at % 10 == 0 {
            "taskleak?debug=1"
        } else {
            "tasks?debug=1"
        };
        async move { get(&format!("/debug/pprof/{path}")).await }
    });
    let answers = futures::future::join_all(asking).await;
    let with = |status: u16| answers.iter().filter(move |answer| answer.status == status);
    assert_eq!(with(200).count() + with(429).count(), 1_000);
    for refused in with(429) {
        assert_eq!(refused.header("x-go-pprof"), "1");
        assert!(
            refused.body.starts_with("a dump of other tasks is under way"),
            "{}",
            refused.body
        );
    }
    // Other tests of this process may be refused us, or refuse us: but whoever is answered sees all.
    let whole = with(200).filter(|answer| answer.body.starts_with("tasks profile"));
    for answer in whole {
        let ours = answer.body.lines().zip(answer.body.lines().skip(1));
        let ours = ours.filter(|(_, labels)| labels.contains("\"kind\":\"pprof-crowd\""));
        let count: usize = ours
            .map(|(count, _)| count.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(count, 5_000);
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
