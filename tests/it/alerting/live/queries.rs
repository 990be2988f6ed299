//! Every expression of rules and dashboards on the real Prometheus, and every page that runbook and dashboards link.

use std::net::SocketAddr;

use lifespan::prometheus::CATALOGUE;

use super::super::{dashboards, rules, series, text};
use super::stack::{Stack, at_test_speed};
use super::{Expected, say, wait_for};
use crate::client::get_from;

/// What gives nothing where all is well, and nobody made it ill here.
const EMPTY: [(&str, &str); 13] = [
    ("LifespanOverdue", "the demo declares no lifetimes"),
    (
        "LifespanLeakSuspected",
        "the agent's rules wait longer than this test",
    ),
    ("LifespanWorkerBlocked", "raised later in the test"),
    ("LifespanAllWorkersBlocked", "raised later in the test"),
    ("LifespanBlockingPoolExhausted", "raised later in the test"),
    ("LifespanDown", "raised later in the test"),
    ("LifespanAbsent", "instances are there"),
    ("LifespanChildStuck", "no child blocks its thread"),
    ("LifespanShutdownLate", "nobody shuts down"),
    ("LifespanSweepLate", "the agents are well"),
    ("LifespanDropsData", "the agents have room"),
    ("Process starts", "an instance starts once"),
    ("Shutdowns", "nobody shuts down"),
];

pub(super) fn every_expression_gives_data(stack: &Stack, raised: &Expected, mut plant: impl FnMut()) {
    let rules = rules::all();
    let dashboards = dashboards::all();
    let mut exprs: Vec<(String, String)> = rules
        .iter()
        .map(|rule| (rule.name.clone(), at_test_speed(rule.expr())))
        .collect();
    for dashboard in &dashboards {
        let filled = dashboard
            .exprs()
            .into_iter()
            .map(|(place, expr)| (place, fill(expr)));
        exprs.extend(filled);
    }
    let may_be_empty = |place: &str, expr: &str| {
        EMPTY.iter().any(|(name, _)| place.ends_with(name))
            || series(expr).iter().all(|name| is_elsewhere(name))
    };
    // What fails now may be what a scrape has missed: it is asked again.
    let mut left = exprs;
    wait_for("every expression gives data", || {
        plant();
        left.retain(|(place, expr)| match stack.query(expr) {
            Err(error) => panic!("{place}: {error}: {expr}"),
            Ok(0) if may_be_empty(place, expr) => false,
            Ok(0) => {
                say(&format!("empty as yet: {place}: {expr}"));
                true
            }
            Ok(_) => false,
        });
        left.is_empty().then_some(())
    });
    for (name, _) in EMPTY {
        assert!(
            raised.iter().all(|(raised, _)| *raised != name),
            "{name} is raised here"
        );
    }
    // The series of alerts that nobody raised are there all the same.
    for rule in rules.iter().filter(|rule| rule.is_alert) {
        for name in series(rule.expr()).into_iter().filter(|name| !is_elsewhere(name)) {
            assert_ne!(stack.query(name), Ok(0), "{}: {name}", rule.name);
        }
    }
}

/// Whether only another build has it.
fn is_elsewhere(series: &str) -> bool {
    let metric = CATALOGUE.iter().find(|metric| metric.name == series);
    metric.is_some_and(|metric| metric.only == Some("tokio_unstable") && !cfg!(tokio_unstable))
}

/// With all instances and kinds.
fn fill(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "10s").replace("$__range", "1m");
    ["$job", "$instance", "$kind"]
        .iter()
        .fold(expr, |expr, variable| expr.replace(variable, ".+"))
}

/// Of the runbook's commands, and of the dashboards' links. What a build lacks says so, with 501.
pub(super) fn every_page_is_there(agent: SocketAddr) {
    let runbook = text("docs/RUNBOOK.md");
    let commands = runbook
        .split("\"$URL")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let mut paths: Vec<String> = commands.map(str::to_owned).collect();
    let dashboards = dashboards::all();
    for link in dashboards.iter().flat_map(dashboards::Dashboard::links) {
        if let Some((_, path)) = link.split_once("}/") {
            paths.push(format!("/{path}"));
        }
    }
    assert!(paths.len() > 60, "only {} links", paths.len());
    for path in paths {
        let mut filled = path.clone();
        for (variable, value) in [
            ("$KIND", "request"),
            ("${kind}", "request"),
            ("${__field.labels.kind}", "request"),
            ("${__data.fields.kind}", "request"),
            ("${__field.labels.state}", "idle"),
            ("${__field.labels.outcome}", "failed"),
            ("${__field.labels.verdict}", "orphaned"),
            ("${__data.fields.verdict}", "orphaned"),
            ("${__data.fields.supervisor}", "ingest"),
        ] {
            filled = filled.replace(variable, value);
        }
        assert!(!filled.contains('$'), "{filled}");
        let status = get_from(agent, &filled).status;
        assert!([200, 501].contains(&status), "{path}: {status}");
    }
}
