//! Times as answers show them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::text::write_digits;
use crate::utc::{Utc, civil};

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes what [`Utc`] shows, as a string of JSON: a dump has a million of them.
pub(super) fn write_utc(to: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let parts = [
        (b'"', year, 4),
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', second / 3_600, 2),
        (b':', second / 60 % 60, 2),
        (b':', second % 60, 2),
        (b'.', since.subsec_micros().into(), 6),
    ];
    for (before, number, digits) in parts {
        to.push(before);
        write_digits::<20>(to, number, digits);
    }
    to.extend_from_slice(b"Z\"");
}

/// Seconds, as a fraction.
pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (1_795_504_983_000_001, "2026-11-24T07:23:03.000001Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            assert_eq!(Utc(time).to_string(), text);
            let mut written = Vec::new();
            write_utc(&mut written, time);
            assert_eq!(written, format!("\"{text}\"").into_bytes());
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc(before).to_string(), "1970-01-01T00:00:00.000000Z");
    }
}
