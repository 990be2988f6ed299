//! The real `go tool pprof`, over HTTP.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use lifespan::{Agent, registry};

use crate::processes::run_alone;
use crate::support::wait_until;

#[test]
fn it_opens_every_profile() {
    run_alone("pprof::go::every_profile_alone", &[]);
}

#[test]
#[ignore = "needs a process of its own"]
fn every_profile_alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let agent = Agent::builder("go").listen(([127, 0, 0, 1], 0)).start().unwrap();
    let go = Go::new(agent.address().unwrap());
    let _entered = runtime.enter();
    let waits = |kind: &'static str, how_many: usize| -> Vec<_> {
        (0..how_many)
            .map(|_| lifespan::spawn(kind, Sleeps(()).sleeps()))
            .collect()
    };
    let three = waits("go-three", 3);
    let _hostile = waits("<b>&\"' \\ kind", 1);
    let _lost = lifespan::spawn("go-lost", pending::<()>());
    wait_until("a verdict", || {
        registry::sweep();
        registry::rows().any(|row| row.kind.name() == "go-lost" && row.orphaned)
    });
    wait_until("all idle", || registry::rows().all(|row| row.polls > 0));

    for profile in ["tasks", "goroutine", "taskleak", "goroutineleak", "threadcreate"] {
        for report in ["-top", "-traces", "-tags", "-tree", "-comments", "-dot"] {
            go.shows(&[report], profile);
        }
    }
    let top = go.shows(&["-top", "-tagfocus=kind=go-three"], "tasks");
    assert!(top.contains("Showing nodes accounting for 3,"), "{top}");
    assert!(top.contains("Type: tasks"), "{top}");
    let ages = go.shows(&["-top", "-sample_index=age"], "tasks");
    assert!(ages.contains("Type: age"), "{ages}");
    let tags = go.shows(&["-tags"], "tasks");
    for tag in [
        "3.0 (",
        "go-three",
        "kind: Total 5.0",
        "<b>&\"' \\ kind",
        "spawned_at: Total",
    ] {
        assert!(tags.contains(tag), "{tag}: {tags}");
    }
    let tags = go.shows(&["-tags"], "taskleak");
    assert!(tags.contains("verdict: Total 1.0"), "{tags}");
    assert!(tags.contains("orphaned") && !tags.contains("go-three"), "{tags}");
    if cfg!(target_os = "linux") {
        let threads = go.shows(&["-top"], "threadcreate");
        assert!(threads.contains("lifespan-agent"), "{threads}");
    }

    if cfg!(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )) {
        // Names are printed whole, generics and closures included.
        let traces = go.shows(&["-traces", "-tagfocus=kind=go-three"], "tasks");
        for name in [
            " <tokio::time::sleep::Sleep as core::future::future::Future>::poll\n",
            " it::pprof::go::Sleeps<T>::sleeps::{{closure}}\n",
        ] {
            assert!(traces.contains(name), "{name}: {traces}");
        }
    }

    // What grew and what went, against a profile from before.
    let before = go.folder().join("before.pb.gz");
    go.shows(&["-proto", &format!("-output={}", before.display())], "tasks");
    for task in &three {
        task.abort();
    }
    let _two = waits("go-two", 2);
    wait_until("three went and two came", || {
        registry::rows().count() == 4 && registry::rows().all(|row| row.polls > 0)
    });
    let base = format!("-base={}", before.display());
    let differences = go.shows(&["-tags", &base], "tasks");
    assert!(
        differences.contains("-3.0: go-three") && differences.contains(" 2.0: go-two"),
        "{differences}"
    );
    let delta = go.shows(&["-tags", "-seconds=1"], "tasks");
    assert!(!delta.contains("go-two"), "{delta}");
}

/// Has a name with brackets in it.
struct Sleeps<T>(T);

impl<T> Sleeps<T> {
    async fn sleeps(self) {
        tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
        drop(self.0);
    }
}

/// The tool, with a folder of its own for what it saves.
struct Go {
    agent: SocketAddr,
    folder: tempfile::TempDir,
}

impl Go {
    fn new(agent: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { agent, folder }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a report says; the tool must have nothing to complain of.
    #[track_caller]
    fn shows(&self, arguments: &[&str], profile: &str) -> String {
        let output = self.run(arguments, profile);
        let (said, complained) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr),
        );
        let context = format!("go tool pprof {arguments:?} {profile}:\n{said}\n{complained}");
        assert!(output.status.success(), "{context}");
        let ordinary = [
            "Fetching profile over HTTP from ",
            "Saved profile in ",
            "Please wait... (",
            "Generating report in ",
        ];
        for line in complained.lines() {
            assert!(ordinary.iter().any(|known| line.starts_with(known)), "{context}");
        }
        said
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], profile: &str) -> Output {
        Command::new("go")
            .args(["tool", "pprof"])
            .args(arguments)
            .arg(format!("http://{}/debug/pprof/{profile}", self.agent))
            .env("PPROF_TMPDIR", self.folder())
            .env("HOME", self.folder())
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run go: {error}; install it with `apt-get install golang-go`")
            })
    }
}
