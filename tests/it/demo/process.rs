//! The demo as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Answer, get_from, send};
use crate::exposition::Scrape;

/// A demo with ports of its own, until it is dropped.
pub(crate) struct Demo {
    process: Process,
    output: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    pub(crate) agent: SocketAddr,
    pub(crate) app: SocketAddr,
}

impl Demo {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = demo(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Process)
            .unwrap();
        let output = lines(&mut process);
        let mut stderr = process.0.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).unwrap();
            errors
        });
        let app = address(&line(&output, "  app "));
        let agent = address(&line(&output, "  agent "));
        Self {
            process,
            output,
            errors: Some(errors),
            agent,
            app,
        }
    }

    pub(super) fn post(&self, fault: &str) -> Answer {
        send(self.app, &request(self.app, &format!("POST /fault/{fault}"), ""))
    }

    #[track_caller]
    pub(super) fn plant(&self, fault: &str) {
        let answer = self.post(fault);
        assert_eq!(answer.status, 200, "{fault}: {answer:?}");
    }

    pub(super) fn order(&self, body: &str) -> Answer {
        order(self.app, body)
    }

    /// What `/debug/kinds` says of that one; `None` where it has not been used.
    pub(super) fn kind(&self, name: &str) -> Option<Value> {
        let mut kinds = get_from(self.agent, "/debug/kinds").json();
        let kinds = kinds["kinds"].as_array_mut().unwrap();
        kinds.drain(..).find(|kind| kind["kind"] == name)
    }

    pub(super) fn count(&self, kind: &str, field: &str) -> u64 {
        self.kind(kind).map_or(0, |kind| kind[field].as_u64().unwrap())
    }

    pub(super) fn outcome(&self, kind: &str, outcome: &str) -> u64 {
        self.kind(kind)
            .map_or(0, |kind| kind["finished"][outcome].as_u64().unwrap())
    }

    pub(super) fn tasks(&self, query: &str) -> Vec<Value> {
        let tasks = get_from(self.agent, &format!("/debug/tasks?{query}")).json();
        tasks["tasks"].as_array().unwrap().clone()
    }

    pub(super) fn supervisors(&self, path: &str) -> Vec<Value> {
        let mut seen = get_from(self.agent, "/debug/supervisors").json();
        let seen = seen["supervisors"].as_array_mut().unwrap();
        seen.drain(..).filter(|one| one["path"] == path).collect()
    }

    pub(super) fn supervisor(&self, path: &str) -> Value {
        let found = self.supervisors(path);
        let [one] = &found[..] else {
            panic!("{path}: {found:?}")
        };
        one.clone()
    }

    pub(super) fn child(&self, supervisor: &str, name: &str) -> Value {
        let supervisor = self.supervisor(supervisor);
        let mut children = supervisor["children"].as_array().unwrap().iter();
        children.find(|child| child["name"] == name).unwrap().clone()
    }

    pub(super) fn events(&self, name: &str) -> Vec<Value> {
        let mut told = get_from(self.agent, "/debug/events").json();
        let told = told["events"].as_array_mut().unwrap();
        told.drain(..).filter(|event| event["event"] == name).collect()
    }

    pub(super) fn scrape(&self) -> Scrape {
        Scrape::parse(&get_from(self.agent, "/metrics").body)
    }

    #[cfg(unix)]
    pub(super) fn signal(&self, name: &str) {
        let id = self.process.0.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until it has ended, and returns what it printed since it had started.
    pub(super) fn wait(&mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        while let Ok(line) = self.output.recv_timeout(Duration::from_secs(30)) {
            output.push_str(&line);
            output.push('\n');
        }
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return (status, output);
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it runs on: {output}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// All that it complained; once it has ended.
    pub(super) fn errors(&mut self) -> String {
        self.errors.take().unwrap().join().unwrap()
    }
}

/// A child that does not outlive its test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn lifespan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifespan"));
    command.args(arguments).stdin(Stdio::null());
    for variable in [
        "LIFESPAN_LISTEN",
        "LIFESPAN_TOKEN",
        "LIFESPAN_ALLOWED_HOSTS",
        "LIFESPAN_DISABLED",
        "LIFESPAN_WAKER",
    ] {
        command.env_remove(variable);
    }
    command
}

/// The demo on free ports, unless the arguments say which.
pub(super) fn demo(arguments: &[&str]) -> Command {
    let mut command = lifespan(&["demo"]);
    for port in ["--listen", "--app"] {
        if !arguments.contains(&port) {
            command.args([port, "127.0.0.1:0"]);
        }
    }
    command.args(arguments);
    command
}

/// What it prints, read all the time, so that it never waits for us.
pub(super) fn lines(process: &mut Process) -> Receiver<String> {
    let output = process.0.stdout.take().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Once the test is over there is nobody to tell.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The next line that starts so.
#[track_caller]
pub(super) fn line(lines: &Receiver<String>, start: &str) -> String {
    loop {
        let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
        if line.starts_with(start) {
            return line;
        }
    }
}

/// The address in the URL of a line.
#[track_caller]
pub(super) fn address(line: &str) -> SocketAddr {
    let url = line.split_once("http://").expect(line).1;
    url.split_once('/').unwrap().0.parse().unwrap()
}

pub(super) fn order(app: SocketAddr, body: &str) -> Answer {
    send(app, &request(app, "POST /orders", body))
}

pub(super) fn request(to: SocketAddr, line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.0\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
