//! Flags of `lifespan demo`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

/// Run an order service under load, with the agent inside it.
///
/// The service answers HTTP on the app's address, and a load generator inside drives it. It prints what runs and
/// where, then every 5 seconds how many tasks live and how many have ended. SIGTERM, Ctrl-C or the end of
/// `--seconds` drain it, and a report says what was still alive.
///
/// Faults on request, on the app's address: POST /fault/leak?n=, /fault/orphan?n=, /fault/lost-wakeup?n=,
/// /fault/panic?kind=, /fault/block?ms=&kind=, /fault/restart-storm, /fault/spin?kind=&ms=.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// Where the agent serves its page, /metrics and /debug; port 0 takes a free one. By default, LIFESPAN_LISTEN
    /// or else 127.0.0.1:9464.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Where the order service listens; port 0 takes a free one. Loopback only: anyone who reaches it can plant
    /// faults.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = loopback)]
    pub(crate) app: SocketAddr,

    /// Requests a second that the load generator sends; 0 sends none.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=MOST_RATE))]
    pub(crate) rate: u32,

    /// The age in seconds below which no leak rule looks at a task; all their other times are multiples of it. By
    /// default, 300: with 1, a leak that goes on is suspected within half a minute.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) young: Option<Duration>,

    /// Ends after that many seconds; by default, it runs until it is told to end.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
}

/// More than one process can send to itself: beyond, the load generator would measure itself.
const MOST_RATE: i64 = 20_000;
/// A year.
const MOST_SECONDS: u64 = 31_536_000;

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464")
}

fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(
            "not a loopback address; the fault routes must not be reachable from outside, use 127.0.0.1 or [::1]",
        )
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=MOST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a whole number of seconds, from 1 to 31536000 (a year)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        assert!(address("127.0.0.1:0").is_ok());
        assert!(address("[::1]:9464").is_ok());
        for text in ["", "9464", "localhost:9464", "127.0.0.1", "127.0.0.1:65536"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_app_is_never_open_to_others() {
        assert!(loopback("127.8.0.1:8080").is_ok());
        for text in [
            "0.0.0.0:8080",
            "[::]:8080",
            "192.0.2.1:8080",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(loopback(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn seconds_are_whole_and_bounded() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        for text in ["0", "-1", "1.5", "31536001", "99999999999999999999", "1s", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
