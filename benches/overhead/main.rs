//! What recording a task costs, over raw tokio and beside its peers.
//!
//! ```text
//! cargo bench --bench overhead                     # about a minute, and a build of the console's peer once
//! cargo bench --bench overhead -- --quick          # fewer rounds
//! cargo bench --bench overhead -- --test           # two short rounds: does it still run?
//! cargo bench --bench overhead -- --test --check   # and do the instruction counts hold their targets?
//! cargo bench --bench overhead -- --no-callgrind   # where there is no valgrind
//! ```
//!
//! Writes `target/lifespan-bench/overhead.json`: an array with one object for each case, runtime and subject.
//!
//! # Method
//!
//! **Cases** (`cases.rs`): `spawn`, from spawn to exit of a task that yields once, so two polls; `poll`, one poll of a
//! task that wakes itself 1,000 times; `pingpong`, a round trip of two tasks over `mpsc(1)`; `restart`, a task that fails
//! and the next one in its place, by a loop or, for `lifespan-supervised`, by a supervisor. Each on a current-thread
//! runtime and on one with two workers, whose scheduling makes `spawn` and `pingpong` noisy there.
//!
//! **Times** are noisy: one round differs from the next by more than we cost. So a round samples all subjects, in an
//! order that turns by one from round to round, and what counts is the difference to the raw sample of the same
//! round. `over_raw_ns` is the median of these differences; `ci_low` and `ci_high` are its 95 % interval, by a
//! percentile bootstrap over the rounds. Subjects that need a process of their own take their samples there, when
//! it is their turn: `lifespan-disabled` is compared with raw samples of its own process, since two processes differ by
//! more than it costs; `console-subscriber` with those of this one, since its own tokio is built with `tokio_unstable` and `tracing`.
//! It keeps 49 kB a task, and so takes fewer and shorter samples; its tables are not full by then, when it is slower.
//!
//! **Instructions** do not vary, and hold the targets (`--check`). This program runs itself under callgrind, with one
//! case and subject, on a current-thread runtime, twice: what one operation takes is the difference of the counts
//! over the difference of the operations, and all that happens at the start cancels out. tokio's cells come from
//! free lists there, since glibc's way with their alignment takes 700 to 1,300 instructions, which vary
//! with what was freed before by more than a subject costs (`cells.rs`). No agent runs: nobody reads.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]

mod callgrind;
mod cases;
mod cells;
mod interval;
mod peer;
mod report;
mod rounds;
mod subjects;
mod supervised;

use std::process::ExitCode;

use cases::Case;
use report::Report;
use subjects::Subject;

#[global_allocator]
static CELLS: cells::Cells = cells::Cells::new();

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--count", case, subject, ops] => count(case, subject, ops),
        ["--serve"] => {
            rounds::serve();
            Ok(())
        }
        options => Options::parse(options).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    rounds: usize,
    /// By how much less than usual a sample does.
    shorter: u64,
    callgrind: bool,
    check: bool,
    test: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        // `cargo bench` says `--bench`; `cargo test --benches` does not, and wants to know that it runs.
        let test = words.contains(&"--test") || !words.contains(&"--bench");
        let quick = words.contains(&"--quick");
        let known = ["--bench", "--test", "--quick", "--check", "--no-callgrind"];
        if let Some(unknown) = words.iter().find(|word| !known.contains(word)) {
            return Err(format!("unknown option {unknown}; known are {}", known.join(" ")));
        }
        Ok(Self {
            rounds: if test {
                2
            } else if quick {
                30
            } else {
                200
            },
            shorter: if test { 20 } else { 1 },
            // Nor does it want to hear that there is no valgrind.
            callgrind: (words.contains(&"--bench") || words.contains(&"--check"))
                && !words.contains(&"--no-callgrind"),
            check: words.contains(&"--check"),
            test,
        })
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut report = Report::default();
    let console = rounds::console(options.test);
    let console = console
        .map_err(|reason| report.leave_out(Subject::Console, reason))
        .ok();
    rounds::measure(&mut report, options.rounds, options.shorter, console)?;
    if options.callgrind {
        count_all(&mut report, options.test)?;
    }
    report.print();
    let path = report.write()?;
    println!("written: {}", path.display());
    if options.check { report.check() } else { Ok(()) }
}

fn count_all(report: &mut Report, test: bool) -> Result<(), String> {
    if !callgrind::is_installed() {
        return Err("valgrind is not installed, and it counts the instructions; \
            install it (Debian: apt-get install valgrind libc6-dbg), or leave them out with --no-callgrind"
            .to_owned());
    }
    for case in Case::ALL {
        let raw = callgrind::instructions(case, Subject::Raw)?;
        report.count(case, Subject::Raw, raw, 0.0);
        for subject in Subject::ALL {
            // The peers are for comparison, and hold no target.
            let ours = [Subject::Lifespan, Subject::Disabled, Subject::Supervised];
            let wanted = (!test || ours.contains(&subject)) && subject.takes(case);
            if wanted && !matches!(subject, Subject::Raw | Subject::Console) {
                let count = callgrind::instructions(case, subject)?;
                report.count(case, subject, count, count - raw);
            }
        }
    }
    Ok(())
}

fn count(case: &str, subject: &str, ops: &str) -> Result<(), String> {
    match (Case::named(case), Subject::named(subject), ops.parse()) {
        (Some(case), Some(subject), Ok(ops)) => {
            callgrind::count(case, subject, ops);
            Ok(())
        }
        _ => Err(format!("cannot count {case} {subject} {ops}")),
    }
}
