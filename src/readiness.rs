//! Whether the service wants traffic.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `/readyz` answers from: the service is ready while nobody [holds](Self::hold) it back.
///
/// A clone is the same readiness. Unlike liveness, which asks for a restart, it only says where to send requests.
///
/// # Examples
///
/// ```
/// use lifespan::agent::Readiness;
///
/// let readiness = Readiness::new();
/// let warming = readiness.hold("the cache is cold");
/// assert_eq!(readiness.reasons(), ["the cache is cold"]);
/// drop(warming);
/// assert!(readiness.is_ready());
/// ```
#[derive(Clone, Default)]
pub struct Readiness {
    holds: Arc<Mutex<Holds>>,
}

impl Readiness {
    /// A service that is ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The service is not ready, for that reason, until the hold is dropped.
    pub fn hold(&self, reason: impl Into<String>) -> Hold {
        let mut holds = self.lock();
        holds.next = holds.next.wrapping_add(1);
        let id = holds.next;
        holds.reasons.push((id, reason.into()));
        Hold {
            readiness: self.clone(),
            id,
        }
    }

    /// Whether nobody holds it back.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().reasons.is_empty()
    }

    /// Why it is not ready; empty where it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.lock()
            .reasons
            .iter()
            .map(|(_, reason)| reason.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.reasons()).finish()
    }
}

/// One reason for which a service is not ready, as long as this lives.
#[derive(Debug)]
#[must_use = "the service is ready again when this is dropped"]
pub struct Hold {
    readiness: Readiness,
    id: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.readiness.lock();
        holds.reasons.retain(|(id, _)| *id != self.id);
    }
}

#[derive(Default)]
struct Holds {
    next: u64,
    reasons: Vec<(u64, String)>,
}
