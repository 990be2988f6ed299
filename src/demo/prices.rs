//! A dedicated thread: a feed whose library blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::chance;
use super::kinds;
use super::store::SKUS;

/// The prices of today, in cents.
#[derive(Debug)]
pub(super) struct Prices(Vec<AtomicU64>);

impl Prices {
    /// 0 where there is no such article.
    pub(super) fn of(&self, sku: u64) -> u64 {
        let index = usize::try_from(sku).unwrap_or(usize::MAX);
        self.0.get(index).map_or(0, |price| price.load(Relaxed))
    }
}

/// The thread that keeps prices current, until this is dropped and for one change of a price longer.
#[derive(Debug)]
pub(super) struct Feed {
    _open: mpsc::Sender<()>,
}

impl Feed {
    pub(super) fn start() -> (Self, Arc<Prices>) {
        let prices = Arc::new(Prices(
            (0..SKUS).map(|sku| AtomicU64::new(500 + 10 * sku)).collect(),
        ));
        let (open, closed) = mpsc::channel();
        let feeding = Arc::clone(&prices);
        lifespan::thread::spawn(&kinds::PRICE_FEED, move || feed(&feeding, &closed));
        (Self { _open: open }, prices)
    }
}

const EVERY: Duration = Duration::from_millis(250);

fn feed(prices: &Prices, closed: &Receiver<()>) {
    while closed.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let sku = usize::try_from(chance::below(SKUS)).unwrap_or_default();
        if let Some(price) = prices.0.get(sku) {
            price.store(100 + chance::below(5_000), Relaxed);
        }
    }
}
