//! Two text dumps, and what grew from one to the other.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, BufRead};

/// What a dump begins with.
pub(super) const START: &str = "lifespan dump of tasks, version ";
/// What its last line begins with.
pub(super) const END: &str = "end of dump, ";
const VERSION: &str = "1";

/// Alike tasks of a dump: how many there are at each site.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sites: HashMap<Site, u64>,
    version: Option<String>,
    is_whole: bool,
    open: Option<Open>,
}

/// What alike tasks have in common, as the dump wrote it.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Site {
    kind: String,
    waits: String,
    /// The task's own future, where it is not what waits.
    within: String,
    spawned: String,
}

/// A block that is being read.
#[derive(Debug, Default)]
struct Open {
    site: Site,
    /// Where it waits: one leaf a branch.
    leaves: Vec<String>,
    /// The next line is a leaf.
    leaf_follows: bool,
    /// The last frame: at the end, the task's own future.
    outermost: String,
    /// The next line may be the place of the last leaf.
    place_follows: bool,
}

impl Counts {
    /// Takes in one line, without its end.
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(START) {
            // A log can have more than one dump: the last counts.
            let version = rest.split(';').next().unwrap_or_default();
            *self = Self {
                version: Some(version.to_owned()),
                ..Self::default()
            };
        } else if line.starts_with(END) {
            self.is_whole = self.version.is_some();
        } else if self.is_whole || self.version.is_none() {
            // Before the dump, or behind it.
        } else if let Some(mut open) = self.open.take() {
            if line.is_empty() {
                (open.site.waits, open.site.within) = open.waits();
                *self.sites.entry(open.site).or_default() += 1;
            } else {
                open.line(line);
                self.open = Some(open);
            }
        } else if let Some(kind) = line.strip_prefix("task ").and_then(kind) {
            self.open = Some(Open {
                site: Site {
                    kind: kind.to_owned(),
                    ..Site::default()
                },
                leaf_follows: true,
                ..Open::default()
            });
        }
    }

    /// Whether it is a dump, and a whole one.
    pub(super) fn check(&self) -> Result<(), ParseError> {
        match self.version.as_deref() {
            None => Err(ParseError::NoDump),
            Some(VERSION) if self.is_whole => Ok(()),
            Some(VERSION) => Err(ParseError::EndsEarly),
            Some(other) => Err(ParseError::Version(
                other.chars().filter(|c| !c.is_control()).take(16).collect(),
            )),
        }
    }

    fn total(&self) -> u64 {
        self.sites.values().sum()
    }
}

/// The kind that the first line of a block names.
fn kind(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("] {kind: ")?;
    let end = if rest.starts_with('"') {
        // Its end is the first quote that no backslash stands before.
        let mut escaped = false;
        let quote = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        quote?.0 + 1
    } else {
        rest.find([',', '}'])?
    };
    rest.get(..end)
}

impl Open {
    fn line(&mut self, line: &str) {
        if let Some(place) = line.strip_prefix("spawned at ") {
            self.site.spawned = place.split(" by task ").next().unwrap_or_default().to_owned();
            self.leaf_follows = false;
        } else if line.starts_with("branch ") && line.ends_with(':') {
            self.leaf_follows = true;
        } else if let Some(place) = line.strip_prefix('\t') {
            if let Some(leaf) = self.leaves.last_mut().filter(|_| self.place_follows) {
                *leaf = format!("{leaf} ({place})");
            }
        } else if line != "spawned" && line != "all branches in:" {
            // How long it has been running is no place.
            let frame = if line.starts_with("(running for ") {
                "(running)"
            } else {
                line
            };
            frame.clone_into(&mut self.outermost);
            if std::mem::take(&mut self.leaf_follows) {
                self.leaves.push(frame.to_owned());
                self.place_follows = true;
                return;
            }
        }
        self.place_follows = false;
    }

    /// Where it waits, and what it is that waits there.
    fn waits(&self) -> (String, String) {
        let mut leaves = self.leaves.clone();
        leaves.sort_unstable();
        leaves.dedup();
        let waits = match &*leaves {
            [] => "(not told)".to_owned(),
            [only] => only.clone(),
            _ => format!("any of: {}", leaves.join(", ")),
        };
        let within = if waits.starts_with(&self.outermost) {
            String::new()
        } else {
            self.outermost.clone()
        };
        (waits, within)
    }
}

/// Text that comes in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn take_in(&mut self, piece: &[u8], to: &mut Counts) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end(to);
            }
        }
    }

    /// Ends the last line.
    pub(super) fn end(&mut self, to: &mut Counts) {
        let line = String::from_utf8_lossy(&self.begun);
        to.line(line.trim_end_matches(['\n', '\r']));
        self.begun.clear();
    }
}

/// Takes in all that a reader has.
pub(super) fn read(mut from: impl BufRead, to: &mut Counts) -> io::Result<()> {
    let mut lines = Lines::default();
    loop {
        let piece = from.fill_buf()?;
        if piece.is_empty() {
            lines.end(to);
            return Ok(());
        }
        lines.take_in(piece, to);
        let length = piece.len();
        from.consume(length);
    }
}

/// Where there are more tasks in the second dump than in the first, the most first.
#[derive(Debug)]
pub(super) struct Grown {
    totals: (u64, u64),
    sites: Vec<(Site, u64, u64)>,
}

impl Grown {
    pub(super) fn between(first: &Counts, second: &Counts) -> Self {
        let all: BTreeMap<&Site, u64> = second.sites.iter().map(|(site, count)| (site, *count)).collect();
        let mut sites: Vec<(Site, u64, u64)> = all
            .into_iter()
            .map(|(site, count)| {
                (
                    site.clone(),
                    first.sites.get(site).copied().unwrap_or_default(),
                    count,
                )
            })
            .filter(|(_, before, now)| now > before)
            .collect();
        sites.sort_by_key(|(_, before, now)| std::cmp::Reverse(now - before));
        Self {
            totals: (first.total(), second.total()),
            sites,
        }
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, now) = self.totals;
        writeln!(f, "tasks: {before} -> {now}")?;
        if self.sites.is_empty() {
            writeln!(f, "nothing grew")?;
        }
        for (site, before, now) in &self.sites {
            writeln!(f, "\n+{}  {before} -> {now}  {}", now - before, site.kind)?;
            writeln!(f, "    waits at {}", site.waits)?;
            if !site.within.is_empty() {
                writeln!(f, "    in {}", site.within)?;
            }
            if !site.spawned.is_empty() {
                writeln!(f, "    spawned at {}", site.spawned)?;
            }
        }
        Ok(())
    }
}

/// Why a text is no dump to compare.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ParseError {
    NoDump,
    EndsEarly,
    Version(String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDump => f.write_str("no dump: it takes what `lifespan dump` prints, or the agent writes"),
            Self::EndsEarly => f.write_str("the dump ends early: its last line is missing"),
            Self::Version(version) => write!(
                f,
                "a dump of version {version}, and this program knows version {VERSION}: use one of the same release"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(text: &str) -> Counts {
        let mut counts = Counts::default();
        read(text.as_bytes(), &mut counts).unwrap();
        counts
    }

    fn dump(blocks: &[&str]) -> String {
        let mut text = format!("a line of a log\n{START}1; 2026-11-24T07:23:03.000000Z; some tasks\n\n");
        for block in blocks {
            text.push_str(block);
            text.push_str("\tage 1.000 s\n\n");
        }
        text + "end of dump, 9 tasks\n\nthe last exits, 0 of 0:\n"
    }

    const RECV: &str = "task 1 [idle, 5 minutes] {kind: worker, name: a}:\nRecv::poll\n\tsrc/recv.rs:7\napp::serve\n\
                        \tsrc/app.rs:1\nspawned at src/main.rs:3:5 by task 9\n";
    const RUNS: &str =
        "task 2 [running] {kind: worker}:\n(running for 4.200 s)\nspawned at src/main.rs:3:5\n";
    const BOTH: &str = "task 3 [idle] {kind: \"a, \\\"b}\"}:\nbranch 1 of 2:\nSleep::poll\n\tsrc/sleep.rs:1\ntimeout\n\
                        branch 2 of 2, 3 times:\nRecv::poll\nall branches in:\napp::serve\nspawned\n";

    #[test]
    fn what_grew_is_told_by_site_and_what_went_is_not() {
        let first = counts(&dump(&[RECV, RUNS]));
        let second = counts(&dump(&[RECV, RECV, RECV, BOTH]));
        first.check().unwrap();
        assert_eq!(
            Grown::between(&first, &second).to_string(),
            "tasks: 2 -> 4\n\
             \n+2  1 -> 3  worker\n    waits at Recv::poll (src/recv.rs:7)\n    in app::serve\n    spawned at src/main.rs:3:5\n\
             \n+1  0 -> 1  \"a, \\\"b}\"\n    waits at any of: Recv::poll, Sleep::poll (src/sleep.rs:1)\n    in app::serve\n"
        );
        assert_eq!(
            Grown::between(&second, &second).to_string(),
            "tasks: 4 -> 4\nnothing grew\n"
        );
    }

    #[test]
    fn how_long_it_runs_is_no_site() {
        let later = RUNS.replace("4.200", "9.900");
        let grown = Grown::between(&counts(&dump(&[RUNS])), &counts(&dump(&[&later])));
        assert!(grown.sites.is_empty(), "{grown}");
    }

    #[test]
    fn a_text_that_is_no_whole_dump_is_refused() {
        assert_eq!(counts("").check(), Err(ParseError::NoDump));
        assert_eq!(
            counts("task 1 [idle] {kind: a}:\n").check(),
            Err(ParseError::NoDump)
        );
        let whole = dump(&[RECV]);
        let early = whole.split("end of dump").next().unwrap();
        assert_eq!(counts(early).check(), Err(ParseError::EndsEarly));
        let other = whole.replace("version 1", "version 2");
        assert_eq!(counts(&other).check(), Err(ParseError::Version("2".to_owned())));
        // The last of a log counts.
        let twice = counts(&format!("{whole}{}", dump(&[RUNS, BOTH])));
        assert_eq!((twice.total(), twice.check()), (2, Ok(())));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_cuts_change_nothing(text in "(task [0-9 ]\\[idle\\] \\{kind: [a\",}\\\\]*\\}:|branch :|\t| |\n|é|spawned at x){0,30}", cut in 1usize..7) {
            let whole = dump(&[&text]);
            let (at_once, mut in_parts) = (counts(&whole), Counts::default());
            let mut lines = Lines::default();
            for piece in whole.as_bytes().chunks(cut) {
                lines.take_in(piece, &mut in_parts);
            }
            lines.end(&mut in_parts);
            prop_assert_eq!(at_once.sites, in_parts.sites);
        }
    }
}
