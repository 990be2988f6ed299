//! The kinds of tasks that the service has.

use lifespan::Kind;

pub(super) static ACCEPTOR: Kind = Kind::new("acceptor");
pub(super) static ANALYTICS: Kind = Kind::new("analytics");
pub(super) static CACHE_READ: Kind = Kind::new("cache-read");
pub(super) static CONNECTION: Kind = Kind::new("connection");
pub(super) static DAEMON: Kind = Kind::new("daemon");
pub(super) static DB_QUERY: Kind = Kind::new("db-query");
pub(super) static INGEST: Kind = Kind::new("ingest");
pub(super) static LOAD: Kind = Kind::new("load");
pub(super) static LOAD_CONNECTION: Kind = Kind::new("load-connection");
pub(super) static PARSER: Kind = Kind::new("parser");
pub(super) static PRICE_FEED: Kind = Kind::new("price-feed");
pub(super) static READER: Kind = Kind::new("reader");
pub(super) static REQUEST: Kind = Kind::new("request");
pub(super) static STARTUP: Kind = Kind::new("startup");
pub(super) static THUMBNAIL: Kind = Kind::new("thumbnail");
pub(super) static WRITER: Kind = Kind::new("writer");

/// What faults can be planted as: `/fault/panic?kind=`, `/fault/spin?kind=`.
pub(super) static ALL: [&Kind; 15] = [
    &ACCEPTOR,
    &ANALYTICS,
    &CACHE_READ,
    &CONNECTION,
    &DAEMON,
    &DB_QUERY,
    &INGEST,
    &LOAD,
    &LOAD_CONNECTION,
    &PARSER,
    &PRICE_FEED,
    &READER,
    &REQUEST,
    &THUMBNAIL,
    &WRITER,
];

/// The kind of that name, if the service has it.
pub(super) fn named(name: &str) -> Option<&'static Kind> {
    ALL.into_iter().find(|kind| kind.id().name() == name)
}
