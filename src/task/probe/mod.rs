//! Asks tasks where they wait, by one more poll of each.
//!
//! Who asks holds the records of a batch of tasks ([`Held`]), makes the batch known and wakes the tasks' runtimes
//! ([`Asking`]). The next poll of each task finds the question in its record ([`Asked`]) and polls with a waker that is
//! the record's own but for its table: a leaf that holds the ordinary one finds another, and so clones it; and that
//! clone says where it was made ([`capture`]). What the leaf gets is the ordinary waker, so that the next poll finds it
//! unchanged, and the count of wakers is exact at every moment.
//!
//! Nothing of this is a wake of the host's: a poll that nothing else asked for is not counted, and the task has waited
//! as long as it would have.
//!
//! # Invariants
//!
//! 1. The record of a slot is held by its [`Held`] from before its batch is known until after it is not.
//! 2. There is one batch at a time, in [`BATCH`], under that lock; a poll that has found its slot keeps the batch
//!    alive, but not known.
//! 3. A slot is taken once, and then written by the poll that took it alone; whoever asks reads what was written once
//!    the slot is answered.
//! 4. No foreign code runs under a lock of these.

mod capture;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use tokio::sync::Notify;

use super::record::{Look, Record, answered, flag};
use super::{kind, waker};
use Ordering::{AcqRel, Acquire, Release};

pub(crate) use capture::Tape;

/// A hold on a task's record, for one who asks. The record stays this task's, also where the task has ended.
pub(crate) struct Held {
    record: &'static Record,
    /// As the task was when it was held.
    pub(crate) look: Look,
}

impl Held {
    /// `None` where the task has ended, somebody else asks it, or it cannot be asked: see [`refusal`].
    pub(crate) fn of(record: &'static Record, look: &Look) -> Option<Self> {
        if refusal(look).is_some() || !record.hold() {
            return None;
        }
        let held = Self { record, look: *look };
        // `was_polled` before the waker is read: see there.
        (record.id() == look.id && record.was_polled()).then_some(held)
    }

    /// Where the record is: the order of an [`Asking`]'s answers.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self.record).addr()
    }

    /// How often it was woken by now, ended or not.
    pub(crate) fn wakes(&self) -> u64 {
        self.record.wakes()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.record.unask();
        if self.record.unhold() {
            waker::give_back(NonNull::from(self.record));
        }
    }
}

/// Why a task is not asked; `None` where it can be.
pub(crate) fn refusal(look: &Look) -> Option<Refusal> {
    if look.flags & flag::NO_PROBE != 0 || !kind::is_probed(look.kind) {
        Some(Refusal::OptedOut)
    } else if look.flags & (flag::BLOCKING | flag::THREAD) != 0 {
        Some(Refusal::NotPolled)
    } else if look.flags & (flag::PASS | flag::FOREIGN) != 0 {
        Some(Refusal::PassesThrough)
    } else {
        (look.polls == 0).then_some(Refusal::NeverPolled)
    }
}

/// Why a task is not asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// By request, for it or for its kind.
    OptedOut,
    /// A thread, or a blocking job.
    NotPolled,
    /// Its record does not stand in for the runtime's waker.
    PassesThrough,
    /// It has not run yet.
    NeverPolled,
}

/// Tasks that are being asked.
#[derive(Debug)]
struct Batch {
    /// In the order of their records' addresses.
    slots: Box<[Slot]>,
    tape: Mutex<Tape>,
    /// Slots that are not answered.
    open: AtomicUsize,
    all_answered: Notify,
}

/// The question to one task.
#[derive(Debug)]
struct Slot {
    record: usize,
    id: u64,
    /// What the task's last poll had answered; nothing where it was woken since.
    wakes: Option<u64>,
    polls: u64,
    /// When that poll ended.
    last: u64,
    state: AtomicU8,
}

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const ANSWERED: u8 = 2;
/// Further bits of an answer.
const ENDED: u8 = 4;
const UNWOKEN: u8 = 8;

static BATCH: Mutex<Option<Arc<Batch>>> = Mutex::new(None);

fn batch() -> MutexGuard<'static, Option<Arc<Batch>>> {
    BATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the slot of a record.
    fn take(&self, record: &Record) -> Option<usize> {
        let address = std::ptr::from_ref(record).addr();
        let at = self
            .slots
            .binary_search_by_key(&address, |slot| slot.record)
            .ok()?;
        let slot = self.slots.get(at)?;
        let open =
            slot.id == record.id() && (slot.state.compare_exchange(OPEN, TAKEN, AcqRel, Acquire)).is_ok();
        open.then_some(at)
    }
}

// ===== who asks =====

/// A batch that is known to polls until this is dropped.
pub(crate) struct Asking {
    batch: Arc<Batch>,
    held: Vec<Held>,
}

impl Asking {
    /// Asks tasks, and wakes them; `None` where others are being asked.
    pub(crate) fn begin(mut held: Vec<Held>, tape: Tape) -> Option<Self> {
        held.sort_unstable_by_key(Held::address);
        let slots = held.iter().map(|held| Slot {
            record: held.address(),
            id: held.look.id,
            wakes: (!held.look.scheduled).then_some(held.look.wakes),
            polls: held.look.polls,
            last: held.look.last,
            state: AtomicU8::new(OPEN),
        });
        let asked = Arc::new(Batch {
            slots: slots.collect(),
            tape: Mutex::new(tape),
            open: AtomicUsize::new(held.len()),
            all_answered: Notify::new(),
        });
        let mut current = batch();
        if current.is_some() {
            return None;
        }
        *current = Some(Arc::clone(&asked));
        drop(current);
        let asking = Self { batch: asked, held };
        for held in &asking.held {
            waker::ask(held.record);
        }
        Some(asking)
    }

    /// Resolves when all have answered.
    pub(crate) async fn answered(&self) {
        while self.batch.open.load(Acquire) != 0 {
            self.batch.all_answered.notified().await;
        }
    }

    /// Takes the questions back; the tape has what was captured, by the places of the answers.
    pub(crate) fn finish(mut self) -> (Vec<Answer>, Tape) {
        *batch() = None;
        let slots = self.batch.slots.iter();
        let said = slots.map(|slot| Said::of(slot.state.load(Acquire)));
        let answers = said.zip(std::mem::take(&mut self.held));
        let answers = answers.map(|(said, held)| Answer { held, said }).collect();
        // A poll that still runs finds no more room in what is left.
        let tape = std::mem::replace(&mut *self.batch.tape(), Tape::without_room());
        (answers, tape)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut current = batch();
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &self.batch))
        {
            *current = None;
        }
    }
}

/// What came of a question.
pub(crate) struct Answer {
    pub(crate) held: Held,
    pub(crate) said: Said,
}

/// See [`Answer`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// It has not been polled.
    Nothing,
    /// It is being polled.
    Runs,
    /// It waits where it was captured. `woken`: something else than the question had asked for this poll.
    Waits { woken: bool },
    /// It has ended in the poll.
    Ended { woken: bool },
}

impl Said {
    fn of(state: u8) -> Self {
        let woken = state & UNWOKEN == 0;
        match state {
            OPEN => Self::Nothing,
            TAKEN => Self::Runs,
            state if state & ENDED != 0 => Self::Ended { woken },
            _ => Self::Waits { woken },
        }
    }
}

// ===== the poll that finds the question =====

/// A poll that was asked where its task waits.
pub(crate) struct Asked {
    record: &'static Record,
    /// `None` where the question was taken back meanwhile.
    slot: Option<(Arc<Batch>, usize)>,
    /// When the poll before ended, where nothing but the question asked for this one.
    waited_since: Option<u64>,
}

impl Asked {
    /// Takes note of a question, at the start of a poll that answers `wakes` and in which the record stands in.
    pub(crate) fn of(record: &'static Record, wakes: u64) -> Self {
        record.unask();
        let known = batch().clone();
        let slot = known.and_then(|batch| batch.take(record).map(|at| (batch, at)));
        let asked = slot.as_ref().and_then(|(batch, at)| batch.slots.get(*at));
        // A poll that began while the question was put shows in `polls`, and is then taken for one that was asked for
        // by the host, as is the one after.
        let unwoken =
            asked.filter(|slot| slot.wakes == Some(answered(wakes)) && slot.polls == record.polls());
        let waited_since = unwoken.map(|slot| slot.last);
        Self {
            record,
            slot,
            waited_since,
        }
    }

    /// See the field.
    pub(crate) fn waited_since(&self) -> Option<u64> {
        self.waited_since
    }

    /// Runs a poll with the capturing waker. `top` is where stacks end.
    pub(crate) fn while_polled<R>(&self, top: u64, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let waker = capture::borrowed(NonNull::from(self.record));
        let mut context = Context::from_waker(&waker);
        match &self.slot {
            Some((batch, at)) => {
                capture::Capturing::during(self.record, &batch.tape, *at, top, || poll(&mut context))
            }
            None => poll(&mut context),
        }
    }

    /// Answers, once the poll has ended.
    pub(crate) fn answer(&self, ended: bool) {
        let Some((batch, at)) = &self.slot else { return };
        let Some(slot) = batch.slots.get(*at) else { return };
        let ended = if ended { ENDED } else { 0 };
        let unwoken = if self.waited_since.is_some() { UNWOKEN } else { 0 };
        slot.state.store(ANSWERED | ended | unwoken, Release);
        if batch.open.fetch_sub(1, AcqRel) == 1 {
            batch.all_answered.notify_one();
        }
    }
}
