//! Rounds of samples: all subjects in turn, so that what disturbs one disturbs its neighbours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tokio::runtime::Runtime;

use crate::cases::{Case, Flavor};
use crate::peer::{self, Peer};
use crate::report::Report;
use crate::subjects::{self, Subject};

/// The console keeps 49 kB of each task.
const CONSOLE_ROUNDS: usize = 20;
const CONSOLE_SHORTER: u64 = 10;

/// Operations of a sample: one to two milliseconds.
fn ops(case: Case) -> u64 {
    match case {
        Case::Spawn | Case::PingPong | Case::Restart => 2_000,
        Case::Poll => 20_000,
    }
}

type Runtimes = [(Flavor, Runtime); Flavor::ALL.len()];
/// By case, runtime and subject: nanoseconds, and those of the raw sample that it is compared with.
type Samples = BTreeMap<(Case, Flavor, Subject), Vec<(f64, f64)>>;

pub(crate) fn measure(
    report: &mut Report,
    rounds: usize,
    shorter: u64,
    console: Option<Peer>,
) -> Result<(), String> {
    subjects::install_subscriber();
    let mut sampler = Sampler {
        runtimes: runtimes(),
        disabled: start_disabled()?,
        console,
    };
    let mut samples = Samples::new();
    // The first round pays for what is allocated at first use, and is forgotten.
    for round in 0..=rounds {
        for case in Case::ALL {
            for flavor in Flavor::ALL {
                let of_round = sampler.round(case, flavor, (ops(case) / shorter).max(1), round)?;
                for (subject, nanos, raw) in of_round {
                    let known = samples.entry((case, flavor, subject)).or_default();
                    if round > 0 {
                        known.push((nanos, raw));
                    }
                }
            }
        }
    }
    for ((case, flavor, subject), pairs) in samples {
        report.time(case, flavor, subject, &pairs);
    }
    Ok(())
}

struct Sampler {
    runtimes: Runtimes,
    disabled: Peer,
    console: Option<Peer>,
}

impl Sampler {
    /// A sample of each subject, beside the raw one that it is compared with.
    fn round(
        &mut self,
        case: Case,
        flavor: Flavor,
        ops: u64,
        round: usize,
    ) -> Result<Vec<(Subject, f64, f64)>, String> {
        let mut taken = Vec::new();
        let mut raw = f64::NAN;
        for turn in 0..Subject::ALL.len() {
            let subject = Subject::ALL[(turn + round) % Subject::ALL.len()];
            if !subject.takes(case) {
                continue;
            }
            match subject {
                Subject::Disabled => {
                    let beside = self.disabled.sample(case, flavor, Subject::Raw.name(), ops)?;
                    let nanos = self.disabled.sample(case, flavor, subject.name(), ops)?;
                    taken.push((subject, nanos, Some(beside)));
                }
                Subject::Console => {
                    if let (Some(console), 0..=CONSOLE_ROUNDS) = (&mut self.console, round) {
                        let ops = (ops / CONSOLE_SHORTER).max(1);
                        taken.push((subject, console.sample(case, flavor, subject.name(), ops)?, None));
                    }
                }
                Subject::Raw => {
                    raw = sample(&self.runtimes, case, flavor, subject, ops);
                    taken.push((subject, raw, None));
                }
                _ => taken.push((subject, sample(&self.runtimes, case, flavor, subject, ops), None)),
            }
        }
        let pair = |(subject, nanos, beside): (_, _, Option<f64>)| (subject, nanos, beside.unwrap_or(raw));
        Ok(taken.into_iter().map(pair).collect())
    }
}

fn runtimes() -> Runtimes {
    Flavor::ALL.map(|flavor| (flavor, flavor.build()))
}

fn sample(runtimes: &Runtimes, case: Case, wanted: Flavor, subject: Subject, ops: u64) -> f64 {
    let (_, runtime) = runtimes
        .iter()
        .find(|(flavor, _)| *flavor == wanted)
        .expect("there is one of each");
    subject.sample(case, runtime, ops)
}

/// The process that samples [`Subject::Disabled`].
fn start_disabled() -> Result<Peer, String> {
    let this = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    Peer::start(Command::new(this).arg("--serve").env("LIFESPAN_DISABLED", "1"))
}

/// What that process does.
pub(crate) fn serve() {
    let runtimes = runtimes();
    peer::serve(|case, flavor, subject, ops| {
        let subject = Subject::named(subject).expect("the other side is this program");
        sample(&runtimes, case, flavor, subject, ops)
    });
}

/// The process that samples [`Subject::Console`], built if need be; or why there is none.
///
/// `LIFESPAN_BENCH_CONSOLE=0` leaves it out and `=1` takes it in; by default, only a test leaves it out.
pub(crate) fn console(test: bool) -> Result<Peer, String> {
    let wanted = std::env::var("LIFESPAN_BENCH_CONSOLE").map_or(!test, |value| value != "0");
    if !wanted {
        return Err("not asked for: LIFESPAN_BENCH_CONSOLE=1 does".to_owned());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("console-peer");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/console-peer/Cargo.toml");
    println!("building the peer with console-subscriber, which takes some minutes the first time");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        // Flags of the surrounding build are not those of this one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "--cfg tokio_unstable")
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err(format!("its build failed ({built})"));
    }
    Peer::start(&mut Command::new(target.join("release/console-peer")))
}
