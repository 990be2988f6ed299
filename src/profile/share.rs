//! Work that is done once for all who ask for the same while it is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// At most one piece of work at a time.
///
/// # Invariants
///
/// 1. `current` holds what is asked for exactly as long as its [`Lead`] lives, which is in the future of who does
///    the work: so that a client that goes away ends it.
/// 2. Nothing is awaited or dropped under the lock but a channel.
#[derive(Debug)]
pub(super) struct Shared<K, T> {
    current: Mutex<Option<(K, Made<T>)>>,
}

/// Where the result will be.
type Made<T> = watch::Receiver<Option<Arc<T>>>;

impl<K: Clone + PartialEq, T> Shared<K, T> {
    pub(super) const fn new() -> Self {
        Self {
            current: Mutex::new(None),
        }
    }

    /// What `work` makes, or who asked for the same before; `None` where other work is under way.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time. Where it did the work, one of those who wait for it begins anew.
    pub(super) async fn get<F>(&self, key: K, work: impl Fn() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = T>,
    {
        loop {
            let mut result = match self.enter(&key) {
                Entered::Leads(lead) => {
                    let made = Arc::new(work().await);
                    lead.sender.send_replace(Some(Arc::clone(&made)));
                    return Some(made);
                }
                Entered::Follows(result) => result,
                Entered::Refused => return None,
            };
            // Where the one who worked went away, somebody else has to.
            if let Ok(made) = result.wait_for(Option::is_some).await {
                return made.clone();
            }
        }
    }

    fn enter(&self, key: &K) -> Entered<'_, K, T> {
        let mut current = self.current();
        match &*current {
            Some((other, result)) if other == key => Entered::Follows(result.clone()),
            Some(_) => Entered::Refused,
            None => {
                let (sender, receiver) = watch::channel(None);
                *current = Some((key.clone(), receiver));
                Entered::Leads(Lead { shared: self, sender })
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(K, Made<T>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered<'a, K: Clone + PartialEq, T> {
    Leads(Lead<'a, K, T>),
    Follows(Made<T>),
    Refused,
}

/// Who does the work; makes way when it is dropped.
struct Lead<'a, K: Clone + PartialEq, T> {
    shared: &'a Shared<K, T>,
    sender: watch::Sender<Option<Arc<T>>>,
}

impl<K: Clone + PartialEq, T> Drop for Lead<'_, K, T> {
    fn drop(&mut self) {
        // Before the sender goes: whoever then finds no result must find the place free.
        let ended = self.shared.current().take();
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    type Numbers = Shared<u8, usize>;

    /// Work that ends when it gets a permit, and says how often it was begun.
    async fn work(begun: &AtomicUsize, permits: &Semaphore) -> usize {
        let number = begun.fetch_add(1, Relaxed);
        permits.acquire().await.unwrap().forget();
        number
    }

    #[tokio::test]
    async fn a_thousand_who_ask_the_same_share_one_piece_of_work_and_others_are_refused() {
        static SHARED: Numbers = Shared::new();
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        static PERMITS: Semaphore = Semaphore::const_new(0);
        let mut asking = JoinSet::new();
        for _ in 0..1_000 {
            asking.spawn(SHARED.get(1, || work(&BEGUN, &PERMITS)));
        }
        tokio::task::yield_now().await;
        assert_eq!(SHARED.get(2, || async { 0 }).await, None);
        PERMITS.add_permits(1);
        assert!(
            asking
                .join_all()
                .await
                .iter()
                .all(|made| made.as_deref() == Some(&0))
        );
        assert_eq!(BEGUN.load(Relaxed), 1);
        assert_eq!(SHARED.get(2, || async { 7 }).await.as_deref(), Some(&7));
    }

    #[tokio::test]
    async fn who_goes_away_ends_the_work_and_who_waits_for_it_begins_anew() {
        static SHARED: Numbers = Shared::new();
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        static PERMITS: Semaphore = Semaphore::const_new(0);
        let mut leads = Box::pin(SHARED.get(1, || work(&BEGUN, &PERMITS)));
        assert!(futures::poll!(&mut leads).is_pending());
        let mut follows = Box::pin(SHARED.get(1, || work(&BEGUN, &PERMITS)));
        assert!(futures::poll!(&mut follows).is_pending());
        assert_eq!(BEGUN.load(Relaxed), 1);
        drop(leads);
        assert!(futures::poll!(&mut follows).is_pending());
        assert_eq!(BEGUN.load(Relaxed), 2);
        PERMITS.add_permits(1);
        assert_eq!(follows.await.as_deref(), Some(&1));
        // Nobody waits: nothing is left under way.
        let mut alone = Box::pin(SHARED.get(3, || work(&BEGUN, &PERMITS)));
        assert!(futures::poll!(&mut alone).is_pending());
        drop(alone);
        assert_eq!(SHARED.get(4, || async { 9 }).await.as_deref(), Some(&9));
    }
}
