//! Kinds: low-cardinality names for families of tasks, interned.
//!
//! A process has at most [`MAX_KINDS`] of them; every further name is counted and becomes `other`, so that a
//! name made from a request path cannot grow a host without bound. Names are cleaned when they come in: what
//! reaches a label, a page or a log is at most [`MAX_KIND_BYTES`] long and has no control or bidirectional
//! formatting characters in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use super::text;

/// How many kinds a process can have, beside `other`.
pub const MAX_KINDS: usize = 1_024;

/// The longest name of a kind, in bytes. Longer ones are cut at a character's boundary.
pub const MAX_KIND_BYTES: usize = 64;

/// The name of a family of tasks, resolved on first use.
///
/// Declare one as a `static` where tasks of the kind are spawned often: it costs one load a spawn. A plain
/// `&'static str` works everywhere too, and costs a few nanoseconds more. A [`KindId`] is for names that are
/// made at run time.
///
/// # Examples
///
/// ```
/// use lifespan::Kind;
///
/// static CONNECTION: Kind = Kind::new("connection");
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// lifespan::spawn(&CONNECTION, async { /* serve it */ }).await.expect("no panic");
/// # }
/// ```
#[derive(Debug)]
pub struct Kind {
    name: &'static str,
    probed: bool,
    /// One more than the id, or 0 before the first use.
    resolved: AtomicU16,
}

impl Kind {
    /// A kind of that name. Two kinds of one name are the same kind.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            probed: true,
            resolved: AtomicU16::new(0),
        }
    }

    /// Never polls a task of this kind for the sake of a dump. By default, a dump may; see
    /// [`Builder::no_probe`](crate::Builder::no_probe), which says it of one task.
    #[must_use]
    pub const fn no_probe(self) -> Self {
        Self {
            name: self.name,
            probed: false,
            resolved: AtomicU16::new(0),
        }
    }

    /// The kind's id.
    #[inline]
    pub fn id(&self) -> KindId {
        match self.resolved.load(Relaxed) {
            0 => self.resolve(),
            resolved => KindId(resolved - 1),
        }
    }

    #[cold]
    fn resolve(&self) -> KindId {
        let id = KindId::named(self.name);
        if !self.probed {
            set_unprobed(id.0);
        }
        self.resolved.store(id.0 + 1, Relaxed);
        id
    }
}

/// An interned kind: two bytes that stand for its name in this process.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KindId(u16);

impl KindId {
    /// The kind of all names that came after the first [`MAX_KINDS`].
    pub const OTHER: Self = Self(0);

    /// Interns a name.
    ///
    /// The name is cleaned first: control and bidirectional formatting characters become `_`, and it is cut
    /// to [`MAX_KIND_BYTES`]; an empty one becomes `unnamed`. Takes a lock that is shared unless the name is
    /// new: keep the result where a kind is spawned often.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let name = text::clean(name, MAX_KIND_BYTES);
        let name: &str = if name.is_empty() { "unnamed" } else { &name };
        let known = table(|kinds| kinds.ids.get(name).copied());
        if let Some(id) = known {
            return id;
        }
        let mut kinds = KINDS.write().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.get_or_insert_with(Table::new);
        if let Some(id) = kinds.ids.get(name) {
            return *id;
        }
        match u16::try_from(kinds.names.len()) {
            Ok(next) if kinds.names.len() <= MAX_KINDS => {
                // Lives as long as the process, like the kind itself; at most MAX_KINDS of them.
                let name: &'static str = Box::leak(name.into());
                kinds.names.push(name);
                kinds.ids.insert(name, Self(next));
                Self(next)
            }
            _ => {
                REFUSED.fetch_add(1, Relaxed);
                Self::OTHER
            }
        }
    }

    /// Never polls a task of this kind for the sake of a dump, from now on: see [`Kind::no_probe`].
    ///
    /// Of [`OTHER`](Self::OTHER), it says so of every kind that has no id of its own.
    pub fn no_probe(self) {
        set_unprobed(self.0);
    }

    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        table(|kinds| kinds.names.get(usize::from(self.0)).copied()).unwrap_or(OTHER_NAME)
    }

    pub(crate) fn index(self) -> u16 {
        self.0
    }

    /// The kind of an index that came from [`index`](Self::index).
    pub(crate) fn from_index(index: u16) -> Self {
        Self(index)
    }
}

impl fmt::Debug for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KindId").field(&self.name()).finish()
    }
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<&Kind> for KindId {
    fn from(kind: &Kind) -> Self {
        kind.id()
    }
}

/// What names a kind: a `&'static str`, a `static` [`Kind`], or a [`KindId`].
///
/// For names made at run time there is [`KindId::named`].
pub trait AsKind: Copy + sealed::Sealed {
    /// The kind's id.
    fn kind_id(self) -> KindId;
}

impl AsKind for &'static str {
    #[inline]
    fn kind_id(self) -> KindId {
        super::local::kind_of(self)
    }
}

impl AsKind for &Kind {
    #[inline]
    fn kind_id(self) -> KindId {
        self.id()
    }
}

impl AsKind for KindId {
    #[inline]
    fn kind_id(self) -> KindId {
        self
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
    impl Sealed for &'static str {}
    impl Sealed for &super::Kind {}
    impl Sealed for super::KindId {}
}

/// All kinds in use, `other` first.
pub(crate) fn all() -> impl Iterator<Item = KindId> {
    let kinds = table(|kinds| kinds.names.len());
    (0..kinds).filter_map(|index| u16::try_from(index).ok().map(KindId))
}

/// How many names were refused, each time that one was: the process had its kinds already.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Relaxed)
}

/// Whether tasks of the kind may be polled for the sake of a dump.
#[cfg(feature = "profile")]
pub(crate) fn is_probed(kind: u16) -> bool {
    let word = UNPROBED.get(usize::from(kind) / 64);
    word.is_none_or(|word| word.load(Relaxed) >> (kind % 64) & 1 == 0)
}

fn set_unprobed(kind: u16) {
    if let Some(word) = UNPROBED.get(usize::from(kind) / 64) {
        word.fetch_or(1 << (kind % 64), Relaxed);
    }
}

/// A bit for each kind of which no task is to be polled for the sake of a dump.
static UNPROBED: [AtomicU64; MAX_KINDS / 64 + 1] = [const { AtomicU64::new(0) }; MAX_KINDS / 64 + 1];

struct Table {
    names: Vec<&'static str>,
    ids: HashMap<&'static str, KindId>,
}

impl Table {
    fn new() -> Self {
        Self {
            names: vec![OTHER_NAME],
            ids: HashMap::from([(OTHER_NAME, KindId::OTHER)]),
        }
    }
}

/// Reads the table; one that is empty still has `other`.
fn table<R>(read: impl FnOnce(&Table) -> R) -> R {
    let kinds = KINDS.read().unwrap_or_else(PoisonError::into_inner);
    match &*kinds {
        Some(kinds) => read(kinds),
        None => read(&Table::new()),
    }
}

const OTHER_NAME: &str = "other";

static KINDS: RwLock<Option<Table>> = RwLock::new(None);
static REFUSED: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_kind() {
        static A: Kind = Kind::new("kind-tests-a");
        assert_eq!(A.id(), KindId::named("kind-tests-a"));
        assert_eq!(A.id(), "kind-tests-a".kind_id());
        assert_eq!(A.id().name(), "kind-tests-a");
        assert_ne!(A.id(), KindId::named("kind-tests-b"));
    }

    #[test]
    fn names_are_cleaned_and_cut() {
        assert_eq!(
            KindId::named("kind-tests\u{0}\u{1b}[31m\u{202e}x").name(),
            "kind-tests__[31m_x"
        );
        assert_eq!(KindId::named("").name(), "unnamed");
        let long = KindId::named(&"\u{e9}".repeat(1 << 19)).name();
        assert_eq!(long, "\u{e9}".repeat(32));
        assert_eq!(KindId::named("other"), KindId::OTHER);
    }
}
