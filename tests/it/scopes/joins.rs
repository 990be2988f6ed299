//! Children that succeed together, or not at all.

use std::time::Duration;

use lifespan::scope::{Cause, Context, JoinFailure};
use lifespan::{KindId, Outcome, Scope};
use tokio::time::{Instant, sleep};

use super::{SECOND, settle};
use crate::support::{Counts, assert_settled};

#[tokio::test(start_paused = true)]
async fn values_come_in_the_order_of_the_children() {
    let scope = Scope::new("join");
    let children = [3u32, 1, 2].map(|seconds| {
        move |_: Context| async move {
            sleep(SECOND * seconds).await;
            Ok::<_, String>(seconds)
        }
    });
    assert_eq!(scope.try_join("scope-join", children).await, Ok(vec![3, 1, 2]));
    assert_eq!(scope.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_error_cancels_the_rest_and_waits_for_them() {
    const KIND: &str = "scope-join-fails";
    let start = Instant::now();
    let scope = Scope::new("join-fails");
    let children = (0..4u32).map(|at| {
        move |cx: Context| async move {
            if at == 2 {
                sleep(SECOND).await;
                return Err(format!("child {at}"));
            }
            assert_eq!(cx.cancelled().await.cause(), Cause::SiblingFailed);
            // Those that fail later do so because of the first.
            sleep(Duration::from_millis(500)).await;
            if at == 3 {
                Err("child 3".to_owned())
            } else {
                Ok(at)
            }
        }
    });
    let joined = scope.try_join(KIND, children).await;
    assert_eq!(joined, Err(JoinFailure::Failed("child 2".to_owned())));
    assert_eq!(start.elapsed(), Duration::from_millis(1_500));
    // The scope itself goes on.
    assert_eq!(scope.reason(), None);
    let mut expected = Counts::default();
    for outcome in [
        Outcome::Completed,
        Outcome::Completed,
        Outcome::Failed,
        Outcome::Failed,
    ] {
        expected.add(outcome);
    }
    assert_settled(KindId::named(KIND), expected);
}

#[tokio::test(start_paused = true)]
async fn a_panic_cancels_the_rest_too() {
    let scope = Scope::new("join-panics");
    let children = [true, false].map(|panics| {
        move |cx: Context| async move {
            if panics {
                panic!("told to");
            }
            cx.cancelled().await;
            Ok::<(), String>(())
        }
    });
    let joined = scope.try_join("scope-join-panics", children).await;
    assert_eq!(joined, Err(JoinFailure::Panicked("told to".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_dropped_aborts_its_children() {
    const KIND: &str = "scope-join-dropped";
    let scope = Scope::new("join-dropped");
    let children = [(), ()].map(|()| |_: Context| std::future::pending::<Result<(), ()>>());
    let joined = tokio::time::timeout(SECOND, scope.try_join(KIND, children)).await;
    assert!(joined.is_err());
    settle().await;
    assert!(scope.close(SECOND).await.is_clean());
    let mut expected = Counts::default();
    expected.add(Outcome::Cancelled);
    expected.add(Outcome::Cancelled);
    assert_settled(KindId::named(KIND), expected);
}
