//! What is to be done, in order and by offset, until it is done: a topic of a message broker, in small.

use std::collections::VecDeque;
use std::future::pending;

use tokio::sync::watch;

/// One writes to it, one reads from it. Either may be started again, and goes on where it stopped: nothing is taken out
/// before it is done.
#[derive(Debug)]
pub(super) struct Topic<T>(watch::Sender<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    /// The offset of the first of them.
    first: u64,
    items: VecDeque<T>,
}

impl<T: Clone> Topic<T> {
    pub(super) fn new() -> Self {
        let (first, items) = (0, VecDeque::new());
        Self(watch::Sender::new(Kept { first, items }))
    }

    /// The offset of what is written next.
    pub(super) fn end(&self) -> u64 {
        self.0.borrow().end()
    }

    /// Waits for room, and writes. Dropped, it has written nothing.
    pub(super) async fn write(&self, item: T) {
        self.when(|kept| (kept.items.len() < ROOM).then_some(())).await;
        self.0.send_modify(|kept| kept.items.push_back(item));
    }

    /// Waits for what has that offset, and returns it with what follows; so many at most.
    pub(super) async fn read(&self, from: u64, most: usize) -> Vec<T> {
        self.when(|kept| {
            let skip = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(usize::MAX);
            let items = || kept.items.iter().skip(skip).take(most).cloned();
            (kept.end() > from).then(|| items().collect())
        })
        .await
    }

    /// All before that offset is done.
    pub(super) fn done(&self, before: u64) {
        self.0.send_modify(|kept| {
            while kept.first < before && kept.items.pop_front().is_some() {
                kept.first += 1;
            }
        });
    }

    async fn when<R>(&self, mut look: impl FnMut(&Kept<T>) -> Option<R>) -> R {
        let mut found = None;
        let mut changes = self.0.subscribe();
        let seen = changes.wait_for(|kept| {
            found = look(kept);
            found.is_some()
        });
        // It waits as long as there is a sender, which is here.
        drop(seen.await);
        match found {
            Some(found) => found,
            None => pending().await,
        }
    }
}

impl<T> Kept<T> {
    fn end(&self) -> u64 {
        self.first + u64::try_from(self.items.len()).unwrap_or(u64::MAX)
    }
}

const ROOM: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_anew_finds_what_is_not_done() {
        let topic = Topic::new();
        for n in 0..5u64 {
            topic.write(n).await;
        }
        assert_eq!(topic.read(0, 3).await, [0, 1, 2]);
        topic.done(2);
        assert_eq!(topic.read(2, 9).await, [2, 3, 4]);
        assert_eq!(topic.end(), 5);
        topic.done(9);
        assert_eq!(topic.end(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_items_and_for_room() {
        let topic = Topic::new();
        let second = Duration::from_secs(1);
        assert!(timeout(second, topic.read(0, 1)).await.is_err());
        for n in 0..ROOM {
            topic.write(n).await;
        }
        assert!(timeout(second, topic.write(0)).await.is_err());
        let (_, ()) = tokio::join!(topic.write(ROOM), async { topic.done(1) });
        assert_eq!(topic.read(1_024, 9).await, [ROOM]);
    }
}
