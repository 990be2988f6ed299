//! Alerts, dashboards and runbook: that they agree with each other and with the catalogue, and that they work.

mod committed;
mod dashboards;
#[cfg(feature = "cli")]
mod live;
mod rules;

use std::collections::BTreeSet;
use std::path::Path;

/// A file of the project.
pub(super) fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The series that an expression of PromQL names: those of ours, of the runtime and of the process.
pub(super) fn series(expr: &str) -> BTreeSet<&str> {
    // Every other part stands between quotes.
    let code = expr.split('"').step_by(2);
    let words =
        code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
    words
        .filter(|word| {
            ["lifespan_", "lifespan:", "tokio_", "process_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        })
        .collect()
}

#[test]
fn series_are_found_in_expressions() {
    let expr = r#"sum by (kind) (rate(lifespan_a_total{kind=~"lifespan_x", job="b"}[5m])) > scalar(lifespan:b:threshold)"#;
    assert_eq!(
        series(expr).into_iter().collect::<Vec<_>>(),
        ["lifespan:b:threshold", "lifespan_a_total"]
    );
}
