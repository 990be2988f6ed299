//! Tasks that live as long as the service: supervised, each with a heartbeat.

use std::sync::Arc;
use std::time::Duration;

use lifespan::supervisor::{ChildSpec, Context, StartError};
use lifespan::{Scope, Supervisor};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::kinds;
use super::store::Cache;

/// Starts them. They end with the scope.
pub(super) async fn start(cache: Arc<Cache>, root: &Scope) -> Result<(), StartError> {
    let evict = move || cache.evict(MOST_AGE, Instant::now());
    Supervisor::builder("daemons")
        .child(daemon("cache-evictor", Duration::from_secs(1), evict))
        .child(daemon("config-reloader", Duration::from_secs(2), || {}))
        .child(daemon("session-sweeper", Duration::from_millis(500), || {}))
        .start(root)
        .await
        .map(drop)
}

const MOST_AGE: Duration = Duration::from_secs(10);
/// A daemon that has not come round for so long is overdue.
const HEARTBEAT: Duration = Duration::from_secs(5);

fn daemon(name: &str, period: Duration, work: impl Fn() + Clone + Send + 'static) -> ChildSpec {
    ChildSpec::new(name, move |cx| every(period, cx, work.clone()))
        .kind(&kinds::DAEMON)
        .heartbeat(HEARTBEAT)
}

async fn every(period: Duration, cx: Context, work: impl Fn()) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => work(),
            _ = cx.cancelled() => return,
        }
        cx.heartbeat();
    }
}
