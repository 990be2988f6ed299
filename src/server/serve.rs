//! The accept loop: bounded in connections, in their heads and in their time.
//!
//! `axum::serve` is not used: it gives hyper no timer, so that its header timeout never fires, and it has no bound
//! on connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::connection::{Progress, Transport, answer};
use crate::background::Stop;
use crate::task::panic::contain;

/// How many connections are open at most, by default.
pub const DEFAULT_MAX_CONNECTIONS: usize = 16;

/// How long the head of a request may take from its first byte, by default.
pub const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may rest between requests, and a client may take without reading any of its answer.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many bytes the head of a request has at most.
pub const MAX_HEADER_BYTES: usize = 64 * 1_024;

/// How many headers a request has at most.
pub const MAX_HEADERS: usize = 64;

/// How long answers that are under way may take after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// What the loop keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
}

/// What the loop has seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    /// Connections that rested, and were closed to make room.
    pub(crate) evicted: AtomicU64,
    /// Connections that found no room.
    pub(crate) refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) panicked: AtomicU64,
}

/// Serves until the stop; then lets answers that are under way end, for a second.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    counts: Arc<Counts>,
    mut stop: Stop,
) {
    let mut connections = Connections::new(limits);
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = connections.tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    counts.panicked.fetch_add(1, Relaxed);
                    // What was thrown may throw again when it is dropped.
                    contain(move || drop(error));
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                counts.accepted.fetch_add(1, Relaxed);
                match connections.make_room() {
                    Room::Free => {}
                    Room::Evicted => {
                        counts.evicted.fetch_add(1, Relaxed);
                    }
                    // All are answering. To close is cheaper than to say 503 to a flood.
                    Room::None => {
                        counts.refused.fetch_add(1, Relaxed);
                        continue;
                    }
                }
                connections.open(stream, app.clone(), stop.clone());
            }
            // Out of file descriptors, most often: they come back, and to try at once would spin.
            Err(error) => {
                counts.accept_errors.fetch_add(1, Relaxed);
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%error, "lifespan: cannot accept connections for now");
                }
                let _ = tokio::time::timeout(accept_backoff(failures), stop.stopped()).await;
            }
        }
    }
    connections.drain().await;
}

/// 10 ms, doubled with each failure, at most a second.
fn accept_backoff(failures: u32) -> Duration {
    let doubled = 1u32 << failures.saturating_sub(1).min(7);
    Duration::from_millis(10)
        .saturating_mul(doubled)
        .min(Duration::from_secs(1))
}

struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    /// Oldest first.
    open: Vec<(Progress, AbortHandle)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Room {
    Free,
    Evicted,
    None,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            tasks: JoinSet::new(),
            open: Vec::new(),
        }
    }

    /// Where all places are taken, the oldest connection that is not being answered is closed: so a client that
    /// sends its request at once is served, however many others hold on to theirs.
    fn make_room(&mut self) -> Room {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() < self.limits.connections {
            return Room::Free;
        }
        match self.open.iter().position(|(progress, _)| !progress.is_serving()) {
            Some(at) => {
                let (_, task) = self.open.remove(at);
                task.abort();
                Room::Evicted
            }
            None => Room::None,
        }
    }

    fn open(&mut self, stream: TcpStream, app: Router, mut stop: Stop) {
        let limits = self.limits;
        let progress = Progress::default();
        let transport = Transport::new(stream, progress.clone(), limits.header, limits.idle);
        let (answering, stopping) = (progress.clone(), stop.clone());
        let task = self.tasks.spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                // For answers that do not end of themselves.
                request.extensions_mut().insert(stopping.clone());
                answer(app.clone(), answering.clone(), request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.idle)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(transport), service);
            let mut connection = std::pin::pin!(connection);
            // How it ended is the client's to know.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop.stopped() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
        self.open.push((progress, task));
    }

    async fn drain(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, all).await;
        // What is left is aborted with the set.
    }
}
