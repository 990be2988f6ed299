//! Flame graphs.

use tokio::sync::oneshot;

use super::{asked, until};

#[tokio::test]
async fn a_picture_runs_its_own_script_and_nothing_else() {
    // With a waker, so that no sweep of another test makes it an orphan.
    let (_keeps, kept) = oneshot::channel::<()>();
    let task = lifespan::spawn("pprof <picture>", kept);
    tokio::task::yield_now().await;
    let ours = "<title>pprof &lt;picture&gt;: 1 tasks, ";
    let answer = until("/debug/pprof/tasks/flamegraph", |answer| {
        answer.body.contains(ours)
    })
    .await;
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Neither would be allowed.
    assert!(!answer.body.contains("style=") && !answer.body.contains("onclick"));
    assert_eq!(answer.body.matches("<script>").count(), 1);
    let other = asked("/debug/pprof/goroutineleak/flamegraph").await;
    assert_eq!(other.status, 200);
    assert!(!other.body.contains("pprof &lt;picture&gt;"));
    task.abort();
}
