//! Settings of the endpoints: text made into values, and what is wrong with it said.

use std::ffi::OsString;
use std::net::SocketAddr;

use super::MAX_TOKEN_BYTES;
use crate::error::Error;

/// What the environment asks of the agent: `LIFESPAN_LISTEN`, `LIFESPAN_TOKEN`, `LIFESPAN_ALLOWED_HOSTS`.
///
/// A variable that is empty counts as not set, as the ones of a compose file do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) listen: Option<Result<SocketAddr, Error>>,
    pub(crate) token: Option<Result<String, Error>>,
    pub(crate) allowed_hosts: Option<Result<Vec<String>, Error>>,
}

impl Environment {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// What `lookup` knows; so that a test need not set a variable of its process.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &'static str| -> Option<Result<String, Error>> {
            let value = lookup(name).filter(|value| !value.is_empty())?;
            Some(
                value
                    .into_string()
                    .map_err(|_| Error::setting(name, "it is not UTF-8")),
            )
        };
        Self {
            listen: text(LISTEN).map(|value| value.and_then(|value| parse_listen(&value))),
            token: text(TOKEN).map(|value| value.and_then(|value| parse_token(TOKEN, value))),
            allowed_hosts: text(ALLOWED_HOSTS).map(|value| value.and_then(|value| parse_hosts(&value))),
        }
    }
}

/// An address and a port, such as `127.0.0.1:9464`, `[::]:9464` or `localhost:9464`.
///
/// `localhost` stands for 127.0.0.1. No other name does: to ask a resolver could take a host's start seconds.
fn parse_listen(text: &str) -> Result<SocketAddr, Error> {
    let text = text.trim();
    let literal = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse(),
    };
    literal.map_err(|_| {
        let shown = shown(text);
        Error::setting(
            LISTEN,
            format!("`{shown}` is not an address and a port, such as 127.0.0.1:9464"),
        )
    })
}

/// A token: 1 to [`MAX_TOKEN_BYTES`] visible ASCII characters, so that a header can carry it.
pub(crate) fn parse_token(name: &'static str, token: String) -> Result<String, Error> {
    // The token itself is never part of a message.
    let problem = if token.is_empty() {
        "it is empty"
    } else if token.len() > MAX_TOKEN_BYTES {
        "it is longer than 512 bytes"
    } else if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token);
    } else {
        "only visible ASCII characters can be sent in a header"
    };
    Err(Error::setting(name, problem))
}

/// Names between commas, as a Host header has them: no scheme, no port, no wildcard.
fn parse_hosts(text: &str) -> Result<Vec<String>, Error> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(parse_host)
        .collect()
}

/// One name of a host, in lower case and without a dot at its end.
pub(crate) fn parse_host(name: &str) -> Result<String, Error> {
    let plain = name.strip_suffix('.').unwrap_or(name);
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if plain.is_empty() || plain.len() > 253 || !plain.bytes().all(of_name) {
        let shown = shown(name);
        return Err(Error::setting(
            ALLOWED_HOSTS,
            format!("`{shown}` is not the name of a host, such as metrics.example.org"),
        ));
    }
    Ok(plain.to_ascii_lowercase())
}

/// The beginning of a bad value, so that it can stand in a log.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

const LISTEN: &str = "LIFESPAN_LISTEN";
const TOKEN: &str = "LIFESPAN_TOKEN";
const ALLOWED_HOSTS: &str = "LIFESPAN_ALLOWED_HOSTS";

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        Environment::from_lookup(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn nothing_set_and_set_to_nothing_are_the_same() {
        for found in [None, Some(OsString::new())] {
            let environment = Environment::from_lookup(|_| found.clone());
            assert!(environment.listen.is_none());
            assert!(environment.token.is_none());
            assert!(environment.allowed_hosts.is_none());
        }
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            (" [::]:80 ", "[::]:80"),
            ("localhost:0", "127.0.0.1:0"),
        ] {
            let listen = environment(LISTEN, text).listen.unwrap().unwrap();
            assert_eq!(listen, address.parse().unwrap());
        }
        for text in [
            "9464",
            ":9464",
            "127.0.0.1",
            "127.0.0.1:99999",
            "example.org:80",
            "\u{1b}[31m:1",
        ] {
            let error = environment(LISTEN, text).listen.unwrap().unwrap_err();
            assert!(error.is_setting());
            let message = error.to_string();
            assert!(message.starts_with("invalid LIFESPAN_LISTEN: `"), "{message}");
            assert!(!message.contains('\u{1b}'), "{message:?}");
        }
    }

    #[test]
    fn tokens_are_never_in_a_message() {
        assert_eq!(environment(TOKEN, "s3cret").token.unwrap().unwrap(), "s3cret");
        for text in ["s3cret with spaces", "s3cret\n", &"s3cret".repeat(100)] {
            let error = environment(TOKEN, text).token.unwrap().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn hosts() {
        let hosts = environment(ALLOWED_HOSTS, "Metrics.example.org., pod-1,").allowed_hosts;
        assert_eq!(hosts.unwrap().unwrap(), ["metrics.example.org", "pod-1"]);
        for text in ["http://a", "a:80", "*", "*.example.org", "a b"] {
            let hosts = environment(ALLOWED_HOSTS, text).allowed_hosts;
            assert!(hosts.unwrap().is_err(), "{text}");
        }
    }
}
