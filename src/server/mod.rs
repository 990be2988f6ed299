//! The HTTP endpoints, as a router that the agent serves and that can be mounted in an axum app of your own.
//!
//! | route | gives |
//! |---|---|
//! | `GET /` | a page that links all others |
//! | `GET /metrics` | Prometheus text 0.0.4, with feature `prometheus` |
//! | `GET /livez`, `/readyz` | liveness, readiness (see [`Readiness`]); they need no token |
//! | `GET /debug/tasks` | live tasks: see below |
//! | `GET /debug/tasks/{id}` | one task, alive or among the last exits |
//! | `GET /debug/kinds` | what is known of each kind; with `tokio_unstable` also where untracked tasks were spawned |
//! | `GET /debug/exits` | the last exits, newest first: `kind=`, `outcome=`, `limit=` |
//! | `GET /debug/scopes` | the tree of [scopes](crate::scope), each before those in it: `limit=` |
//! | `GET /debug/events` | the last [events](crate::event), oldest first: see below |
//! | `GET /debug/supervisors` | the [supervisors](crate::supervisor), each before those in it, with their children: `limit=` |
//! | `GET /debug/pprof/` | which profiles there are |
//! | `GET /debug/pprof/tasks`, also as `goroutine` | live tasks by await point: see below |
//! | `GET /debug/pprof/taskleak`, also as `goroutineleak` | the same, only tasks with a verdict |
//! | `GET /debug/pprof/{either}/flamegraph` | the same as a picture, SVG |
//! | `GET /debug/pprof/threadcreate`, `cmdline`, `symbol` | OS threads (Linux); the command line, where [allowed](Settings::show_command_line); no symbols |
//!
//! `/debug/tasks` takes `kind=NAME`, `state=idle|scheduled|running`, `verdict=orphaned|overstayed`,
//! `min_age=SECONDS` (also `500ms`, `30s`, `5m`, `2h`), `sort=age|idle|busy|polls|wakes|self_wakes|wakers|future_bytes` (largest first),
//! `limit=N` and `group_by=kind|spawned_at`. It answers `{"sampled_at", "total", "truncated", "tasks"}`: `total`
//! counts all that match, of which at most `limit` are shown (by default [`DEFAULT_ROWS`], at most [`MAX_ROWS`]).
//! With `Accept: application/x-ndjson` it streams one row a line, all that match unless there is a limit, in bounded
//! memory. Rows are weakly consistent: see [`registry`](crate::registry).
//!
//! `/debug/events` takes `kind=NAME`, `event=NAME`, `supervisor=PATH`, `after=SEQ` and `limit=N`, and answers
//! `{"sampled_at", "total", "truncated", "offered", "dropped", "events"}`, of which `dropped` are gone from the
//! journal. With `Accept: text/event-stream` it follows the journal, from the next event on or behind `after=` or
//! `Last-Event-ID`: `id` is the event's number, `event` its name, `data` the same object. A client that falls behind
//! gets an event `missed` with `{"missed":N}`. At most [`MAX_FOLLOWERS`] follow at a time; a further one is answered
//! with 503.
//!
//! Profiles (feature `profile`) are what `go tool pprof` opens: gzip profile.proto, with values `tasks/count` and
//! `age/seconds` and labels `kind`, `state`, `scope`, `verdict` and `spawned_at`. `debug=1` gives alike tasks as text,
//! `debug=2` a block a task, and `seconds=N` (1 to 60) the difference of two profiles that long apart. One dump is
//! taken at a time: who asks for the same meanwhile gets that one, who asks for another is refused with 429.
//!
//! A parameter that is unknown, given twice or out of range is answered with 400 and what is allowed; what this
//! build or version does not have with 501 and why.
//!
//! # Guards
//!
//! They stand before every route, in an app of your own too. The host that a request names must be an IP literal,
//! `localhost` or an [allowed name](Access::allow_host), else it is answered with 421, and the same holds for its
//! origin (403): a page in a browser can make neither up. Where there is a [token](Access::token) it must come as a
//! bearer or as the password of basic authentication (401). Only `GET` and `HEAD` are answered (405).
//!
//! # Examples
//!
//! ```
//! use lifespan::server::{self, Settings};
//!
//! let app = axum::Router::<()>::new()
//!     .route("/hello", axum::routing::get(async || "hello"))
//!     .nest("/internal", server::router(&Settings::new()));
//! # let _: axum::Router = app;
//! ```

mod connection;
mod dump;
mod event_json;
mod events;
mod exits;
mod filter;
mod following;
mod group;
mod guard;
mod health;
mod kinds;
mod metrics;
mod page;
mod pprof;
#[cfg(feature = "profile")]
mod profiles;
mod query;
mod refusal;
mod row;
mod scopes;
mod serve;
mod supervisors;
mod tasks;
mod text;
mod time;
mod token;
#[cfg(feature = "profile")]
mod waiting;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::config;
use crate::readiness::Readiness;

pub use filter::{DEFAULT_ROWS, MAX_ROWS};
pub use guard::Access;
pub(crate) use serve::{Counts, Limits, serve};
pub use serve::{
    DEFAULT_HEADER_TIMEOUT, DEFAULT_MAX_CONNECTIONS, IDLE_TIMEOUT, MAX_HEADER_BYTES, MAX_HEADERS,
};

/// How many clients follow the events at most, each of which holds its connection; of the agent's own server, not
/// more than a quarter of its connections.
pub const MAX_FOLLOWERS: usize = 4;

/// What the endpoints need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    access: Access,
    metrics_kinds: usize,
    readiness: Readiness,
    /// Places for those who follow the events.
    followers: Arc<Semaphore>,
    command_line: bool,
}

impl Settings {
    /// The defaults: no token, no names of hosts but `localhost`, a service that is ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(),
            metrics_kinds: config::DEFAULT_METRICS_KINDS,
            readiness: Readiness::new(),
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            command_line: false,
        }
    }

    /// Who may ask. By default, everybody who names the host by its address.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How many kinds `/metrics` shows; the others are summed as `other`. By default, 100.
    #[must_use]
    pub fn metrics_kinds(mut self, kinds: usize) -> Self {
        self.metrics_kinds = kinds;
        self
    }

    /// Leaves most of so many connections to those who do not follow the events.
    pub(crate) fn connections(mut self, connections: usize) -> Self {
        self.followers = Arc::new(Semaphore::new((connections / 4).clamp(1, MAX_FOLLOWERS)));
        self
    }

    /// What `/readyz` answers from. By default, one that is always ready.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Whether `/debug/pprof/cmdline` shows the command line, which can hold secrets. By default, it does not.
    #[must_use]
    pub fn show_command_line(mut self, shown: bool) -> Self {
        self.command_line = shown;
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// The routes, behind their guards.
///
/// It can be merged into a router, or nested in one. A dump of a million tasks takes about a second of the runtime
/// that serves it, in pieces of about a millisecond; the agent's own server spends that on the agent's thread, and
/// answers while every worker of the host is blocked, which a router in the host's app cannot.
#[must_use = "a router does nothing until it is served"]
pub fn router(settings: &Settings) -> Router {
    let settings = Arc::new(settings.clone());
    Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics::metrics))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/debug/tasks", get(tasks::list))
        .route("/debug/tasks/{id}", get(tasks::one))
        .route("/debug/kinds", get(kinds::kinds))
        .route("/debug/exits", get(exits::exits))
        .route("/debug/scopes", get(scopes::scopes))
        .route("/debug/events", get(events::events))
        .route("/debug/supervisors", get(supervisors::supervisors))
        .route("/debug/pprof", get(pprof::to_index))
        .route("/debug/pprof/", get(pprof::index))
        .route("/debug/pprof/{*profile}", get(pprof::profile))
        // Not `layer`, which would stand before the other routes of an app that this is merged into.
        .route_layer(from_fn_with_state(Arc::clone(&settings), guard::guard))
        .with_state(settings)
}

/// The routes as the agent serves them: with an answer for every other path, behind the same guards.
pub(crate) fn app(settings: &Settings) -> Router {
    let guards = from_fn_with_state(Arc::new(settings.clone()), guard::guard);
    let nothing = Router::new().fallback(page::not_found).layer(guards);
    router(settings).fallback_service(nothing)
}
