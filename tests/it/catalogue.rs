//! One catalogue of metrics: what a scrape shows, what the README says and what promtool accepts.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use lifespan::prometheus::{CATALOGUE, Collector, DEFAULT_KINDS, markdown, render};
use lifespan::supervisor::Backoff;
use lifespan::{ChildSpec, Scope, Supervisor};

use crate::exposition::Scrape;

/// Makes a fact for each metric of the catalogue.
async fn make_facts() -> Supervisor {
    lifespan::registry::watch(&tokio::runtime::Handle::current());
    lifespan::spawn("catalogue-done", async {}).await.unwrap();
    drop(lifespan::WorkerPool::builder("catalogue-pool").build(&Scope::new("catalogue")));
    let stuck = lifespan::spawn("catalogue-stuck", std::future::pending::<()>());
    tokio::task::yield_now().await;
    lifespan::registry::sweep();
    lifespan::registry::sweep();
    stuck.abort();
    let child = ChildSpec::new("catalogue-child", |cx| async move {
        cx.cancelled().await;
    });
    let supervisor = Supervisor::builder("catalogue").child(child.backoff(Backoff::default()));
    supervisor.start(&Scope::new("catalogue")).await.unwrap()
}

fn is_here(only: Option<&str>) -> bool {
    match only {
        None => true,
        Some("Linux") => cfg!(target_os = "linux"),
        Some("tokio_unstable") => cfg!(tokio_unstable),
        Some(other) => panic!("no test knows where {other} is"),
    }
}

#[tokio::test]
async fn a_scrape_shows_the_catalogue_and_nothing_else() {
    let _supervisor = make_facts().await;
    let scrape = Scrape::take(DEFAULT_KINDS);
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(known.len(), CATALOGUE.len(), "a name is in the catalogue twice");
    for family in &scrape.families {
        assert!(
            known.contains(&*family.name),
            "{} is not in the catalogue",
            family.name
        );
    }
    for metric in CATALOGUE {
        let family = scrape.family(metric.name);
        assert_eq!(family.is_some(), is_here(metric.only), "{}", metric.name);
        let Some(family) = family else { continue };
        assert_eq!(family.kind, metric.kind.name(), "{}", metric.name);
        assert_eq!(family.help, metric.help, "{}", metric.name);
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        for sample in &family.samples {
            let mut found: BTreeSet<&str> = sample.labels.keys().map(|label| &**label).collect();
            if sample.name.ends_with("_bucket") {
                found.remove("le");
            }
            assert_eq!(found, labels, "{}", sample.name);
        }
    }
}

#[test]
fn names_carry_their_type_and_unit() {
    for metric in CATALOGUE {
        let (name, kind) = (metric.name, metric.kind.name());
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        let bare = name.strip_suffix("_total").unwrap_or(name);
        let unit = ["seconds", "bytes"].into_iter().find(|unit| bare.ends_with(unit));
        assert_eq!(unit.unwrap_or_default(), metric.unit, "{name}");
        assert!(metric.help.ends_with('.'), "{name}: {}", metric.help);
    }
}

#[test]
fn a_registry_accepts_the_whole_catalogue() {
    let collector = Collector::new();
    let descs = prometheus::core::Collector::desc(&collector);
    let described: BTreeSet<&str> = descs.iter().map(|desc| &*desc.fq_name).collect();
    let ours = CATALOGUE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| name.starts_with("lifespan_"));
    assert_eq!(described, ours.collect());
    let registry = prometheus::Registry::new();
    registry.register(Box::new(collector)).unwrap();
}

#[test]
fn the_readme_shows_the_catalogue() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let table = readme
        .split_once("<!-- metrics -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- /metrics -->"))
        .map(|(table, _)| table)
        .expect("README.md has a table of metrics between `<!-- metrics -->` and `<!-- /metrics -->`");
    let expected = markdown();
    assert!(
        table == expected,
        "put this between the two marks of README.md:\n{expected}"
    );
}

#[tokio::test]
async fn promtool_has_no_complaint() {
    let _supervisor = make_facts().await;
    // Names that would end a label, a line or a page.
    for name in HOSTILE {
        let kind = lifespan::KindId::named(name);
        lifespan::spawn(kind, async {}).await.unwrap();
    }
    promtool_accepts(&render(usize::MAX).unwrap());
}

#[tokio::test]
async fn hostile_names_stay_in_their_label() {
    for name in HOSTILE {
        let kind = lifespan::KindId::named(name);
        lifespan::spawn(kind, async {}).await.unwrap();
        let text = render(usize::MAX).unwrap();
        assert!(
            !text.contains(|c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))),
            "{name:?} reached the scrape as it is"
        );
        // The strict reader finds the kind's name whole, in one label.
        let scrape = Scrape::parse(&text);
        let spawned = scrape.value("lifespan_tasks_spawned_total", &[("kind", kind.name())]);
        assert!(spawned.is_some_and(|spawned| spawned >= 1.0), "{name:?}");
        assert!(scrape.family("lifespan_injected").is_none());
    }
}

const HOSTILE: [&str; 6] = [
    "catalogue \"}\nlifespan_injected{kind=\"x\"} 1\n",
    "catalogue \"} 1 #",
    "catalogue </script><script>",
    "catalogue \u{1b}[2J\u{9b}31m",
    "catalogue \u{202e}\u{2066}bidi",
    "catalogue \\\" \\n \\",
];

/// The real linter, on a whole scrape.
pub(crate) fn promtool_accepts(scrape: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.unwrap_or_else(|error| {
        panic!("cannot run promtool: {error}; install it with `apt-get install prometheus`")
    });
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(scrape.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "promtool says:\n{said}"
    );
}
