//! The service: all its parts, each in its scope.

use std::net::SocketAddr;
use std::sync::Arc;

use lifespan::Scope;
use lifespan::supervisor::BoxError;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::analytics::Analytics;
use super::app::{self, Shop};
use super::counts::Counts;
use super::fault::{Faults, Trouble};
use super::prices::Prices;
use super::store::{Cache, Database};
use super::thumbnails::Thumbnails;
use super::{Error, daemons, ingest, kinds, load};

/// The order service's port, which no other process is bound to.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes it, for a service on that runtime.
    pub(super) fn take(address: SocketAddr, runtime: &Handle) -> Result<Self, Error> {
        let _on = runtime.enter();
        let take = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let listener = TcpListener::from_std(listener)?;
            Ok(Self { listener, address })
        };
        take().map_err(|error| Error::Listen(address, error))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts all of it on this runtime, each part in its scope; what others work with comes first, since what came last is
/// drained first.
pub(super) async fn start(port: Port, root: Scope, rate: u32, counts: Arc<Counts>) -> Result<(), BoxError> {
    let Port { listener, address } = port;
    let cache = Arc::new(Cache::default());
    let trouble = Arc::new(Trouble::default());
    let prices = Prices::open()?;
    let analytics = Analytics::start(&root);
    daemons::start(Arc::clone(&cache), &root).await?;
    ingest::start(&root, Arc::clone(&counts), Arc::clone(&trouble)).await?;

    let scope = root.child("app");
    let shop = Arc::new(Shop {
        analytics,
        cache,
        counts: Arc::clone(&counts),
        database: Database::new(),
        prices,
        scope: scope.clone(),
        thumbnails: Thumbnails::default(),
    });
    let router = app::router(&shop, Arc::new(Faults::new(trouble)));
    scope.spawn(&kinds::ACCEPTOR, move |cx| app::serve(listener, router, cx));
    load::start(&root, address, rate, counts);
    Ok(())
}
