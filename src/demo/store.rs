//! A database and a cache that take their time: what the requests wait for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::chance;

/// The database: a few connections, slow at times, and not always of one mind.
#[derive(Debug)]
pub(super) struct Database {
    connections: Semaphore,
    last_order: AtomicU64,
}

impl Database {
    pub(super) fn new() -> Self {
        Self {
            connections: Semaphore::new(CONNECTIONS),
            last_order: AtomicU64::new(1_000),
        }
    }

    /// How many of what was ordered; `None` where there is no such order.
    pub(super) async fn order(&self, id: u64) -> Result<Option<Order>, Conflict> {
        self.query().await?;
        let known = (1..=self.last_order.load(Relaxed)).contains(&id);
        Ok(known.then(|| Order {
            sku: id % SKUS,
            quantity: 1 + id % 5,
        }))
    }

    pub(super) async fn stock(&self, id: u64) -> Result<u64, Conflict> {
        self.query().await?;
        Ok(100 + id % SKUS)
    }

    /// Writes a new order and returns its number.
    pub(super) async fn insert(&self) -> Result<u64, Conflict> {
        self.query().await?;
        Ok(self.last_order.fetch_add(1, Relaxed) + 1)
    }

    async fn query(&self) -> Result<(), Conflict> {
        let connection = self.connections.acquire().await;
        let time = if chance::one_in(500) {
            SLOW
        } else {
            chance::between(Duration::from_millis(1), Duration::from_millis(30))
        };
        sleep(time).await;
        drop(connection);
        if chance::one_in(200) {
            Err(Conflict)
        } else {
            Ok(())
        }
    }
}

const CONNECTIONS: usize = 64;
/// How many articles the shop has.
pub(super) const SKUS: u64 = 64;
/// Longer than any request may take.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) sku: u64,
    pub(super) quantity: u64,
}

/// The database could not serialise the query with others; it can be tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict;

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conflict with another transaction; try again")
    }
}

/// The cache of customers' names.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    customer: String,
    since: Instant,
}

impl Cache {
    /// Who ordered; made up where the cache does not know.
    pub(super) async fn customer(&self, order: u64) -> String {
        sleep(chance::between(
            Duration::from_micros(200),
            Duration::from_millis(3),
        ))
        .await;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&order) {
            return entry.customer.clone();
        }
        let customer = format!("customer-{}", order % 997);
        if entries.len() < MOST_ENTRIES {
            let (customer, since) = (customer.clone(), Instant::now());
            entries.insert(order, Entry { customer, since });
        }
        customer
    }

    /// Forgets what is older than that.
    pub(super) fn evict(&self, age: Duration, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| now.saturating_duration_since(entry.since) <= age);
    }
}

const MOST_ENTRIES: usize = 1_024;
