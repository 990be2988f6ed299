//! The dashboards in `dashboards/`.

use serde_json::Value;

use super::text;

pub(super) const FILES: [&str; 4] = ["lifecycle", "kind", "supervision", "runtime"];

pub(super) struct Dashboard {
    pub(super) file: &'static str,
    pub(super) json: Value,
}

pub(super) fn all() -> Vec<Dashboard> {
    let read = |file| Dashboard {
        file,
        json: serde_json::from_str(&text(&format!("dashboards/{file}.json"))).unwrap(),
    };
    FILES.into_iter().map(read).collect()
}

impl Dashboard {
    /// Those that show something.
    pub(super) fn panels(&self) -> impl Iterator<Item = &Value> {
        let panels = self.json["panels"].as_array().unwrap().iter();
        panels.filter(|panel| panel["type"] != "row")
    }

    /// Every expression, with where it stands.
    pub(super) fn exprs(&self) -> Vec<(String, &str)> {
        let panels = self.panels().flat_map(|panel| {
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(|target| (string(&panel["title"]), string(&target["expr"])))
        });
        let annotations = self.json["annotations"]["list"].as_array().unwrap().iter();
        let annotations = annotations.map(|one| (string(&one["name"]), string(&one["expr"])));
        panels
            .chain(annotations)
            .map(|(place, expr)| (format!("{}: {place}", self.file), expr))
            .collect()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &Value> {
        self.json["templating"]["list"].as_array().unwrap().iter()
    }

    /// The addresses of all links in panels.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        self.panels()
            .flat_map(|panel| panel["fieldConfig"]["defaults"]["links"].as_array().unwrap())
            .map(|link| string(&link["url"]))
    }
}

pub(super) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
