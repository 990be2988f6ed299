//! The journal: the last events, for whoever reads or follows them.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use super::{Event, Subject, log};

/// The most events that the journal holds.
pub const MAX_ENTRIES: usize = 4_096;

/// The most that the journal holds, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// One event: what, to whom, and when.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Counts the events of the process that came into the journal, from 1.
    pub seq: u64,
    /// When it was told.
    pub at: SystemTime,
    /// Whom it is about.
    pub subject: Subject,
    /// What happened.
    pub event: Event,
}

impl Entry {
    fn bytes(&self) -> usize {
        let optional = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Arc<Self>>()
            .saturating_add(size_of::<Self>())
            .saturating_add(optional(&self.subject.name))
            .saturating_add(self.event.text_bytes())
    }
}

/// What the journal holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recent {
    /// The last events, oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// How many there have been: those of `entries`, and those dropped.
    pub offered: u64,
    /// How many made room for later ones, or found none and have no number: of a flood of panics.
    pub dropped: u64,
}

/// The last events, oldest first.
#[must_use]
pub fn recent() -> Recent {
    let journal = lock();
    Recent {
        entries: journal.entries.iter().cloned().collect(),
        offered: journal.offered(),
        dropped: journal.dropped(),
    }
}

/// How many events there have been, and how many of them are gone.
#[cfg(feature = "prometheus")]
pub(crate) fn counts() -> (u64, u64) {
    let journal = lock();
    (journal.offered(), journal.dropped())
}

/// Follows the journal, from the next event on: for a subscriber of your own.
///
/// It needs no runtime, and works on any: nothing in it is tokio's but the channel that wakes it. The reader pulls, so
/// that one that is slow or stuck holds up nobody, and is told what it missed. It gets all events, whatever is logged.
///
/// # Examples
///
/// A task that hands on what happens to the host's own system:
///
/// ```
/// use lifespan::event::{Event, Missed, follow};
///
/// # fn page_somebody(_: &str) {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut events = follow();
/// let forwarder = lifespan::spawn("event-forwarder", async move {
///     loop {
///         match events.next().await {
///             Ok(entry) => {
///                 if let Event::BudgetExhausted { .. } | Event::Stuck { .. } = entry.event {
///                     page_somebody(entry.event.name());
///                 }
///             }
///             Err(Missed { events, .. }) => page_somebody(&format!("{events} events missed")),
///         }
///     }
/// });
/// # forwarder.abort();
/// # }
/// ```
pub fn follow() -> Follow {
    Follow {
        news: NEWS.subscribe(),
        next: lock().told.saturating_add(1),
    }
}

/// How many events a reader missed, since they had made room for later ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Missed {
    /// How many.
    pub events: u64,
}

/// A reader of the journal, see [`follow`]. It costs nothing while nobody asks it.
#[derive(Clone, Debug)]
#[must_use = "a reader reads nothing until it is asked"]
pub struct Follow {
    next: u64,
    news: watch::Receiver<()>,
}

impl Follow {
    /// Goes on behind the event of that number, which the journal may still hold: for who was interrupted. Behind 0,
    /// it begins with the first event of the process; so it does behind a number that this process has not reached,
    /// which is of the one before it.
    pub fn after(mut self, seq: u64) -> Self {
        let told = lock().told;
        self.next = if seq > told { 1 } else { seq.saturating_add(1) };
        self
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// Where the reader fell behind, once; the call after it goes on with the oldest that is left.
    ///
    /// # Cancel safety
    ///
    /// An event is taken only when it is returned: a call that is dropped has taken none.
    pub async fn next(&mut self) -> Result<Arc<Entry>, Missed> {
        loop {
            self.readable().await;
            if let Some(next) = self.try_next() {
                return next;
            }
        }
    }

    /// Waits until [`try_next`](Self::try_next) has something.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing, and can be dropped at any time.
    pub async fn readable(&mut self) {
        loop {
            // Before looking: an event that comes in between is then heard.
            self.news.mark_unchanged();
            if lock().told >= self.next {
                return;
            }
            // The sender lives as long as the process.
            let _ = self.news.changed().await;
        }
    }

    /// The next event, if there is one already.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Option<Result<Arc<Entry>, Missed>> {
        let found = lock().find(self.next);
        match found {
            Found::NotYet => None,
            Found::Here(entry) => {
                self.next = entry.seq.saturating_add(1);
                Some(Ok(entry))
            }
            Found::Gone { oldest } => {
                let events = oldest.saturating_sub(self.next);
                self.next = oldest;
                Some(Err(Missed { events }))
            }
        }
    }
}

/// Writes an event into the journal, and a line of it into the log.
///
/// The line goes to the host's subscriber, in the caller: call it under no lock, and not where nothing may block.
pub(crate) fn emit(subject: Subject, event: Event) {
    log::write(&note(subject, event));
}

/// Writes an event into the journal alone: for who must not wait for a subscriber. Runs nothing of the host's but wakers.
pub(crate) fn note(subject: Subject, event: Event) -> Arc<Entry> {
    let (entry, removed) = lock().push(subject, event, SystemTime::now());
    // Outside of the lock, since wakers are not ours.
    NEWS.send_replace(());
    drop(removed);
    entry
}

/// Counts events that could not be told.
pub(crate) fn count_unheard(events: u64) {
    let mut journal = lock();
    journal.unheard = journal.unheard.saturating_add(events);
}

struct Journal {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Numbers given.
    told: u64,
    /// Events that found no room on the way here.
    unheard: u64,
}

enum Found {
    NotYet,
    Here(Arc<Entry>),
    Gone { oldest: u64 },
}

impl Journal {
    const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            told: 0,
            unheard: 0,
        }
    }

    fn offered(&self) -> u64 {
        self.told.saturating_add(self.unheard)
    }

    fn dropped(&self) -> u64 {
        self.gone().saturating_add(self.unheard)
    }

    /// How many have a number and made room.
    fn gone(&self) -> u64 {
        self.told.saturating_sub(self.entries.len() as u64)
    }

    /// Returns the entry, and what had to make room for it.
    fn push(&mut self, subject: Subject, event: Event, at: SystemTime) -> (Arc<Entry>, Vec<Arc<Entry>>) {
        self.told = self.told.saturating_add(1);
        let entry = Arc::new(Entry {
            seq: self.told,
            at,
            subject,
            event,
        });
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(Arc::clone(&entry));
        let mut removed = Vec::new();
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            removed.push(oldest);
        }
        (entry, removed)
    }

    fn find(&self, seq: u64) -> Found {
        if seq > self.told {
            return Found::NotYet;
        }
        let oldest = self.gone().saturating_add(1);
        let place = seq
            .checked_sub(oldest)
            .and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.entries.get(place)) {
            Some(entry) => Found::Here(Arc::clone(entry)),
            None => Found::Gone { oldest },
        }
    }
}

static JOURNAL: Mutex<Journal> = Mutex::new(Journal::new());
/// Changes with every event.
static NEWS: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

fn lock() -> MutexGuard<'static, Journal> {
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(bytes: usize) -> Event {
        Event::Stopping {
            cause: "x".repeat(bytes).into(),
        }
    }

    fn push(journal: &mut Journal, event: Event) {
        let _ = journal.push(Subject::default(), event, SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let mut journal = Journal::new();
        journal.unheard = 7;
        for _ in 0..MAX_ENTRIES + 10 {
            push(&mut journal, Event::Spawned { restart: 0 });
        }
        assert!(journal.entries.len() <= MAX_ENTRIES);
        assert_eq!(
            journal.offered(),
            journal.entries.len() as u64 + journal.dropped()
        );
        for _ in 0..1_000 {
            push(&mut journal, cause(MAX_BYTES / 10));
        }
        assert!(journal.entries.len() < 10);
        assert!(journal.bytes <= MAX_BYTES);
        assert_eq!(
            journal.bytes,
            journal.entries.iter().map(|e| e.bytes()).sum::<usize>()
        );
        assert_eq!(
            journal.offered(),
            journal.entries.len() as u64 + journal.dropped()
        );
        // One that is larger than all the room leaves nothing, and is counted.
        push(&mut journal, cause(MAX_BYTES + 1));
        assert_eq!((journal.entries.len(), journal.bytes), (0, 0));
        assert_eq!(journal.offered(), journal.dropped());
    }

    #[test]
    fn a_reader_is_told_what_it_missed_and_goes_on() {
        let mut journal = Journal::new();
        for _ in 0..5 {
            push(&mut journal, cause(MAX_BYTES / 4));
        }
        assert!(matches!(journal.find(1), Found::Gone { oldest: 3 }));
        assert!(matches!(journal.find(3), Found::Here(entry) if entry.seq == 3));
        assert!(matches!(journal.find(6), Found::NotYet));
    }
}
