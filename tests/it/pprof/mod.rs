//! Where tasks wait, as people and tools see it.

#[cfg(feature = "cli")]
mod cli;
mod crowd;
mod go;
mod pictures;
mod routes;
mod rows;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stacks;
mod texts;
#[cfg(target_os = "linux")]
mod unasked;

use tokio::time::Instant;

use crate::client::{Answer, get};
use crate::support::DEADLINE;

/// Asks a route that asks tasks. One dump is taken at a time, and the other tests of this process take theirs.
pub(super) async fn asked(path: &str) -> Answer {
    let start = Instant::now();
    loop {
        let answer = get(path).await;
        if answer.status != 429 {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "always refused: {path}");
        tokio::task::yield_now().await;
    }
}

/// Asks until the answer is as it should be. A dump can have begun before the test did, for another one; and the first of
/// a debug build reads symbols for longer than it may take.
pub(super) async fn until(path: &str, right: impl Fn(&Answer) -> bool) -> Answer {
    let start = Instant::now();
    loop {
        let answer = asked(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        if right(&answer) {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "{path}: {}", answer.body);
    }
}
