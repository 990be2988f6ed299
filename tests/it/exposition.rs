//! A strict reader of Prometheus' text format 0.0.4, for tests: it panics at whatever is not of it.

use std::collections::BTreeMap;

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) families: Vec<Family>,
}

impl Scrape {
    /// What the library says now.
    #[track_caller]
    pub(crate) fn take(kinds: usize) -> Self {
        Self::parse(&lifespan::prometheus::render(kinds).unwrap())
    }

    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let mut families: Vec<Family> = Vec::new();
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.trim_end_matches('\n').split('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                families.push(Family {
                    name: name.to_owned(),
                    kind: String::new(),
                    help: help.to_owned(),
                    samples: Vec::new(),
                });
                continue;
            }
            let family = families.last_mut().unwrap();
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family.name, "a type without its help");
                family.kind = kind.to_owned();
                continue;
            }
            let sample = Sample::parse(line);
            let base = sample.base(&family.kind);
            assert_eq!(base, family.name, "{line:?} is in another family");
            family.samples.push(sample);
        }
        let scrape = Self { families };
        scrape.assert_no_duplicates();
        scrape
    }

    /// The value of one sample; `None` where there is none of those labels, and no other.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let samples = self.families.iter().flat_map(|family| &family.samples);
        samples
            .into_iter()
            .find(|sample| sample.name == name && sample.labels == labels)
            .map(|sample| sample.value)
    }

    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// How many series it has.
    pub(crate) fn series(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }

    fn assert_no_duplicates(&self) {
        let mut families = std::collections::BTreeSet::new();
        for family in &self.families {
            assert!(families.insert(&family.name), "{} is there twice", family.name);
            let mut samples = std::collections::BTreeSet::new();
            for sample in &family.samples {
                let series = (&sample.name, &sample.labels);
                assert!(samples.insert(series), "{series:?} is there twice");
            }
        }
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let end = line.find(['{', ' ']).unwrap();
        let (name, rest) = line.split_at(end);
        assert!(is_name(name), "{name:?} is no name, in {line:?}");
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labels) => read_labels(labels),
            None => (Labels::new(), rest),
        };
        let value = value.strip_prefix(' ').unwrap();
        Self {
            name: name.to_owned(),
            labels,
            value: value
                .parse()
                .unwrap_or_else(|error| panic!("{value:?}: {error}, in {line:?}")),
        }
    }

    fn base(&self, kind: &str) -> &str {
        let parts: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[],
        };
        let base = parts.iter().find_map(|part| self.name.strip_suffix(part));
        base.unwrap_or(&self.name)
    }
}

/// Labels up to the closing brace, and what follows it.
fn read_labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "{name:?} is no label, in {text:?}");
        let mut read = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => read.push(match chars.next().unwrap().1 {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    other => panic!("\\{other} is no escape, in {text:?}"),
                }),
                (_, plain) => read.push(plain),
            }
        };
        assert_eq!(
            labels.insert(name.to_owned(), read),
            None,
            "{name} is there twice"
        );
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').unwrap()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
