//! The token that a request must bring, compared without telling how much of it was right.

use std::fmt;

use axum::http::HeaderValue;
use subtle::{Choice, ConstantTimeEq};

use crate::config::MAX_TOKEN_BYTES;

/// A secret. It is in no message, and in no `Debug` output.
#[derive(Clone)]
pub(super) struct Token(Box<Padded>);

impl Token {
    /// `None` where it is too long.
    pub(super) fn new(token: &str) -> Option<Self> {
        Some(Self(Box::new(Padded::new(token.as_bytes())?)))
    }

    /// Whether an `Authorization` header brings this token: as a bearer, or as the password of whatever user.
    pub(super) fn is_in(&self, header: &HeaderValue) -> bool {
        let Some((scheme, credentials)) = header.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return false;
        };
        let credentials = credentials.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            self.is(credentials.as_bytes())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = decode_base64(credentials).unwrap_or_default();
            let colon = decoded.iter().position(|byte| *byte == b':');
            let password = colon.and_then(|colon| decoded.get(colon + 1..));
            password.is_some_and(|password| self.is(password))
        } else {
            false
        }
    }

    /// Takes the same time whatever is offered, but for its length, which whoever offers it knows.
    fn is(&self, offered: &[u8]) -> bool {
        match Padded::new(offered) {
            Some(offered) => self.0.ct_eq(&offered).into(),
            None => false,
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Text of one length, so that comparing it tells nothing of the length of the token.
#[derive(Clone)]
struct Padded {
    bytes: [u8; MAX_TOKEN_BYTES],
    length: u64,
}

impl Padded {
    fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_TOKEN_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let length = u64::try_from(text.len()).ok()?;
        Some(Self { bytes, length })
    }
}

impl ConstantTimeEq for Padded {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.length.ct_eq(&other.length)
    }
}

/// Base64 with or without its padding. (No crate for 20 lines.)
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        let missing = u32::try_from(4 - group.len()).ok()?;
        let [_, bytes @ ..] = (bits << (6 * missing)).to_be_bytes();
        let count = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        decoded.extend_from_slice(bytes.get(..count)?);
    }
    Some(decoded)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_let_in() {
        let token = Token::new("s3cret").unwrap();
        for (header, is_in) in [
            ("Bearer s3cret", true),
            ("bearer  s3cret", true),
            ("Basic OnMzY3JldA==", true),   // :s3cret
            ("Basic b3BzOnMzY3JldA", true), // ops:s3cret
            ("Basic czNjcmV0", false),      // s3cret, which has no colon
            ("Basic OnMzY3JldDpz", false),  // :s3cret:s
            ("Basic OnMzY3JldA===x", false),
            ("Bearer s3cre", false),
            ("Bearer s3cret0", false),
            ("Bearer s3cret\u{0}", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("s3cret", false),
            ("Digest s3cret", false),
        ] {
            if let Ok(value) = HeaderValue::from_str(header) {
                assert_eq!(token.is_in(&value), is_in, "{header}");
            }
        }
        let long = HeaderValue::from_str(&format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1))).unwrap();
        assert!(!token.is_in(&long));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn base64() {
        for (text, decoded) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmE", Some("fooba")),
            ("Z", None),
            ("Zm9v!", None),
            ("Zm=v", None),
        ] {
            assert_eq!(
                decode_base64(text).as_deref(),
                decoded.map(str::as_bytes),
                "{text}"
            );
        }
    }
}
