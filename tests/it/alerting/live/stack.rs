//! Debian's Prometheus and Alertmanager with the committed configuration and rules, faster.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::super::text;
use crate::client::{Answer, get_from};
use crate::demo::process::Process;

/// Lengths of time in the rules, and what they are in a test. Windows see some scrapes of a second each.
const SPEED: [(&str, &str); 8] = [
    ("1m", "8s"),
    ("2m", "8s"),
    ("3m", "8s"),
    ("5m", "8s"),
    ("10m", "10s"),
    ("15m", "10s"),
    ("1h", "15s"),
    ("6h", "20s"),
];

/// What a window in the rules or a variable of the dashboards is in a test.
pub(super) fn at_test_speed(text: &str) -> String {
    let mut text = text.to_owned();
    for (long, short) in SPEED {
        for (before, after) in [("[", "]"), ("offset ", ""), ("for: ", "\n")] {
            text = text.replace(
                &format!("{before}{long}{after}"),
                &format!("{before}{short}{after}"),
            );
        }
    }
    text
}

pub(super) struct Stack {
    prometheus: (Process, SocketAddr),
    alertmanager: (Process, SocketAddr),
    _folder: TempDir,
}

/// An alert that Alertmanager has.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) description: String,
}

impl Stack {
    pub(super) fn start(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (prometheus, alertmanager) = (free_address(), free_address());
        let alertmanager = start_alertmanager(folder.path(), alertmanager);
        let prometheus = start_prometheus(folder.path(), prometheus, alertmanager.1, targets);
        Self {
            prometheus,
            alertmanager,
            _folder: folder,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        [&self.prometheus, &self.alertmanager].iter().all(|(_, address)| {
            TcpStream::connect(address).is_ok() && ask(*address, "/-/ready").status == 200
        })
    }

    /// What fires, as Alertmanager was told.
    pub(super) fn alerts(&self) -> Vec<Alert> {
        let alerts = ask(self.alertmanager.1, "/api/v2/alerts").json();
        let alerts = alerts.as_array().unwrap().iter();
        alerts
            .map(|alert| Alert {
                name: alert["labels"]["alertname"].as_str().unwrap().to_owned(),
                description: alert["annotations"]["description"].as_str().unwrap().to_owned(),
            })
            .collect()
    }

    /// How many series an expression gives; or what is wrong with it.
    pub(super) fn query(&self, expr: &str) -> Result<usize, String> {
        let answer = ask(
            self.prometheus.1,
            &format!("/api/v1/query?query={}", encode(expr)),
        );
        let body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        let result = body["data"]["result"].as_array();
        result
            .map(Vec::len)
            .ok_or_else(|| body["error"].as_str().unwrap_or("no result").to_owned())
    }
}

fn ask(address: SocketAddr, path: &str) -> Answer {
    get_from(address, path)
}

fn start_alertmanager(folder: &Path, address: SocketAddr) -> (Process, SocketAddr) {
    let file = folder.join("alertmanager.yml");
    std::fs::write(&file, text("deploy/alertmanager.yml")).unwrap();
    let process = Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.join("alerts").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=warn"])
        .spawn();
    let process = process.expect("`apt-get install prometheus-alertmanager` brings it");
    (Process(process), address)
}

fn start_prometheus(
    folder: &Path,
    address: SocketAddr,
    alertmanager: SocketAddr,
    targets: &[SocketAddr],
) -> (Process, SocketAddr) {
    let rules = at_test_speed(&text("alerts/lifespan.yml"));
    for line in rules.lines().filter(|line| line.contains("for: ")) {
        assert!(line.ends_with('s'), "{line} is as long as in production");
    }
    std::fs::write(folder.join("lifespan.yml"), rules).unwrap();
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let mut config = text("deploy/prometheus.yml");
    for (committed, ours) in [
        ("\"127.0.0.1:9464\"", &*targets.join(", ")),
        ("127.0.0.1:9093", &alertmanager.to_string()),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("scrape_timeout: 5s", "scrape_timeout: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ("../alerts/lifespan.yml", "lifespan.yml"),
    ] {
        assert!(
            config.contains(committed),
            "{committed} is not in deploy/prometheus.yml"
        );
        config = config.replace(committed, ours);
    }
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let process = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--rules.alert.resend-delay=1s", "--log.level=warn"])
        .spawn();
    let process = process.expect("`apt-get install prometheus` brings it");
    (Process(process), address)
}

/// Neither of them takes a port 0 that it would tell us of.
pub(super) fn free_address() -> SocketAddr {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    free.local_addr().unwrap()
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
