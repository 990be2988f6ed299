//! Subjects that need a process of their own. It takes samples when it is told to, so that they are interleaved
//! with those of this process.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::cases::{Case, Flavor};

/// A process that serves samples.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes to the process".to_owned());
        };
        Ok(Self {
            child,
            ask,
            answers: BufReader::new(answers),
        })
    }

    pub(crate) fn sample(
        &mut self,
        case: Case,
        flavor: Flavor,
        subject: &str,
        ops: u64,
    ) -> Result<f64, String> {
        let mut answer = String::new();
        writeln!(self.ask, "{} {} {subject} {ops}", case.name(), flavor.name())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|error| format!("the process of {subject} is gone: {error}"))?;
        answer
            .trim()
            .parse()
            .map_err(|_| format!("the process of {subject} answers {answer:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have gone by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: answers until its input ends.
pub(crate) fn serve(mut sample: impl FnMut(Case, Flavor, &str, u64) -> f64) {
    for line in stdin().lock().lines() {
        let Ok(line) = line else { return };
        let mut words = line.split(' ');
        let (Some(case), Some(flavor), Some(subject), Some(ops)) = (
            words.next().and_then(Case::named),
            words.next().and_then(Flavor::named),
            words.next(),
            words.next().and_then(|ops| ops.parse().ok()),
        ) else {
            return;
        };
        let nanos = sample(case, flavor, subject, ops);
        if writeln!(stdout(), "{nanos}")
            .and_then(|()| stdout().flush())
            .is_err()
        {
            return;
        }
    }
}
