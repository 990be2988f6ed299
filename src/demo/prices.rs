//! A dedicated thread: a feed whose library belongs to the thread that opened it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lifespan::thread::{CallError, Server, serve};
use tokio::time::Instant;

use super::chance;
use super::kinds;
use super::store::SKUS;

/// The prices of today, in cents. The thread ends with the last one who can ask.
#[derive(Debug)]
pub(super) struct Prices(Server<u64, u64>);

impl Prices {
    pub(super) fn open() -> io::Result<Self> {
        serve(&kinds::PRICE_FEED, Feed::open, |feed, sku| feed.quote(sku)).map(Self)
    }

    /// 0 where there is no such article.
    pub(super) async fn of(&self, sku: u64) -> Result<u64, CallError> {
        self.0.call(sku).await
    }
}

/// As libraries have them that were not made for threads.
struct Feed {
    prices: Rc<[Cell<u64>]>,
    changed: Instant,
}

impl Feed {
    fn open() -> Self {
        Self {
            prices: (0..SKUS).map(|sku| Cell::new(500 + 10 * sku)).collect(),
            changed: Instant::now(),
        }
    }

    fn quote(&mut self, sku: u64) -> u64 {
        if self.changed.elapsed() >= EVERY {
            self.changed = Instant::now();
            if let Some(price) = self.price(chance::below(SKUS)) {
                price.set(100 + chance::below(5_000));
            }
        }
        self.price(sku).map_or(0, Cell::get)
    }

    fn price(&self, sku: u64) -> Option<&Cell<u64>> {
        self.prices.get(usize::try_from(sku).ok()?)
    }
}

/// How often a price changes.
const EVERY: Duration = Duration::from_millis(250);
