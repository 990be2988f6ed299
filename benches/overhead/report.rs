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

/// The most instructions over raw, and nanoseconds over raw.
fn target(case: Case) -> (f64, f64) {
    match case {
        Case::Spawn => (600.0, 60.0),
        Case::Poll => (90.0, 13.0),
        Case::PingPong => (180.0, 50.0),
    }
}

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
        for case in Case::ALL {
            let (instructions, nanos) = target(case);
            if let Some((_, over_raw)) = self.counts.get(&(case, Subject::Lifespan)) {
                println!(
                    "target of {}: at most {instructions:.0} instructions over raw: {over_raw:.0}, {}",
                    case.name(),
                    if *over_raw <= instructions {
                        "met"
                    } else {
                        "MISSED"
                    },
                );
            }
            if let Some(time) = self.times.get(&(case, Flavor::CurrentThread, Subject::Lifespan)) {
                println!(
                    "target of {}: at most {nanos:.0} ns over raw: {:.1}, {}",
                    case.name(),
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
        for case in Case::ALL {
            let (most, _) = target(case);
            let Some((_, over_raw)) = self.counts.get(&(case, Subject::Lifespan)) else {
                return Err("nothing to check: no instructions were counted".to_owned());
            };
            if *over_raw > most {
                let name = case.name();
                return Err(format!(
                    "{name} takes {over_raw:.0} instructions over raw; the target is {most:.0}"
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
