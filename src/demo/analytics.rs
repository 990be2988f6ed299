//! A bounded pool: so many sales are recorded at a time, so many wait, and further ones are refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lifespan::{Scope, WorkerPool};
use tokio::time::sleep;

use super::chance;
use super::kinds;

/// Something was sold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sale {
    pub(super) sku: u64,
    pub(super) cents: u64,
}

/// The way into the pool.
#[derive(Debug)]
pub(super) struct Analytics {
    pool: WorkerPool,
    turnover: Arc<Turnover>,
}

/// In cents, by article.
type Turnover = Mutex<BTreeMap<u64, u64>>;

impl Analytics {
    pub(super) fn start(root: &Scope) -> Self {
        let pool = WorkerPool::builder(&kinds::ANALYTICS);
        Self {
            pool: pool.workers(WORKERS).queue(QUEUE).build(root),
            turnover: Arc::default(),
        }
    }

    /// Whether there was room for it. Nobody waits until it is recorded.
    pub(super) fn submit(&self, sale: Sale) -> bool {
        let turnover = Arc::clone(&self.turnover);
        let job = self.pool.try_submit(move |_cx| record(turnover, sale));
        job.is_ok()
    }
}

const QUEUE: usize = 32;
const WORKERS: usize = 4;

async fn record(turnover: Arc<Turnover>, sale: Sale) {
    sleep(chance::between(
        Duration::from_millis(5),
        Duration::from_millis(60),
    ))
    .await;
    let mut turnover = turnover.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = turnover.entry(sale.sku).or_default();
    *sum = sum.saturating_add(sale.cents);
}
