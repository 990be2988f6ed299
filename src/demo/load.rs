//! The load generator: real HTTP over loopback, at a steady rate, whatever the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use lifespan::scope::Context;
use lifespan::{JoinSet, Scope};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::chance;
use super::counts::Counts;
use super::kinds;

/// Starts it in a scope of its own, unless the rate is 0.
pub(super) fn start(root: &Scope, app: SocketAddr, rate: u32, counts: Arc<Counts>) {
    if rate > 0 {
        let load = root.child("load");
        load.spawn(&kinds::LOAD, move |cx| generate(app, rate, counts, cx));
    }
}

async fn generate(app: SocketAddr, rate: u32, counts: Arc<Counts>, cx: Context) {
    let client = Client::builder(lifespan::Executor::new(&kinds::LOAD_CONNECTION))
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(MOST_UNDER_WAY)
        .build_http();
    let mut ticks = interval(Duration::from_secs(1).div_f64(rate.into()).max(FINEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (start, mut sent) = (Instant::now(), 0);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            now = ticks.tick() => {
                let due = due(now.saturating_duration_since(start), rate, sent);
                sent += due;
                let room = MOST_UNDER_WAY.saturating_sub(under_way.len());
                let now = due.min(u64::try_from(room).unwrap_or(u64::MAX));
                counts.skipped.add(due - now);
                for _ in 0..now {
                    under_way.spawn(&kinds::LOAD, request(client.clone(), app));
                }
            }
            Some(_) = under_way.join_next() => {}
            _ = cx.cancelled() => break,
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// How many requests to send now. Those that are late are sent at once: the rate is one of arrivals, which in the
/// world outside do not wait for a service that stalls.
fn due(elapsed: Duration, rate: u32, sent: u64) -> u64 {
    let wanted = elapsed.as_micros() * u128::from(rate) / 1_000_000;
    u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(sent)
}

const MOST_UNDER_WAY: usize = 512;
/// tokio's timers are no finer than 1 ms.
const FINEST: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(5);
const LITTLE_PATIENCE: Duration = Duration::from_millis(5);
const MOST_BODY: usize = 64 * 1024;

/// Sends one request and reads its answer. One client in a hundred hangs up before it comes.
async fn request(client: Client<HttpConnector, Body>, app: SocketAddr) {
    let patience = if chance::one_in(100) {
        LITTLE_PATIENCE
    } else {
        PATIENCE
    };
    let exchange = async {
        let response = client.request(draw(app)).await.ok()?;
        to_bytes(Body::new(response.into_body()), MOST_BODY).await.ok()
    };
    // What came of it is counted by the service; the client only makes work.
    let _ = timeout(patience, exchange).await;
}

/// An order is looked at more often than made.
fn draw(app: SocketAddr) -> Request<Body> {
    let (method, path, body) = if chance::one_in(4) {
        let body = format!(
            r#"{{"sku":{},"quantity":{}}}"#,
            chance::below(64),
            1 + chance::below(9)
        );
        (Method::POST, "/orders".to_owned(), Body::from(body))
    } else {
        (
            Method::GET,
            format!("/orders/{}", 1 + chance::below(1_000)),
            Body::empty(),
        )
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    if let Ok(uri) = format!("http://{app}{path}").parse() {
        *request.uri_mut() = uri;
    }
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_time() {
        assert_eq!(due(Duration::ZERO, 50, 0), 0);
        assert_eq!(due(Duration::from_millis(20), 50, 0), 1);
        assert_eq!(due(Duration::from_millis(30), 50, 1), 0);
        assert_eq!(due(Duration::from_secs(10), 50, 499), 1);
        assert_eq!(due(Duration::from_secs(10), 20_000, 0), 200_000);
    }

    #[test]
    fn what_a_stall_held_up_is_sent_after_it() {
        assert_eq!(due(Duration::from_secs(3), 50, 50), 100);
        assert_eq!(due(Duration::from_secs(1), 50, 60), 0);
    }
}
