//! The service: all its parts, started in order and drained in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::app::{self, Shop};
use super::counts::Counts;
use super::fault::{Faults, Storm};
use super::prices::Feed;
use super::stop::{self, StopSender};
use super::store::{Cache, Database};
use super::thumbnails::Thumbnails;
use super::{Error, analytics, daemons, ingest, kinds, load};
use crate::cli::DemoArgs;

/// The service, running.
#[derive(Debug)]
pub(super) struct Service {
    app: SocketAddr,
    counts: Arc<Counts>,
    stop: StopSender,
    /// In the order in which they end.
    parts: Vec<JoinHandle<()>>,
    feed: Feed,
    thumbnails: Thumbnails,
}

impl Service {
    /// Starts all of it on that runtime.
    pub(super) fn start(args: &DemoArgs, runtime: &Runtime) -> Result<Self, Error> {
        let _on = runtime.enter();
        let listener = listen(args.app).map_err(|error| Error::Listen(args.app, error))?;
        let app = listener
            .local_addr()
            .map_err(|error| Error::Listen(args.app, error))?;

        let (stop, stopped) = stop::channel();
        let counts = Arc::new(Counts::default());
        let cache = Arc::new(Cache::default());
        let storm = Arc::new(Storm::default());
        let thumbnails = Thumbnails::default();
        let (feed, prices) = Feed::start();
        let (analytics, workers) = analytics::start();
        let shop = Arc::new(Shop {
            analytics,
            cache: Arc::clone(&cache),
            counts: Arc::clone(&counts),
            database: Database::new(),
            prices,
            thumbnails: thumbnails.clone(),
        });
        let router = app::router(&shop, Arc::new(Faults::new(Arc::clone(&storm))));

        let mut parts = Vec::new();
        parts.extend(load::start(app, args.rate, Arc::clone(&counts), stopped.clone()));
        parts.push(
            lifespan::Builder::new(&kinds::ACCEPTOR)
                .long_lived()
                .spawn(app::serve(listener, router, stopped.clone())),
        );
        parts.push(ingest::start(Arc::clone(&counts), storm, stopped.clone()));
        // They end with the shop, and that with the last connection.
        parts.extend(workers);
        parts.extend(daemons::start(cache, &stopped));
        Ok(Self {
            app,
            counts,
            stop,
            parts,
            feed,
            thumbnails,
        })
    }

    /// Where it listens.
    pub(super) fn app(&self) -> SocketAddr {
        self.app
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Takes no more requests, lets those under way end, and then ends all other parts; no longer than the limit.
    pub(super) async fn drain(self, limit: Duration) -> Drained {
        let start = Instant::now();
        self.stop.stop();
        let ended = timeout(limit, async {
            for part in self.parts {
                // A part that panicked has ended as well.
                let _ = part.await;
            }
            self.thumbnails.idle().await;
            load::disconnected().await;
        });
        let ended = ended.await;
        self.feed.stop();
        match ended {
            Ok(()) => Drained::Wholly(start.elapsed()),
            Err(_) => Drained::Late(limit),
        }
    }
}

/// How the drain went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drained {
    /// All parts have ended, after that time.
    Wholly(Duration),
    /// The limit came first.
    Late(Duration),
    /// A second signal came first.
    Interrupted,
}

/// A socket that no other process is bound to, on this thread's runtime.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
