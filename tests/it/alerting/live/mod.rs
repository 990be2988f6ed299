//! The rules on real parts: the demo and a service of our own, a Prometheus that scrapes both, and an Alertmanager that it
//! tells. `scripts/test alerts-live` runs it.

mod host;
mod queries;
mod stack;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lifespan::profile::LONG_IDLE;
use tokio::time::Instant;

use self::host::Host;
use self::stack::{Stack, free_address};
use crate::client::get_from;
use crate::demo::process::Demo;

/// For each thing that is waited for, on a machine that is busy with other things as well.
const PATIENCE: Duration = Duration::from_secs(100);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long ordinary load must raise nothing.
const QUIET: Duration = Duration::from_secs(60);

/// Alerts, and what their texts must have.
type Expected = [(&'static str, &'static [&'static str])];

/// What goes on while it is there.
const FAULTS: &Expected = &[
    ("LifespanOrphansGrow", &["kind orphan,", "src/demo/fault.rs:"]),
    ("LifespanOrphans", &["kind orphan,", "src/demo/fault.rs:"]),
    ("LifespanLostWakeups", &["kind lost-wakeup "]),
    ("LifespanPanics", &["kind db-query "]),
    ("LifespanLongPolls", &["kind block "]),
    (
        "LifespanOverstayed",
        &["kind host-overstays,", "tests/it/alerting/live/host.rs:"],
    ),
    ("LifespanTasksUnexplained", &["kind host-work "]),
    ("LifespanPoolRejects", &["pool host-pool "]),
    ("LifespanRestartStorm", &["crasher", "host-tree"]),
    ("LifespanSupervisorExhausted", &["1 supervisors"]),
    ("LifespanHeartbeatMissed", &["1 children"]),
];

const BLOCKED: &Expected = &[
    ("LifespanWorkerBlocked", &["kind block "]),
    ("LifespanAllWorkersBlocked", &[]),
    ("LifespanBlockingPoolExhausted", &[]),
];

const DOWN: &Expected = &[("LifespanDown", &["job lifespan"])];

#[test]
#[ignore = "takes minutes: scripts/test alerts-live"]
fn faults_raise_their_alerts_and_ordinary_load_raises_none() {
    let (host, address) = (Host::start(), free_address());
    let start = || Demo::start(&["--listen", &address.to_string(), "--rate", "50"]);
    let demo = start();
    let stack = Stack::start(&[demo.agent, host.agent()]);
    wait_for("they run, and both targets are up", || {
        let up = || stack.query("(up == 1) and on (instance) lifespan_tasks") == Ok(2);
        (stack.is_ready() && up()).then_some(())
    });

    let end = Instant::now() + QUIET;
    while Instant::now() < end {
        let alerts = stack.alerts();
        assert!(alerts.is_empty(), "ordinary load raises {alerts:?}");
        std::thread::sleep(LOOK_EVERY);
    }

    host.fails(true);
    let (mut looks, mut asks) = (0, Instant::now());
    let mut plant = || {
        looks += 1;
        post(demo.app, "orphan?n=1");
        for _ in 0..5 {
            post(demo.app, "panic?kind=db-query");
        }
        if looks % 4 == 0 {
            post(demo.app, "block?ms=1200");
        }
        if asks < Instant::now() {
            asks = Instant::now() + LONG_IDLE + Duration::from_secs(2);
            // Who asks where tasks wait finds those of the last time.
            get_from(demo.agent, "/debug/pprof/tasks?debug=1");
            post(demo.app, "lost-wakeup?n=1");
        }
    };
    raised(&stack, FAULTS, &mut plant);
    queries::every_expression_gives_data(&stack, FAULTS, &mut plant);
    queries::every_page_is_there(demo.agent);
    host.fails(false);
    // Orphans stay, and no longer grow.
    let stays = |name: &str| name == "LifespanOrphans";
    over(&stack, |left| {
        FAULTS.iter().all(|(name, _)| stays(name) || !left.contains(name))
    });

    host.blocks(true);
    let mut blocked_until = Instant::now();
    raised(&stack, BLOCKED, || {
        if blocked_until < Instant::now() {
            blocked_until = Instant::now() + Duration::from_secs(30);
            post(demo.app, "block?ms=30000");
        }
    });
    host.blocks(false);
    drop(demo);
    raised(&stack, DOWN, || ());

    let _demo = start();
    over(&stack, |left| left.is_empty());
}

#[expect(clippy::print_stderr, reason = "how far it is, for who waits")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Waits until all of them are at Alertmanager, with their texts; plants faults meanwhile.
#[track_caller]
fn raised(stack: &Stack, expected: &Expected, mut plant: impl FnMut()) {
    let start = Instant::now();
    let mut raised = BTreeSet::new();
    wait_for("all alerts are raised", || {
        plant();
        let alerts = stack.alerts();
        for (name, texts) in expected {
            let here = alerts.iter().any(|alert| {
                alert.name == *name && texts.iter().all(|text| alert.description.contains(text))
            });
            if here && raised.insert(name) {
                say(&format!("{name} after {:.0?}", start.elapsed()));
            }
        }
        if raised.len() < expected.len() && start.elapsed() > PATIENCE - Duration::from_secs(5) {
            say(&format!("raised are only {raised:?}, of {alerts:?}"));
        }
        (raised.len() == expected.len()).then_some(())
    });
}

/// Waits until what is left is as it should be.
#[track_caller]
fn over(stack: &Stack, done: impl Fn(&BTreeSet<&str>) -> bool) {
    let (start, mut told) = (Instant::now(), usize::MAX);
    wait_for("what was mended is over", || {
        let alerts = stack.alerts();
        let left: BTreeSet<&str> = alerts.iter().map(|alert| &*alert.name).collect();
        if left.len() != told {
            told = left.len();
            say(&format!("after {:.0?} there are {left:?}", start.elapsed()));
        }
        done(&left).then_some(())
    });
}

/// Plants a fault, whether it is answered or not: some keep the workers from that.
fn post(app: SocketAddr, fault: &str) {
    let Ok(mut stream) = TcpStream::connect(app) else {
        return;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = write!(
        stream,
        "POST /fault/{fault} HTTP/1.0\r\nHost: {app}\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = stream.read(&mut [0; 256]);
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
