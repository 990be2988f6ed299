//! The service: all its parts, each in its scope.

use std::net::SocketAddr;
use std::sync::Arc;

use lifespan::Scope;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::app::{self, Shop};
use super::counts::Counts;
use super::fault::{Faults, Storm};
use super::prices::Feed;
use super::store::{Cache, Database};
use super::thumbnails::Thumbnails;
use super::{Error, analytics, daemons, ingest, kinds, load};

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

/// Starts all of it on that runtime, for a task of the root scope; what others work with comes first, since what came last
/// is drained first. The feed of prices ends when it is dropped, all else with its scope.
pub(super) fn start(port: Port, runtime: &Handle, root: &Scope, rate: u32, counts: &Arc<Counts>) -> Feed {
    let _on = runtime.enter();
    let Port { listener, address } = port;
    let cache = Arc::new(Cache::default());
    let storm = Arc::new(Storm::default());
    let (feed, prices) = Feed::start();
    // They end with the shop, and that with the last connection.
    let (analytics, _workers) = analytics::start();
    daemons::start(Arc::clone(&cache), &root.context());
    ingest::start(Arc::clone(counts), Arc::clone(&storm), root.context());

    let scope = root.child("app");
    let shop = Arc::new(Shop {
        analytics,
        cache,
        counts: Arc::clone(counts),
        database: Database::new(),
        prices,
        scope: scope.clone(),
        thumbnails: Thumbnails::default(),
    });
    let router = app::router(&shop, Arc::new(Faults::new(storm)));
    scope.spawn(&kinds::ACCEPTOR, move |cx| app::serve(listener, router, cx));
    load::start(root, address, rate, Arc::clone(counts));
    feed
}
