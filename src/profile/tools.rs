//! What a dump works with, kept from one to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dump::Refused;
use super::interned::Stack;
use crate::background::Stop;
use crate::clock;
use crate::stack::{Symbols, Unwinder};

/// What is kept from one dump to the next; one has it at a time.
pub(super) struct Tools {
    pub(super) unwinder: Unwinder,
    pub(super) symbols: Symbols,
    pub(super) known: HashMap<u64, Known>,
    /// When the last dump ended, in ticks, where files may still be held.
    used: Option<u64>,
}

/// What a task said when it was asked last.
pub(super) struct Known {
    /// How often it had been polled by then.
    pub(super) polls: u64,
    /// In ticks.
    pub(super) at: u64,
    pub(super) stacks: Vec<Arc<Stack>>,
}

impl Tools {
    pub(super) fn end(&mut self, now: u64) {
        self.used = Some(now);
        if self.known.len() > MOST_KNOWN {
            self.known = HashMap::new();
        }
    }
}

/// Lets go of files that no dump has needed for a while, until the stop.
pub(crate) async fn rest(mut stop: Stop) {
    while !stop.is_stopped() {
        let _ = tokio::time::timeout(REST, stop.stopped()).await;
        let mut tools = TOOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Kept::Free(Some(tools)) = &mut *tools
            && tools
                .used
                .is_some_and(|used| clock::between(used, clock::ticks()) >= REST)
        {
            tools.symbols.rest();
            tools.used = None;
        }
    }
}

static TOOLS: Mutex<Kept> = Mutex::new(Kept::Free(None));

/// Where the tools are.
enum Kept {
    Free(Option<Box<Tools>>),
    Taken,
}

/// The tools, until this is dropped.
pub(super) struct Taken(Option<Box<Tools>>);

impl Taken {
    pub(super) fn take() -> Result<Self, Refused> {
        let mut tools = TOOLS.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *tools, Kept::Taken) {
            Kept::Taken => Err(Refused::Busy),
            Kept::Free(tools) => Ok(Self(tools)),
        }
    }

    pub(super) fn get(&mut self) -> &mut Tools {
        self.0.get_or_insert_with(|| {
            Box::new(Tools {
                unwinder: Unwinder::new(),
                symbols: Symbols::new(),
                known: HashMap::new(),
                used: None,
            })
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *TOOLS.lock().unwrap_or_else(PoisonError::into_inner) = Kept::Free(self.0.take());
    }
}

/// How long the files with symbols are held after a dump: the next one may follow soon.
const REST: Duration = Duration::from_secs(10);

/// The most answers that are remembered.
const MOST_KNOWN: usize = 16_384;
