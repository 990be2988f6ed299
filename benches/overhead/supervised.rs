//! The same work, done by a child of a supervisor.

use std::time::Duration;

use lifespan::supervisor::{AutoShutdown, ChildSpec, Exit, Restart, Supervisor};
use lifespan::{Kind, Scope};

use crate::cases::{Case, SelfWakes, WAKES};

static KIND: Kind = Kind::new("bench-child");

/// One supervisor with one child does it so often; the start and the stop of the supervisor are part of it.
pub(crate) async fn run(case: Case, ops: u64) {
    let polls = case == Case::Poll;
    let mut left = if polls { ops.div_ceil(WAKES) } else { ops };
    let child = ChildSpec::new("child", move |_| {
        left = left.saturating_sub(1);
        let last = left == 0;
        async move {
            if polls {
                SelfWakes(WAKES).await;
            }
            if last {
                Exit::Stop
            } else {
                Exit::restart("it fails")
            }
        }
    });
    Supervisor::builder("bench")
        .intensity(u32::MAX, Duration::from_secs(1))
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(child.kind(&KIND).restart(Restart::Transient).significant())
        .start(&Scope::new("bench"))
        .await
        .expect("it is valid")
        .ended()
        .await;
}
