//! JSON's simplest values, written straight into a buffer.

use std::time::Duration;

/// A whole number.
pub(super) fn write_number(to: &mut Vec<u8>, number: u64) {
    write_digits::<20>(to, number, 1);
}

/// A time in seconds, to the nanosecond.
pub(super) fn write_seconds(to: &mut Vec<u8>, time: Duration) {
    write_number(to, time.as_secs());
    to.push(b'.');
    write_digits::<9>(to, time.subsec_nanos().into(), 9);
}

/// At least `least` digits of a number that has at most `MOST`.
pub(super) fn write_digits<const MOST: usize>(to: &mut Vec<u8>, number: u64, least: usize) {
    let mut digits = [b'0'; MOST];
    let (mut rest, mut count) = (number, 0);
    for digit in digits.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        let last = (rest % 10) as u8;
        *digit = b'0' + last;
        rest /= 10;
        count += 1;
    }
    let first = MOST.saturating_sub(least.max(count));
    to.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A text between quotes.
pub(super) fn write_string(to: &mut Vec<u8>, text: &str) {
    to.push(b'"');
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(is_plain) {
        to.extend_from_slice(text.as_bytes());
    } else {
        for c in text.chars() {
            match c {
                '"' => to.extend_from_slice(b"\\\""),
                '\\' => to.extend_from_slice(b"\\\\"),
                '\n' => to.extend_from_slice(b"\\n"),
                c if c < ' ' => {
                    to.extend_from_slice(b"\\u00");
                    let hex = [u32::from(c) >> 4, u32::from(c) & 15];
                    let digits = hex.map(|digit| char::from_digit(digit, 16).unwrap_or('0'));
                    to.extend(digits.into_iter().filter_map(|digit| u8::try_from(digit).ok()));
                }
                c => to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut to = Vec::new();
        write(&mut to);
        serde_json::from_slice(&to).unwrap()
    }

    #[test]
    fn numbers_at_their_ends() {
        for number in [0, 1, 9, 10, u64::MAX] {
            assert_eq!(written(|to| write_number(to, number)), number);
        }
        for (nanos, text) in [
            (0, "0.000000000"),
            (1, "0.000000001"),
            (61_000_000_020, "61.000000020"),
        ] {
            let mut to = Vec::new();
            write_seconds(&mut to, Duration::from_nanos(nanos));
            assert_eq!(to, text.as_bytes());
        }
        let mut to = Vec::new();
        write_seconds(&mut to, Duration::MAX);
        assert_eq!(to, b"18446744073709551615.999999999");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in any::<String>(), number in any::<u64>()) {
            prop_assert_eq!(written(|to| write_string(to, &text)), text);
            prop_assert_eq!(written(|to| write_number(to, number)), number);
        }
    }
}
