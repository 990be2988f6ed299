//! What can be told of the files alone.

use std::collections::BTreeSet;

use lifespan::prometheus::{CATALOGUE, Metric, Type};
use serde_json::Value;

use super::dashboards::{self, string};
use super::rules::{self, Rule};
use super::{series, text};

/// The metric of the catalogue to which a series belongs.
fn metric(series: &str) -> Option<&'static Metric> {
    let parts: &[&str] = &["", "_bucket", "_sum", "_count"];
    CATALOGUE.iter().find(|metric| {
        let parts = match metric.kind {
            Type::Histogram => &parts[1..],
            Type::Summary => &parts[2..],
            _ => &parts[..1],
        };
        let part = series.strip_prefix(metric.name);
        part.is_some_and(|part| parts.contains(&part))
    })
}

#[test]
fn every_series_exists() {
    let rules = rules::all();
    assert!(rules.len() > 30, "{rules:?}");
    let dashboards = dashboards::all();
    let recorded: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| !rule.is_alert)
        .map(|rule| &*rule.name)
        .collect();
    let mut exprs: Vec<(String, &str)> = rules
        .iter()
        .map(|rule| (rule.name.clone(), rule.expr()))
        .collect();
    for dashboard in &dashboards {
        exprs.extend(dashboard.exprs());
        for variable in dashboard.variables() {
            exprs.push((dashboard.file.to_owned(), string(&variable["definition"])));
        }
    }
    assert!(exprs.len() > 100, "only {} expressions", exprs.len());
    let mut used = BTreeSet::new();
    for (place, expr) in exprs {
        for series in series(expr) {
            assert!(
                metric(series).is_some() || recorded.contains(series),
                "{place}: {series} is neither in the catalogue nor recorded"
            );
            used.insert(series);
        }
    }
    for name in recorded {
        assert!(used.contains(name), "nobody uses {name}");
    }
}

/// The labels of a rule's result, as far as they are those of the metrics in it.
fn labels(rule: &Rule, rules: &[Rule]) -> BTreeSet<&'static str> {
    if rule.expr().starts_with("sum by (job, instance)") {
        return BTreeSet::new();
    }
    series(rule.expr())
        .into_iter()
        .flat_map(|name| {
            if let Some(metric) = metric(name) {
                return metric.labels.iter().copied().collect();
            }
            let recorded = rules.iter().find(|rule| rule.name == name);
            labels(recorded.unwrap(), rules)
        })
        .collect()
}

#[test]
fn every_alert_says_what_where_and_what_to_do() {
    let rules = rules::all();
    let alerts: Vec<&Rule> = rules.iter().filter(|rule| rule.is_alert).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    let runbook = text("docs/RUNBOOK.md");
    let sections: Vec<(&str, &str)> = runbook
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .collect();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| &*alert.name).collect();
    assert_eq!(names, sections.iter().map(|(name, _)| *name).collect());
    for alert in alerts {
        let name = &*alert.name;
        assert!(name.starts_with("Lifespan"), "{name}");
        assert!(!alert.field("for").is_empty(), "{name} has no `for`");
        let severity = alert.field("severity");
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let summary = alert.field("summary");
        assert!(
            summary.starts_with(char::is_uppercase) && summary.ends_with('.') && !summary.contains("{{"),
            "{name}: {summary}"
        );
        let description = alert.field("description");
        let labels = labels(alert, &rules);
        for label in ["kind", "spawned_at", "pool", "supervisor", "child"] {
            assert_eq!(
                description.contains(&format!("{{{{ $labels.{label} }}}}")),
                labels.contains(label),
                "{name} has the labels {labels:?}: {description}"
            );
        }
        if name != "LifespanAbsent" {
            assert!(
                description.starts_with("{{ $labels.instance }}"),
                "{name}: {description}"
            );
        }
        let anchor = format!("docs/RUNBOOK.md#{}", name.to_lowercase());
        assert_eq!(alert.field("runbook_url"), anchor);
        let (_, section) = sections.iter().find(|(section, _)| *section == name).unwrap();
        for part in ["**Means.**", "**Look.**", "**Mend.**"] {
            assert!(section.contains(part), "{name} in the runbook has no {part}");
        }
        let pages = section.contains("Critical");
        assert_eq!(pages, severity == "critical", "{name} in the runbook");
    }
}

#[test]
fn every_alert_is_tested_on_what_raises_it_and_on_what_does_not() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/alerts/tests")).unwrap();
    let tests: String = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for alert in rules::alerts() {
        let name = &alert.name;
        assert!(
            tests.contains(&format!("alertname: {name}\n")),
            "no test raises {name}"
        );
        assert!(
            tests.contains(&format!("alertname: {name}, eval_time")),
            "no test leaves {name} alone"
        );
    }
}

#[test]
fn every_panel_says_what_it_shows() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards::all() {
        let (file, json) = (dashboard.file, &dashboard.json);
        assert!(json["schemaVersion"].as_u64() >= Some(42), "{file}");
        assert!(uids.insert(string(&json["uid"]).to_owned()), "{file}");
        assert!(!string(&json["title"]).is_empty() && !string(&json["description"]).is_empty());
        let variables: Vec<&str> = dashboard.variables().map(|one| string(&one["name"])).collect();
        assert!(
            variables.starts_with(&["datasource", "job", "instance"]),
            "{file}"
        );
        let annotations = json["annotations"]["list"].as_array().unwrap().iter();
        for source in annotations.chain(dashboard.variables().skip(1)) {
            assert_source(&source["datasource"], file);
        }
        let mut ids = BTreeSet::new();
        assert!(dashboard.panels().count() > 10, "{file}");
        for panel in dashboard.panels() {
            let title = string(&panel["title"]);
            let place = format!("{file}: {title}");
            assert!(ids.insert(panel["id"].as_u64()), "{place}");
            assert!(!title.is_empty(), "{place} has no title");
            assert!(
                string(&panel["description"]).ends_with('.'),
                "{place} has no description"
            );
            let unit = string(&panel["fieldConfig"]["defaults"]["unit"]);
            assert!(!unit.is_empty(), "{place} has no unit");
            assert_source(&panel["datasource"], &place);
            for target in panel["targets"].as_array().unwrap() {
                assert_source(&target["datasource"], &place);
            }
        }
        for (place, expr) in dashboard.exprs() {
            assert_selects(&place, expr, &variables);
        }
    }
}

fn assert_source(source: &Value, place: &str) {
    assert_eq!(source["type"], "prometheus", "{place}");
    assert_eq!(source["uid"], "${datasource}", "{place}");
}

/// Every selector follows the variables, and every window the range that is shown.
fn assert_selects(place: &str, expr: &str, variables: &[&str]) {
    if expr.ends_with(":threshold") {
        return;
    }
    let selectors = expr.matches('{').count();
    assert!(selectors > 0, "{place}: {expr}");
    for variable in ["job", "instance"] {
        let count = expr.matches(&format!("{variable}=~\"${variable}\"")).count();
        assert_eq!(count, selectors, "{place}: {expr}");
    }
    assert_eq!(
        expr.contains("kind=~\"$kind\""),
        variables.contains(&"kind") && series(expr).iter().any(|series| has_kind(series)),
        "{place}: {expr}"
    );
    for window in expr.split('[').skip(1) {
        let window = window.split(']').next().unwrap();
        assert!(
            ["$__rate_interval", "$__range"].contains(&window),
            "{place}: {expr}"
        );
    }
}

fn has_kind(name: &str) -> bool {
    let recorded = || rules::all().into_iter().find(|rule| rule.name == name);
    match metric(name) {
        Some(metric) => metric.labels.contains(&"kind"),
        None => recorded().is_some_and(|rule| series(rule.expr()).into_iter().any(has_kind)),
    }
}

#[test]
fn links_lead_to_our_pages_or_to_our_dashboards() {
    let dashboards = dashboards::all();
    let uids: Vec<&str> = dashboards.iter().map(|one| string(&one.json["uid"])).collect();
    let mut links = 0;
    for dashboard in &dashboards {
        for link in dashboard.links() {
            links += 1;
            let ours = link
                .strip_prefix("/d/")
                .is_some_and(|rest| uids.contains(&rest.split('?').next().unwrap()));
            assert!(
                ours || link.starts_with("http://${"),
                "{}: {link}",
                dashboard.file
            );
            assert!(ours || link.contains("}/debug/"), "{}: {link}", dashboard.file);
        }
    }
    assert!(links > 20, "only {links} links");
}
