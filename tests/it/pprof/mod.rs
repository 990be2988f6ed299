//! Where tasks wait, as people and tools see it.

#[cfg(feature = "cli")]
mod cli;
mod crowd;
mod go;
mod pictures;
mod routes;
mod rows;
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
