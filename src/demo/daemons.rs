//! Tasks that live as long as the service.

use std::sync::Arc;
use std::time::Duration;

use lifespan::scope::Context;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::kinds;
use super::store::Cache;

pub(super) fn start(cache: Arc<Cache>, cx: &Context) {
    let evictor = every(Duration::from_secs(1), cx.clone(), move || {
        cache.evict(MOST_AGE, Instant::now());
    });
    let mut beats = 0u64;
    let heartbeat = every(Duration::from_millis(500), cx.clone(), move || {
        beats = beats.wrapping_add(1);
    });
    let reloader = {
        let cx = cx.clone();
        async move { drop(cx.cancelled().await) }
    };
    daemon("cache-evictor").spawn(evictor);
    daemon("heartbeat").spawn(heartbeat);
    daemon("config-reloader").spawn(reloader);
}

fn daemon(name: &str) -> lifespan::Builder {
    lifespan::Builder::new(&kinds::DAEMON).name(name).long_lived()
}

async fn every(period: Duration, cx: Context, mut work: impl FnMut()) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => work(),
            _ = cx.cancelled() => return,
        }
    }
}

const MOST_AGE: Duration = Duration::from_secs(10);
