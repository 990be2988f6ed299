//! The main job on real input: the demo under load, and a real Prometheus that scrapes it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::exposition::Scrape;

/// For everything together: a cold start of two processes on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_real_prometheus_scrapes_the_demo() {
    let deadline = Instant::now() + DEADLINE;
    let demo = Demo::start(deadline);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), demo.agent);

    let target = wait_for("the target is up", deadline, || {
        let targets = prometheus.api("/api/v1/targets")?;
        let target = targets["data"]["activeTargets"][0].clone();
        if target["health"] == "down" {
            // A busy machine may miss one; what was wrong is told with the failure, should it last.
            eprintln!("a scrape failed: {}", target["lastError"]);
        }
        (target["health"] == "up").then_some(target)
    });
    assert_eq!(target["lastError"], "");

    // Counters only grow: what Prometheus has of a moment between two looks at the service lies between the two.
    wait_for("requests were served", deadline, || {
        demo.kinds()
            .values()
            .any(|kind| kind.finished > 100)
            .then_some(())
    });
    let before = demo.kinds();
    // Prometheus moves the time of a scrape by up to 2 ms, to keep its interval.
    let from = unix_time() + 0.01;
    let scraped = wait_for("a scrape since then", deadline, || prometheus.scraped_since(from));
    let after = demo.kinds();

    let spawned = prometheus.by_kind(scraped, "lifespan_tasks_spawned_total");
    let finished = prometheus.by_kind(scraped, "sum by (kind) (lifespan_tasks_finished_total)");
    let live = prometheus.by_kind(scraped, "lifespan_tasks");
    assert!(before.len() > 3, "the demo has more kinds than {before:?}");
    for (kind, before) in &before {
        let after = &after[kind];
        let [spawned, finished, live] = [&spawned, &finished, &live].map(|family| {
            let value = family.get(kind);
            *value.unwrap_or_else(|| panic!("Prometheus has no kind {kind}"))
        });
        assert!(
            (before.spawned..=after.spawned).contains(&spawned),
            "{kind}: {before:?} {spawned} {after:?}"
        );
        assert!(
            (before.finished..=after.finished).contains(&finished),
            "{kind}: {before:?} {finished} {after:?}"
        );
        assert_eq!(live, spawned - finished, "{kind}");
    }
    for kind in spawned.keys() {
        assert!(after.contains_key(kind), "/debug/kinds has no kind {kind}");
    }

    // What came with them.
    for family in [
        "tokio_workers",
        "process_threads",
        "lifespan_sweep_timestamp_seconds",
    ] {
        assert!(
            !prometheus.query(scraped, family).is_empty(),
            "{family} is missing"
        );
    }
    let text = get(demo.agent, "/metrics").unwrap();
    Scrape::parse(&text);
    crate::catalogue::promtool_accepts(&text);
}

/// The demo in a process of its own, until it is dropped.
struct Demo {
    process: Process,
    agent: SocketAddr,
}

/// What `/debug/kinds` says of one.
#[derive(Debug)]
struct Kind {
    spawned: u64,
    finished: u64,
}

impl Demo {
    fn start(deadline: Instant) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lifespan"))
            .args(["demo", "--listen", "127.0.0.1:0", "--app", "127.0.0.1:0"])
            .args(["--rate", "50", "--seconds", "120"])
            .env_remove("LIFESPAN_LISTEN")
            .env_remove("LIFESPAN_TOKEN")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let process = Process(process);
        // It says where the agent listens; read to the end, so that it never waits for us.
        let (told, tell) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let address = line
                    .split_once("http://")
                    .and_then(|(_, url)| url.strip_suffix("/metrics"))
                    .and_then(|address| address.parse().ok());
                if let Some(address) = address {
                    // The test may be over.
                    let _ = told.send(address);
                }
            }
        });
        let left = deadline.saturating_duration_since(Instant::now());
        let agent = tell
            .recv_timeout(left)
            .expect("the demo says at which URL its metrics are");
        Self { process, agent }
    }

    fn kinds(&self) -> BTreeMap<String, Kind> {
        let _runs = &self.process;
        let body = get(self.agent, "/debug/kinds").unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let kinds = body["kinds"].as_array().unwrap().iter();
        kinds
            .map(|kind| {
                let outcomes = kind["finished"].as_object().unwrap().values();
                let counts = Kind {
                    spawned: kind["spawned"].as_u64().unwrap(),
                    finished: outcomes.map(|count| count.as_u64().unwrap()).sum(),
                };
                (kind["kind"].as_str().unwrap().to_owned(), counts)
            })
            .collect()
    }
}

/// Debian's Prometheus with the committed configuration, until it is dropped.
struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path, target: SocketAddr) -> Self {
        let committed = include_str!("../../deploy/prometheus.yml");
        let config = committed
            .replace("127.0.0.1:9464", &target.to_string())
            .replace("scrape_interval: 15s", "scrape_interval: 1s")
            .replace("scrape_timeout: 5s", "scrape_timeout: 1s");
        assert!(
            config.contains(&target.to_string()) && config.contains("interval: 1s"),
            "{config}"
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // It takes no port 0 that it would tell us of.
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot run prometheus: {error}; install it with `apt-get install prometheus`")
        });
        Self {
            process: Process(process),
            address,
        }
    }

    /// An answer of its API; `None` while it starts.
    fn api(&self, path: &str) -> Option<Value> {
        let _runs = &self.process;
        let body = get(self.address, path)?;
        let body: Value = serde_json::from_str(&body).ok()?;
        assert_eq!(body["status"], "success", "{path}: {body}");
        Some(body)
    }

    /// The result of a query at a time, as labels and values.
    fn query(&self, time: f64, query: &str) -> Vec<(Value, f64)> {
        let query = query.replace(' ', "%20");
        let answer = self
            .api(&format!("/api/v1/query?time={time}&query={query}"))
            .unwrap();
        let results = answer["data"]["result"].as_array().unwrap().iter();
        results
            .map(|result| {
                let value = result["value"][1].as_str().unwrap().parse().unwrap();
                (result["metric"].clone(), value)
            })
            .collect()
    }

    /// The time of the last scrape, if it began after `time`.
    fn scraped_since(&self, time: f64) -> Option<f64> {
        let scrapes = self.query(unix_time(), "timestamp(lifespan_build_info)");
        scrapes.first().map(|&(_, at)| at).filter(|at| *at > time)
    }

    fn by_kind(&self, time: f64, query: &str) -> BTreeMap<String, u64> {
        let results = self.query(time, query).into_iter();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count that came from a u64"
        )]
        let counts =
            results.map(|(labels, value)| (labels["kind"].as_str().unwrap().to_owned(), value as u64));
        counts.collect()
    }
}

/// A child that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The body of a plain `GET`; `None` where nobody answers with 200.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    // 1.0, so that the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

fn unix_time() -> f64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.unwrap().as_secs_f64()
}

#[track_caller]
fn wait_for<T>(what: &str, deadline: Instant, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        // Between two looks, so that they do not take the machine from those they look at.
        std::thread::sleep(Duration::from_millis(50));
    }
}
