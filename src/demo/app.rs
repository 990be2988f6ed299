//! The order service's HTTP port.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lifespan::Scope;
use lifespan::scope::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::analytics::Analytics;
use super::counts::Counts;
use super::fault::{self, Faults};
use super::kinds;
use super::orders;
use super::prices::Prices;
use super::store::{Cache, Database};
use super::thumbnails::Thumbnails;

/// What requests work with.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) analytics: Analytics,
    pub(super) cache: Arc<Cache>,
    pub(super) counts: Arc<Counts>,
    pub(super) database: Database,
    pub(super) prices: Prices,
    /// What serves requests: the port, its connections, and what they work at.
    pub(super) scope: Scope,
    pub(super) thumbnails: Thumbnails,
}

/// | route | does |
/// |---|---|
/// | `GET /orders/{id}` | shows an order |
/// | `POST /orders` | takes one: `{"sku":7,"quantity":2}` |
/// | `POST /fault/…` | plants a fault, see [`fault`] |
pub(super) fn router(shop: &Arc<Shop>, faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/orders", post(orders::create))
        .route("/orders/{id}", get(orders::show))
        .route_layer(from_fn_with_state(Arc::clone(shop), orders::track))
        .with_state(Arc::clone(shop))
        .nest("/fault", fault::router(faults))
}

/// Accepts connections, each a task, until it is cancelled; returns when the last has ended.
pub(super) async fn serve(listener: TcpListener, router: Router, cx: Context) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = lifespan::JoinSet::new();
    loop {
        let next = async {
            // Beyond the most, clients wait in the listener's backlog.
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (room, accepted) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            _ = cx.cancelled() => break,
        };
        match (room, accepted) {
            (Ok(room), Ok((stream, _))) => {
                let service = router.clone();
                connections.spawn(&kinds::CONNECTION, connection(stream, service, cx.clone(), room));
            }
            // Most likely out of file descriptors: they come back when connections end.
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
    drop((listener, router));
    while connections.join_next().await.is_some() {}
}

const MOST_CONNECTIONS: usize = 1_024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one connection; cancelled, it ends after the request under way.
async fn connection(stream: TcpStream, router: Router, cx: Context, room: OwnedSemaphorePermit) {
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // That a client hung up in the middle is its own affair.
        _ = connection.as_mut() => {}
        _ = cx.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    drop(room);
}
