//! What was measured: a table to read, a file for machines, and the targets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::cases::{Case, Flavor};
use crate::interval::{Interval, median};
use crate::subjects::Subject;

#[derive(Debug, Default)]
pub(crate) struct Report {
    times: BTreeMap<(Case, Flavor, Subject), Time>,
    /// Instructions, and those over raw; all on the current-thread runtime.
    counts: BTreeMap<(Case, Subject), (f64, f64)>,
    /// What was left out, and why.
    missing: Vec<(Subject, String)>,
}

#[derive(Debug)]
struct Time {
    nanos: f64,
    over_raw: Interval,
}

/// Who is held to a target: the most instructions over raw, and nanoseconds over raw.
const TARGETS: [(Case, Subject, f64, f64); 5] = [
    (Case::Spawn, Subject::Lifespan, 600.0, 60.0),
    (Case::Poll, Subject::Lifespan, 90.0, 13.0),
    // Being supervised adds nothing to a poll: the same target.
    (Case::Poll, Subject::Supervised, 90.0, 13.0),
    (Case::PingPong, Subject::Lifespan, 180.0, 50.0),
    (Case::Restart, Subject::Supervised, 20_000.0, 2_000.0),
];

impl Report {
    /// Takes in pairs of a sample and the raw one of its round.
    pub(crate) fn time(&mut self, case: Case, flavor: Flavor, subject: Subject, pairs: &[(f64, f64)]) {
        let over_raw: Vec<f64> = pairs.iter().map(|(nanos, raw)| nanos - raw).collect();
        let mut nanos: Vec<f64> = pairs.iter().map(|(nanos, _)| *nanos).collect();
        let time = Time {
            nanos: median(&mut nanos),
            over_raw: Interval::of(&over_raw),
        };
        self.times.insert((case, flavor, subject), time);
    }

    pub(crate) fn count(&mut self, case: Case, subject: Subject, instructions: f64, over_raw: f64) {
        self.counts.insert((case, subject), (instructions, over_raw));
    }

    pub(crate) fn leave_out(&mut self, subject: Subject, reason: String) {
        self.missing.push((subject, reason));
    }

    pub(crate) fn print(&self) {
        println!(
            "{:<9} {:<15} {:<19} {:>10} {:>10}  {:^21} {:>13}",
            "case", "runtime", "subject", "ns/op", "over raw", "95 % interval", "instr. over",
        );
        for ((case, flavor, subject), time) in &self.times {
            let Interval { low, median, high } = time.over_raw;
            let instructions = match self.counts.get(&(*case, *subject)) {
                Some((_, over_raw)) if *flavor == Flavor::CurrentThread => format!("{over_raw:.0}"),
                _ => String::new(),
            };
            println!(
                "{:<9} {:<15} {:<19} {:>10.1} {median:>+10.1}  {:^21} {instructions:>13}",
                case.name(),
                flavor.name(),
                subject.name(),
                time.nanos,
                format!("{low:+.1} .. {high:+.1}"),
            );
        }
        for (subject, reason) in &self.missing {
            println!("left out: {}: {reason}", subject.name());
        }
        for (case, subject, instructions, nanos) in TARGETS {
            let (case_name, name) = (case.name(), subject.name());
            if let Some((_, over_raw)) = self.counts.get(&(case, subject)) {
                println!(
                    "target of {case_name}, {name}: at most {instructions:.0} instructions over raw: {over_raw:.0}, {}",
                    if *over_raw <= instructions {
                        "met"
                    } else {
                        "MISSED"
                    },
                );
            }
            if let Some(time) = self.times.get(&(case, Flavor::CurrentThread, subject)) {
                println!(
                    "target of {case_name}, {name}: at most {nanos:.0} ns over raw: {:.1}, {}",
                    time.over_raw.median,
                    if time.over_raw.median <= nanos {
                        "met"
                    } else {
                        "missed (or noise: see the interval)"
                    },
                );
            }
        }
    }

    /// An error if the instruction counts miss their targets. Times are not held to theirs: they are noisy.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (case, subject, most, _) in TARGETS {
            let Some((_, over_raw)) = self.counts.get(&(case, subject)) else {
                return Err("nothing to check: no instructions were counted".to_owned());
            };
            if *over_raw > most {
                let (case, subject) = (case.name(), subject.name());
                return Err(format!(
                    "{case} of {subject} takes {over_raw:.0} instructions over raw; the target is {most:.0}"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self) -> Result<PathBuf, String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("lifespan-bench");
        let path = directory.join("overhead.json");
        let rows: Vec<Value> = self.times.keys().map(|place| self.row(*place)).collect();
        let text = format!("{:#}\n", Value::Array(rows));
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn row(&self, place @ (case, flavor, subject): (Case, Flavor, Subject)) -> Value {
        let mut row = Map::new();
        row.insert("case".to_owned(), json!(case.name()));
        row.insert("runtime".to_owned(), json!(flavor.name()));
        row.insert("subject".to_owned(), json!(subject.name()));
        if let Some(Time { nanos, over_raw }) = self.times.get(&place) {
            row.insert("ns_per_op".to_owned(), json!(tenths(*nanos)));
            row.insert("over_raw_ns".to_owned(), json!(tenths(over_raw.median)));
            row.insert("ci_low".to_owned(), json!(tenths(over_raw.low)));
            row.insert("ci_high".to_owned(), json!(tenths(over_raw.high)));
        }
        let counts = self.counts.get(&(case, subject));
        if let (Some((instructions, over_raw)), Flavor::CurrentThread) = (counts, flavor) {
            row.insert("instructions".to_owned(), json!(tenths(*instructions)));
            row.insert("instructions_over_raw".to_owned(), json!(tenths(*over_raw)));
        }
        Value::Object(row)
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
