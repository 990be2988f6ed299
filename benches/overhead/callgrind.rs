//! Instruction counts: this program again, under `valgrind --tool=callgrind`.

use std::process::{Command, Stdio};

use crate::cases::{Case, Flavor};
use crate::subjects::{self, Subject};

/// What one operation takes, on the current-thread runtime: the difference of two runs over the difference of
/// their lengths, so that the start of the process, of the runtime and of the recording cancels out.
pub(crate) fn instructions(case: Case, subject: Subject) -> Result<f64, String> {
    let (short, long) = match case {
        Case::Spawn | Case::PingPong | Case::Restart => (1_000, 11_000),
        Case::Poll => (10_000, 110_000),
    };
    let (first, second) = (run(case, subject, short)?, run(case, subject, long)?);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_op = second.saturating_sub(first) as f64 / (long - short) as f64;
    Ok(per_op)
}

/// Whether there is a valgrind to run under.
pub(crate) fn is_installed() -> bool {
    let version = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// The other side: what runs under callgrind.
pub(crate) fn count(case: Case, subject: Subject, ops: u64) {
    crate::CELLS.list();
    if subject == Subject::Tracing {
        subjects::install_subscriber();
    }
    subject.sample(case, &Flavor::CurrentThread.build(), ops);
}

fn run(case: Case, subject: Subject, ops: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--count", case.name(), subject.name(), &ops.to_string()])
        .env_remove("LIFESPAN_DISABLED")
        .env_remove("LIFESPAN_WAKER")
        .stdin(Stdio::null());
    if subject == Subject::Disabled {
        valgrind.env("LIFESPAN_DISABLED", "1");
    }
    let output = valgrind.output().map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    collected
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| format!("valgrind counted nothing ({}):\n{said}", output.status))
}
