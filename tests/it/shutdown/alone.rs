//! A test as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use crate::support::{DEADLINE, wait_until};

/// Runs an ignored test of this folder to its end, which is to be a good one.
#[track_caller]
pub(super) fn passes_alone(test: &str) {
    let (status, output, errors) = Service::start(test).wait();
    assert!(
        status.success() && output.contains("1 passed"),
        "{output}\n{errors}"
    );
}

/// One that runs until it is told to end, or is dropped.
pub(super) struct Service {
    process: Child,
    output: Receiver<String>,
    heard: String,
    errors: Option<JoinHandle<String>>,
}

impl Service {
    pub(super) fn start(test: &str) -> Self {
        let mut service = Self::start_unread(test);
        let mut stderr = service.process.stderr.take().unwrap();
        service.errors = Some(std::thread::spawn(move || {
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).unwrap();
            errors
        }));
        service
    }

    /// One of which nobody reads what it complains: a pipe that is soon full.
    pub(super) fn start_unread(test: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("shutdown::{test}"),
                "--ignored",
                "--nocapture",
            ])
            .env_remove("LIFESPAN_DISABLED")
            .env_remove("LIFESPAN_WAKER")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read all the time, so that it never waits for us.
        let (sender, output) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            process,
            output,
            heard: String::new(),
            errors: None,
        }
    }

    /// Waits until it prints a line that says so.
    #[track_caller]
    pub(super) fn says(&mut self, what: &str) {
        loop {
            let line = self.output.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("it never says {what:?}: {}", self.heard));
            self.heard.push_str(&line);
            self.heard.push('\n');
            if line.contains(what) {
                return;
            }
        }
    }

    #[cfg(unix)]
    pub(super) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(kill.success());
    }

    #[cfg(unix)]
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits for its end; its exit status, all that it printed, and all that it complained.
    #[track_caller]
    pub(super) fn wait(mut self) -> (ExitStatus, String, String) {
        let mut status = None;
        wait_until("the process has ended", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        let mut output = std::mem::take(&mut self.heard);
        for line in &self.output {
            output.push_str(&line);
            output.push('\n');
        }
        let errors = self.errors.take().map(|errors| errors.join().unwrap());
        (status.unwrap(), output, errors.unwrap_or_default())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
