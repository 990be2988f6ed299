//! The rules of `alerts/lifespan.yml`. promtool is who says that the file is right; this reads what it has then.

use std::collections::BTreeMap;

use super::text;

/// A rule: its fields, those of its labels and annotations among them.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) is_alert: bool,
    pub(super) name: String,
    fields: BTreeMap<String, String>,
}

impl Rule {
    /// Empty where there is no such field.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value)
    }

    pub(super) fn expr(&self) -> &str {
        self.field("expr")
    }
}

pub(super) fn all() -> Vec<Rule> {
    read(&text("alerts/lifespan.yml"))
}

pub(super) fn alerts() -> impl Iterator<Item = Rule> {
    all().into_iter().filter(|rule| rule.is_alert)
}

fn read(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.trim().split_once(": ") else {
            continue;
        };
        let value = if value == ">-" {
            // The lines that are indented more deeply, as one.
            let mut words = Vec::new();
            while let Some(more) = lines.next_if(|next| indent(next) > indent(line)) {
                words.push(more.trim());
            }
            words.join(" ")
        } else {
            value.trim_matches('"').to_owned()
        };
        if let Some(sort @ ("alert" | "record")) = key.strip_prefix("- ") {
            rules.push(Rule {
                is_alert: sort == "alert",
                name: value,
                fields: BTreeMap::new(),
            });
        } else if let Some(rule) = rules.last_mut().filter(|_| !key.starts_with("- ")) {
            rule.fields.insert(key.to_owned(), value);
        }
    }
    rules
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
