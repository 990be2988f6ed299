//! The parameters of a request: known, given once, and short; all else is refused by name.

use std::time::Duration;

use super::refusal::{Refusal, shown};

/// The longest query that is read, in bytes.
const MAX_QUERY_BYTES: usize = 4_096;

/// Decoded parameters of one route.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Query {
    given: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads a raw query, of which a route knows the keys in `known`.
    pub(super) fn parse(raw: Option<&str>, known: &'static [&'static str]) -> Result<Self, Refusal> {
        let raw = raw.unwrap_or_default();
        if raw.len() > MAX_QUERY_BYTES {
            return Err(Refusal::bad_request(format!(
                "the query is longer than {MAX_QUERY_BYTES} bytes"
            )));
        }
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (decode(key), decode(value)) else {
                let pair = shown(pair);
                return Err(Refusal::bad_request(format!(
                    "`{pair}` is not percent-encoded UTF-8"
                )));
            };
            let Some(key) = known.iter().find(|known| **known == key) else {
                let (key, known) = (shown(&key), listed(known));
                return Err(Refusal::bad_request(format!(
                    "unknown parameter `{key}`: {known}"
                )));
            };
            if given.iter().any(|(before, _)| before == key) {
                return Err(Refusal::bad_request(format!("`{key}` is given twice")));
            }
            given.push((*key, value));
        }
        Ok(Self { given })
    }

    /// The value of a key, if it was given.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let mut given = self.given.iter();
        given
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value.as_str())
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let found = words.iter().find(|(word, _)| *word == value);
        found.map(|(_, meant)| Some(*meant)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            bad(key, value, &format!("one of {}", words.join(", ")))
        })
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, key: &str, least: usize, most: usize) -> Result<Option<usize>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        // `usize::from_str` takes a sign.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value
            .parse()
            .ok()
            .filter(|number| digits && (least..=most).contains(number));
        number
            .map(Some)
            .ok_or_else(|| bad(key, value, &format!("a whole number from {least} to {most}")))
    }

    /// A time: a number of seconds, or one with a unit (`ms`, `s`, `m`, `h`).
    pub(super) fn time(&self, key: &str) -> Result<Option<Duration>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        parse_time(value).map(Some).ok_or_else(|| {
            bad(
                key,
                value,
                "a time from 0 to 100 years, such as 1.5, 500ms, 30s, 5m or 2h",
            )
        })
    }
}

/// Refuses a value.
pub(super) fn bad(key: &str, value: &str, allowed: &str) -> Refusal {
    let value = shown(value);
    Refusal::bad_request(format!("`{value}` is no value of `{key}`: it takes {allowed}"))
}

fn listed(known: &[&str]) -> String {
    match known {
        [] => "this route takes none".to_owned(),
        known => format!("known are {}", known.join(", ")),
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    const MOST_SECONDS: f64 = 100.0 * 365.25 * 86_400.0;
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit)?;
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    // No sign, no exponent, no name of a number.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = number.parse::<f64>().ok()? * scale;
    if !(0.0..=MOST_SECONDS).contains(&seconds) {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Undoes the encoding of a form: `+` is a space, `%41` is `A`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[&str] = &["kind", "limit", "min_age"];

    fn parse(raw: &str) -> Result<Query, String> {
        Query::parse(Some(raw), KNOWN).map_err(|refusal| refusal.message.into_owned())
    }

    #[test]
    fn values_are_decoded() {
        let query = parse("kind=a%20b+c%C3%A9&limit=10&").unwrap();
        assert_eq!(query.get("kind"), Some("a b c\u{e9}"));
        assert_eq!(query.number("limit", 1, 10), Ok(Some(10)));
        assert_eq!(query.time("min_age"), Ok(None));
        assert_eq!(Query::parse(None, KNOWN).unwrap().get("kind"), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (raw, message) in [
            (
                "color=red",
                "unknown parameter `color`: known are kind, limit, min_age",
            ),
            ("=1", "unknown parameter ``: known are kind, limit, min_age"),
            ("%00=1", "unknown parameter `\\0`: known are kind, limit, min_age"),
            ("kind=a&kind=a", "`kind` is given twice"),
            ("kind=%zz", "`kind=%zz` is not percent-encoded UTF-8"),
            ("kind=%ff", "`kind=%ff` is not percent-encoded UTF-8"),
            ("kind=%", "`kind=%` is not percent-encoded UTF-8"),
        ] {
            assert_eq!(parse(raw).unwrap_err(), message, "{raw}");
        }
        let long = format!("kind={}", "x".repeat(10_000_000));
        assert_eq!(parse(&long).unwrap_err(), "the query is longer than 4096 bytes");
        let none = Query::parse(Some("a=1"), &[]).unwrap_err();
        assert_eq!(none.message, "unknown parameter `a`: this route takes none");
    }

    #[test]
    fn numbers_and_times_have_bounds() {
        for value in [
            "",
            "-1",
            "+1",
            "0",
            "101",
            "1.0",
            "NaN",
            "1e308",
            "0x1",
            "99999999999999999999",
            "1%00",
        ] {
            let query = parse(&format!("limit={}", value.replace('+', "%2B"))).unwrap();
            assert!(query.number("limit", 1, 100).is_err(), "{value}");
        }
        for value in [
            "",
            "-1",
            "%2B1",
            "NaN",
            "inf",
            "1e308",
            ".",
            "1.2.3",
            "s",
            "1d",
            "1 s",
            "9999999999",
            "1%00",
        ] {
            let query = parse(&format!("min_age={value}")).unwrap();
            assert!(query.time("min_age").is_err(), "{value}");
        }
        for (value, millis) in [
            ("0", 0),
            ("1.5", 1_500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let query = parse(&format!("min_age={value}")).unwrap();
            assert_eq!(
                query.time("min_age"),
                Ok(Some(Duration::from_millis(millis))),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(raw in ".*") {
            if let Ok(query) = parse(&raw) {
                let _ = (query.number("limit", 0, 9), query.time("min_age"), query.word("kind", &[("a", 1)]));
            }
        }
    }
}
