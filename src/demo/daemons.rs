//! Tasks that live as long as the service.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::kinds;
use super::stop::Stop;
use super::store::Cache;

pub(super) fn start(cache: Arc<Cache>, stop: &Stop) -> Vec<JoinHandle<()>> {
    let evictor = every(Duration::from_secs(1), stop.clone(), move || {
        cache.evict(MOST_AGE, Instant::now());
    });
    let mut beats = 0u64;
    let heartbeat = every(Duration::from_millis(500), stop.clone(), move || {
        beats = beats.wrapping_add(1);
    });
    let reloader = {
        let stop = stop.clone();
        async move { stop.requested().await }
    };
    vec![
        daemon("cache-evictor").spawn(evictor),
        daemon("heartbeat").spawn(heartbeat),
        daemon("config-reloader").spawn(reloader),
    ]
}

fn daemon(name: &str) -> lifespan::Builder {
    lifespan::Builder::new(&kinds::DAEMON).name(name).long_lived()
}

async fn every(period: Duration, stop: Stop, mut work: impl FnMut()) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => work(),
            () = stop.requested() => return,
        }
    }
}

const MOST_AGE: Duration = Duration::from_secs(10);
