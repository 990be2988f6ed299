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
//! | `GET /debug/leaks` | groups of tasks with a [verdict](crate::leak) and what speaks for it: `verdict=`, `limit=`, `format=json\|text` |
//! | `GET /debug/leaks/captures` | what was known at the moment of a [spike](crate::leak); `/{number}` is one of them, to be saved |
//! | `GET /debug/pprof/` | which profiles there are |
//!
//! `/debug/tasks` takes `kind=NAME`, `state=idle|scheduled|running`, `verdict=orphaned|overstayed|overdue|suspected`,
//! `min_age=SECONDS` (also `500ms`, `30s`, `5m`, `2h`), `sort=age|idle|busy|polls|wakes|self_wakes|wakers|future_bytes` (largest first),
//! `limit=N` and `group_by=kind|spawned_at`. It answers `{"sampled_at", "total", "truncated", "tasks"}`: `total`
//! counts all that match, of which at most `limit` are shown (by default [`DEFAULT_ROWS`], at most [`MAX_ROWS`]).
//! With `Accept: application/x-ndjson` it streams one row a line, all that match unless there is a limit, in bounded
//! memory. Rows are weakly consistent: see [`registry`](crate::registry).
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

mod captures;
mod connection;
mod dump;
mod exits;
mod filter;
mod group;
mod guard;
mod health;
mod kinds;
mod leaks;
mod metrics;
mod page;
mod pprof;
mod query;
mod refusal;
mod row;
mod scopes;
mod serve;
mod tasks;
mod text;
mod time;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::config;
use crate::readiness::Readiness;

pub use filter::{DEFAULT_ROWS, MAX_ROWS};
pub use guard::Access;
pub(crate) use serve::{Counts, Limits, serve};
pub use serve::{
    DEFAULT_HEADER_TIMEOUT, DEFAULT_MAX_CONNECTIONS, IDLE_TIMEOUT, MAX_HEADER_BYTES, MAX_HEADERS,
};

/// What the endpoints need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    access: Access,
    metrics_kinds: usize,
    readiness: Readiness,
}

impl Settings {
    /// The defaults: no token, no names of hosts but `localhost`, a service that is ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(),
            metrics_kinds: config::DEFAULT_METRICS_KINDS,
            readiness: Readiness::new(),
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

    /// What `/readyz` answers from. By default, one that is always ready.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
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
        .route("/debug/leaks", get(leaks::leaks))
        .route("/debug/leaks/captures", get(captures::all))
        .route("/debug/leaks/captures/{number}", get(captures::one))
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
