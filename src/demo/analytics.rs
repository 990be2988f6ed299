//! A bounded pool: a few workers behind a queue that says no when it is full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifespan::Track;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::chance;
use super::kinds;

/// Something was sold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sale {
    pub(super) sku: u64,
    pub(super) cents: u64,
}

/// The way into the pool. Its workers end when the last one of these is gone and the queue is empty.
#[derive(Clone, Debug)]
pub(super) struct Analytics(mpsc::Sender<Sale>);

impl Analytics {
    /// Whether there was room for it.
    pub(super) fn submit(&self, sale: Sale) -> bool {
        self.0.try_send(sale).is_ok()
    }
}

pub(super) fn start() -> (Analytics, Vec<JoinHandle<()>>) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let queue = Arc::new(Mutex::new(queue));
    let workers = (0..WORKERS).map(|number| {
        lifespan::Builder::new(&kinds::ANALYTICS_WORKER)
            .name(format!("analytics-{number}"))
            .long_lived()
            .spawn(work(Arc::clone(&queue)))
    });
    (Analytics(sender), workers.collect())
}

const QUEUE: usize = 64;
const WORKERS: usize = 4;

async fn work(queue: Arc<Mutex<mpsc::Receiver<Sale>>>) {
    let mut turnover = BTreeMap::new();
    loop {
        let sale = queue.lock().await.recv().await;
        let Some(sale) = sale else { break };
        // Tracked in its place: the worker's task is one thing to see, what it works on another.
        record(&mut turnover, sale).tracked(&kinds::ANALYTICS).await;
    }
}

async fn record(turnover: &mut BTreeMap<u64, u64>, sale: Sale) {
    sleep(chance::between(
        Duration::from_millis(5),
        Duration::from_millis(60),
    ))
    .await;
    let sum = turnover.entry(sale.sku).or_default();
    *sum = sum.saturating_add(sale.cents);
}
