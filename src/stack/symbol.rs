//! From addresses to functions and lines.

use super::binary::{Binary, Missing, Place};
use super::frame::{Frame, Frames};
use super::modules::{Module, Modules};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Looks up addresses, each once.
///
/// Files are read when an address in them is first asked for, and let go of by [`rest`](Self::rest). Answers are
/// kept for the last [`MAX_ADDRESSES`] or so, and forgotten when a library has been unloaded.
pub(crate) struct Symbols {
    /// What was asked for since the cache was last full, and before: what is asked for again moves to the first.
    recent: HashMap<u64, Frames>,
    older: HashMap<u64, Frames>,
    /// Names of functions and files, each once.
    texts: HashSet<Arc<str>>,
    /// By where the module begins.
    binaries: HashMap<u64, Result<Binary, Missing>>,
    /// That of the modules, for which all this holds.
    departures: u64,
    counts: Counts,
}

/// What became of the addresses that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answered from the cache.
    pub(crate) cached: u64,
    /// Found, with a line.
    pub(crate) lines: u64,
    /// Found, without a line.
    pub(crate) names: u64,
    /// Not found.
    pub(crate) unknown: u64,
}

impl Symbols {
    /// Nothing is read yet.
    pub(crate) fn new() -> Self {
        Self {
            recent: HashMap::new(),
            older: HashMap::new(),
            texts: HashSet::new(),
            binaries: HashMap::new(),
            departures: 0,
            counts: Counts::default(),
        }
    }

    /// The functions at an address that [`Unwinder`](super::Unwinder) found in these modules.
    pub(crate) fn resolve(&mut self, modules: &Modules, address: u64) -> Frames {
        if self.departures != modules.departures() {
            self.forget();
            self.departures = modules.departures();
        }
        if let Some(frames) = self.recent.get(&address) {
            self.counts.cached += 1;
            return Arc::clone(frames);
        }
        let frames = match self.older.remove(&address) {
            Some(frames) => {
                self.counts.cached += 1;
                frames
            }
            None => self.look_up(modules.find(address), address),
        };
        if self.recent.len() >= MAX_ADDRESSES / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
        self.recent.insert(address, Arc::clone(&frames));
        frames
    }

    /// Lets go of the files' bytes; answers stay. For when nobody has asked for a while.
    pub(crate) fn rest(&mut self) {
        self.binaries = HashMap::new();
    }

    /// Of all addresses so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of files that are held, and about those of the answers.
    pub(crate) fn bytes(&self) -> usize {
        let answers = self.recent.values().chain(self.older.values());
        let texts: usize = self.texts.iter().map(|text| text.len() + 32).sum();
        self.held() + texts + answers.map(|frames| size_of_val(&**frames) + 40).sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    fn held(&self) -> usize {
        self.binaries.values().flatten().map(Binary::bytes).sum()
    }

    fn forget(&mut self) {
        self.recent.clear();
        self.older.clear();
        self.texts.clear();
        self.binaries.clear();
    }

    fn look_up(&mut self, module: Option<&Module>, address: u64) -> Frames {
        let places = module
            .map(|module| self.places(module, address))
            .unwrap_or_default();
        let last = places.len().saturating_sub(1);
        let mut frames: Vec<Frame> = Vec::with_capacity(places.len().max(1));
        for (at, place) in places.into_iter().enumerate() {
            let function = match place.function {
                Some(name) => self.text(&demangled(&name)),
                // An inlined function without a name says nothing.
                None if at < last => continue,
                None => self.text(&unnamed(module, address)),
            };
            frames.push(Frame {
                address,
                function,
                file: place.file.map(|file| self.text(&file)),
                line: place.line,
                inlined: at < last,
            });
        }
        if frames.is_empty() {
            let function = self.text(&unnamed(module, address));
            frames.push(Frame {
                address,
                function,
                file: None,
                line: None,
                inlined: false,
            });
        }
        frames.into()
    }

    fn places(&mut self, module: &Module, address: u64) -> Vec<Place> {
        let start = module.range.start;
        // What reads files of others is contained: should it panic, they have no symbols.
        if !self.binaries.contains_key(&start) {
            let room = MAX_FILE_BYTES.saturating_sub(self.held());
            let binary = catch_unwind(AssertUnwindSafe(|| Binary::load(module, room)));
            self.binaries
                .insert(start, binary.unwrap_or(Err(Missing::Damaged)));
        }
        let Some(Ok(binary)) = self.binaries.get(&start) else {
            self.counts.unknown += 1;
            return Vec::new();
        };
        let within = address.wrapping_sub(module.bias);
        let places = catch_unwind(AssertUnwindSafe(|| binary.places(within))).unwrap_or_else(|_| {
            self.binaries.insert(start, Err(Missing::Damaged));
            Vec::new()
        });
        let has = |has: fn(&Place) -> bool| places.iter().any(has);
        let count = if has(|place| place.line.is_some()) {
            &mut self.counts.lines
        } else if has(|place| place.function.is_some()) {
            &mut self.counts.names
        } else {
            &mut self.counts.unknown
        };
        *count += 1;
        places
    }

    /// The one copy of a text.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(text) = self.texts.get(text) {
            return Arc::clone(text);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols")
            .field("counts", &self.counts)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The most addresses that are remembered.
pub(crate) const MAX_ADDRESSES: usize = 16_384;

/// The most bytes of files that are held at once.
pub(crate) const MAX_FILE_BYTES: usize = 128 << 20;

/// The longest name of a function, in bytes; more is cut.
const MAX_NAME: usize = 1024;

/// Without the hash, at most [`MAX_NAME`] long: what a mangled name unfolds to has no other bound.
fn demangled(name: &str) -> String {
    let mut text = Bounded(String::new());
    // The error is that it is full.
    let full = match rustc_demangle::try_demangle(name) {
        Ok(name) => write!(text, "{name:#}"),
        Err(_) => write!(text, "{name}"),
    };
    if full.is_err() {
        text.0.push('…');
    }
    text.0
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > MAX_NAME {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

/// What an address without a name is called: by its place in the file, which debuggers take as well.
fn unnamed(module: Option<&Module>, address: u64) -> String {
    match module {
        Some(module) => {
            let name = module.path.rsplit('/').next().unwrap_or_default();
            format!("{name}+{:#x}", address.wrapping_sub(module.bias))
        }
        None => format!("{address:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_without_their_hash_and_bounded() {
        let cases = [
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                "core::fmt::Write::write_fmt",
            ),
            (
                "_RNvCskwGfYPst2Cb_3foo16example_function",
                "foo::example_function",
            ),
            ("_RNCNvCskwGfYPst2Cb_3foo3bar0B3_", "foo::bar::{closure#0}"),
            ("malloc", "malloc"),
            ("_ZN9__gnu_cxx3fooEv", "_ZN9__gnu_cxx3fooEv"),
            ("", ""),
        ];
        for (mangled, name) in cases {
            assert_eq!(demangled(mangled), name, "{mangled}");
        }
        let long = demangled(&"é".repeat(MAX_NAME));
        assert_eq!(long.len(), MAX_NAME + '…'.len_utf8());
    }
}
