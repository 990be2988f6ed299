//! When the tasks of a group are suspected to be leaked: the statistical rules.
//!
//! All times are multiples of the age below which a task is young (by default 5 minutes, in brackets below).
//!
//! 1. **Who is looked at.** Tasks that are no longer young, have no exact verdict, and are not `long_lived`. Those that
//!    were spawned before the group was known for one such time (5 min) are its *stock*, a pool as a rule, and not counted.
//! 2. **How old is too old.** Four times what 99.9 % of the kind lived that have ended; sixteen times where fewer than
//!    100 have. A kind of which more than one in a thousand lives longer than an hour is long-lived, and left out.
//! 3. **Who does not come back.** At least 10 that are too old and *silent* (not polled in the second half of their lives),
//!    more than twice what is explained: by tasks that ended as old lately, as Little's law has it, and by one in a
//!    thousand of those spawned lately; and their floor has risen 5 times over (10 min), or they have been too old for
//!    long (2 h).
//! 4. **Who runs on and on.** At least 20 that are too old and not silent, where as good as none has ended as old
//!    lately, and their floor rises steadily for (1 h).
//! 5. **Who never ends.** Where too few have ended to say what is usual: at least 20 that are silent and rise steadily for
//!    (1 h), or 50 that are not and rise for (2 h).
//!
//! What is once suspected remains so while half as many are too old, and more than is explained.

use std::time::Duration;

use super::growth::Growth;
use super::lived::{Lived, Usual};
use crate::registry::{AGE_STEPS, Ages};

/// What speaks against a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evidence {
    pub(super) ground: Ground,
    /// How many tasks, the stock not counted.
    pub(super) tasks: u64,
    /// How old they are at least.
    pub(super) limit: Duration,
    /// How many of that age are explained by what was spawned and ended lately.
    pub(super) explained: f64,
    /// How long their number has been growing.
    pub(super) growing: Duration,
    pub(super) usual: Option<Usual>,
    /// Tasks of the kind that were spawned, and that have ended.
    pub(super) spawned: u64,
    pub(super) ended: u64,
}

/// By which rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ground {
    /// They do not come back.
    Silent,
    /// They run on and on.
    Active,
    /// None of them ever ended.
    Endless {
        /// They are silent, too.
        silent: bool,
    },
}

impl Ground {
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::Silent | Self::Endless { silent: true })
    }
}

/// What is remembered of one group's ages.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    /// Since when the group is known.
    known: Duration,
    /// How many of its first tasks are left.
    stock: Option<u64>,
    step: usize,
    growth: Growth,
    ground: Option<Ground>,
}

impl Suspicion {
    pub(super) fn new(now: Duration, young: Duration) -> Self {
        Self {
            known: now,
            stock: None,
            step: 0,
            growth: Growth::new(now, window(young)),
            ground: None,
        }
    }

    /// Judges the ages of the group's tasks: whether they are suspect now, and the evidence where there is any to be
    /// judged.
    pub(super) fn look(
        &mut self,
        ages: &Ages,
        lived: &Lived,
        young: Duration,
        now: Duration,
    ) -> Option<Evidence> {
        let usual = lived.usual();
        let Some(step) = too_old(usual, lived, young) else {
            *self = Self {
                known: self.known,
                ..Self::new(now, young)
            };
            return None;
        };
        let limit = young.saturating_mul(AGE_STEPS[step]);
        if now < self.known.saturating_add(young).saturating_add(limit) {
            return None;
        }
        let stock = self.stock.unwrap_or(u64::MAX).min(ages.older(step));
        self.stock = Some(stock);
        let older = ages.older(step).saturating_sub(stock);
        if self.step != step {
            (self.step, self.growth) = (step, Growth::new(now, window(young)));
        }
        self.growth.look(older, now, window(young));
        let seen = Seen {
            older,
            silent: ages.silent(step).saturating_sub(stock),
            enduring: ages.silent(enduring(step)).saturating_sub(stock),
            explained: lived.explained(limit),
            ended_beyond: lived.ended_beyond(limit),
            is_usual: usual.is_some(),
            none_ended: lived.ended() == 0,
        };
        let ground = match self.ground {
            Some(ground) if seen.keeps(ground) => Some(ground),
            _ => seen.ground(&self.growth, young),
        };
        self.ground = ground;
        ground.map(|ground| Evidence {
            ground,
            tasks: if ground.is_silent() { seen.silent } else { older },
            limit,
            explained: seen.explained,
            growing: self.growth.lasted(),
            usual,
            spawned: lived.spawned(),
            ended: lived.ended(),
        })
    }
}

/// Numbers of one look, the stock not counted.
#[derive(Clone, Copy, Debug)]
struct Seen {
    older: u64,
    silent: u64,
    /// Silent ones that have been too old for long.
    enduring: u64,
    explained: f64,
    ended_beyond: u64,
    is_usual: bool,
    none_ended: bool,
}

impl Seen {
    fn ground(&self, growth: &Growth, young: Duration) -> Option<Ground> {
        let grows =
            |records, times| growth.records() >= records && growth.lasted() >= young.saturating_mul(times);
        if self.is_usual {
            let unexplained = |tasks| tasks >= FEW && float(tasks) > 2.0 * self.explained;
            if unexplained(self.silent) && grows(5, 2) || unexplained(self.enduring) {
                return Some(Ground::Silent);
            }
            let come_back = self.ended_beyond.saturating_mul(50) > self.older;
            let is_active = self.older >= 2 * FEW && !come_back && grows(10, 12) && growth.is_steady();
            return is_active.then_some(Ground::Active);
        }
        if self.silent >= 2 * FEW && grows(10, 12) && growth.is_steady() {
            return Some(Ground::Endless { silent: true });
        }
        let is_endless = self.none_ended && self.older >= 5 * FEW && grows(20, 24) && growth.is_steady();
        is_endless.then_some(Ground::Endless { silent: false })
    }

    fn keeps(&self, ground: Ground) -> bool {
        let tasks = if ground.is_silent() {
            self.silent
        } else {
            self.older
        };
        tasks >= FEW / 2 && float(tasks) > self.explained
    }
}

/// The fewest tasks that are a leak.
const FEW: u64 = 10;

/// How long the floor of a number is taken over.
fn window(young: Duration) -> Duration {
    young * 2 / 5
}

/// The step of [`AGE_STEPS`] from which on tasks of the kind are too old; `None` where they are long-lived.
fn too_old(usual: Option<Usual>, lived: &Lived, young: Duration) -> Option<usize> {
    let Some(usual) = usual else {
        // Of many that have ended, too many lived too long to tell.
        let few_ended = lived.ended() < super::lived::FEWEST || lived.ended() < lived.spawned() / 100;
        return few_ended.then_some(1);
    };
    let times = if usual.ended < 100 { 16 } else { 4 };
    let limit = usual.longest.saturating_mul(times);
    AGE_STEPS
        .iter()
        .position(|&step| young.saturating_mul(step) >= limit)
}

/// The step at which tasks have been too old for long.
fn enduring(step: usize) -> usize {
    let least = AGE_STEPS[step].saturating_mul(4).max(24);
    let last = AGE_STEPS.len() - 1;
    AGE_STEPS.iter().position(|&step| step >= least).unwrap_or(last)
}

#[expect(clippy::cast_precision_loss, reason = "compared with an estimate")]
fn float(tasks: u64) -> f64 {
    tasks as f64
}
