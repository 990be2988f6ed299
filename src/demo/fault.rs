//! What goes wrong in a service, on request.
//!
//! | route | plants |
//! |---|---|
//! | `POST /fault/leak?n=` | tasks that wait for ever for something that could still come |
//! | `POST /fault/orphan?n=` | tasks that nothing can wake any more |
//! | `POST /fault/lost-wakeup?n=` | tasks that wait for an event that has come |
//! | `POST /fault/panic?kind=` | a task of that kind that panics; for `parser`, the one in the pipeline |
//! | `POST /fault/block?ms=` | a task that blocks its worker |
//! | `POST /fault/restart-storm` | a parser that fails at each line, for 5 seconds: more than its supervisor allows |
//! | `POST /fault/spin?kind=&ms=` | a task of that kind that keeps a core busy, and its worker now and then |
//!
//! A page in a browser may not (403). Anything else in the query is answered with 400, more than there is room for with 429.

use std::error::Error;
use std::future::pending;
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use lifespan::Kind;
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::chance;
use super::kinds;
use super::unheard::Event;

pub(super) fn router(faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/leak", post(leak))
        .route("/orphan", post(orphan))
        .route("/lost-wakeup", post(lost_wakeup))
        .route("/panic", post(panic))
        .route("/block", post(block))
        .route("/restart-storm", post(restart_storm))
        .route("/spin", post(spin))
        .layer(from_fn(refuse_pages))
        .with_state(faults)
}

/// Any page in a browser on this machine can post here, and says so in a header that it cannot leave out.
async fn refuse_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(ORIGIN) {
        return (
            StatusCode::FORBIDDEN,
            "pages may not plant faults: use a command line\n",
        )
            .into_response();
    }
    next.run(request).await
}

/// What was planted, and how much more may be.
#[derive(Debug)]
pub(super) struct Faults {
    /// Leaked tasks wait for it. It never comes.
    never: Arc<Notify>,
    trouble: Arc<Trouble>,
    /// For tasks that stay.
    stuck: Semaphore,
    /// For tasks that end.
    passing: Arc<Semaphore>,
}

impl Faults {
    pub(super) fn new(trouble: Arc<Trouble>) -> Self {
        Self {
            never: Arc::default(),
            trouble,
            stuck: Semaphore::new(MOST_STUCK),
            passing: Arc::new(Semaphore::new(MOST_PASSING)),
        }
    }

    /// Takes room for so many tasks that stay for ever.
    fn stay(&self, n: u32) -> Result<(), Refusal> {
        let room = self.stuck.try_acquire_many(n);
        let room = room.map_err(|_| Refusal::Full("tasks that never end", MOST_STUCK))?;
        room.forget();
        Ok(())
    }

    /// Takes room for a task until it ends.
    fn pass(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.passing).try_acquire_owned();
        room.map_err(|_| Refusal::Full("faults at once", MOST_PASSING))
    }
}

const MOST_STUCK: usize = 100_000;
const MOST_PASSING: usize = 64;
const MOST_AT_ONCE: u32 = 10_000;
const MOST_MILLIS: u32 = 30_000;

/// What the parser meets with.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) once: AtomicBool,
    /// It fails at each line until then.
    storm: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Panics, as parsers do: now and then by chance, and whenever that was planted.
    pub(super) fn befall(&self, line: &str) {
        assert!(!self.once.swap(false, Relaxed), "planted by /fault/panic");
        assert!(
            !self.rages() && !chance::one_in(ONE_BAD_IN),
            "the schema is not the one of yesterday: {line:?}"
        );
    }

    fn rages(&self) -> bool {
        let until = *self.storm.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn begin(&self) {
        let mut until = self.storm.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + STORM);
    }
}

/// Every 20 seconds, about.
const ONE_BAD_IN: u64 = 1_000;
const STORM: Duration = Duration::from_secs(5);

static LEAK: Kind = Kind::new("leak");
static ORPHAN: Kind = Kind::new("orphan");
static LOST_WAKEUP: Kind = Kind::new("lost-wakeup");
static BLOCK: Kind = Kind::new("block");

type Parameters<T> = Result<Query<T>, QueryRejection>;
type Answer = Result<String, Refusal>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HowMany {
    #[serde(default = "one")]
    n: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HowLong {
    ms: u32,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKind {
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKindHowLong {
    kind: String,
    ms: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn leak(State(faults): State<Arc<Faults>>, query: Parameters<HowMany>) -> Answer {
    let n = how_many(&query?)?;
    faults.stay(n)?;
    for _ in 0..n {
        let never = Arc::clone(&faults.never);
        lifespan::spawn(&LEAK, async move { never.notified().await });
    }
    Ok(format!("{n} tasks of kind leak wait for ever\n"))
}

async fn orphan(State(faults): State<Arc<Faults>>, query: Parameters<HowMany>) -> Answer {
    let n = how_many(&query?)?;
    faults.stay(n)?;
    for _ in 0..n {
        // As where a callback is lost that was to answer: nobody holds a waker.
        lifespan::spawn(&ORPHAN, pending::<()>());
    }
    Ok(format!(
        "{n} tasks of kind orphan wait, and nothing can wake them\n"
    ))
}

async fn lost_wakeup(State(faults): State<Arc<Faults>>, query: Parameters<HowMany>) -> Answer {
    let n = how_many(&query?)?;
    faults.stay(n)?;
    for _ in 0..n {
        let event = Arc::new(Event::default());
        lifespan::spawn(&LOST_WAKEUP, async move { event.wait().await });
    }
    Ok(format!("{n} tasks of kind lost-wakeup wait for what has come\n"))
}

async fn panic(State(faults): State<Arc<Faults>>, query: Parameters<OfKind>) -> Answer {
    let Query(OfKind { kind: name }) = query?;
    let kind = kind(&name)?;
    if std::ptr::eq(kind, &kinds::PARSER) {
        faults.trouble.once.store(true, Relaxed);
        return Ok("the parser panics at its next line\n".to_owned());
    }
    let room = faults.pass()?;
    plant(kind, Deed::Panic, room);
    Ok(format!("a task of kind {name} panics\n"))
}

async fn block(State(faults): State<Arc<Faults>>, query: Parameters<HowLong>) -> Answer {
    let Query(HowLong { ms, kind: name }) = query?;
    let time = how_long(ms)?;
    let kind = match &name {
        Some(name) => kind(name)?,
        None => &BLOCK,
    };
    let room = faults.pass()?;
    plant(kind, Deed::Block(time), room);
    let name = kind.id();
    Ok(format!("a task of kind {name} blocks its thread for {ms} ms\n"))
}

async fn restart_storm(State(faults): State<Arc<Faults>>, query: Parameters<Nothing>) -> Answer {
    let Query(Nothing {}) = query?;
    faults.trouble.begin();
    Ok(format!(
        "the parser fails at each line for {} s, until its supervisor gives up\n",
        STORM.as_secs()
    ))
}

async fn spin(State(faults): State<Arc<Faults>>, query: Parameters<OfKindHowLong>) -> Answer {
    let Query(OfKindHowLong { kind: name, ms }) = query?;
    let (kind, time) = (kind(&name)?, how_long(ms)?);
    let room = faults.pass()?;
    plant(kind, Deed::Spin(time), room);
    Ok(format!("a task of kind {name} spins for {ms} ms\n"))
}

fn how_many(query: &Query<HowMany>) -> Result<u32, Refusal> {
    bounded("n", query.0.n, 1..=MOST_AT_ONCE)
}

fn how_long(ms: u32) -> Result<Duration, Refusal> {
    let ms = bounded("ms", ms, 1..=MOST_MILLIS)?;
    Ok(Duration::from_millis(ms.into()))
}

fn bounded(name: &'static str, value: u32, bounds: RangeInclusive<u32>) -> Result<u32, Refusal> {
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::OutOfBounds(name, bounds))
    }
}

fn kind(name: &str) -> Result<&'static Kind, Refusal> {
    kinds::named(name).ok_or(Refusal::NoSuchKind)
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Block(Duration),
    Panic,
    Spin(Duration),
}

/// Spawns what does it, as tasks of that kind are spawned.
fn plant(kind: &'static Kind, deed: Deed, room: OwnedSemaphorePermit) {
    let at_once = move || {
        // Given back by a panic too.
        let _room = room;
        match deed {
            Deed::Block(time) => std::thread::sleep(time),
            Deed::Panic => panic!("planted by /fault/panic"),
            Deed::Spin(time) => burn(time),
        }
    };
    if std::ptr::eq(kind, &kinds::THUMBNAIL) {
        lifespan::spawn_blocking(kind, at_once);
    } else if std::ptr::eq(kind, &kinds::PRICE_FEED) {
        lifespan::thread::spawn(kind, at_once);
    } else {
        lifespan::spawn(kind, async move {
            if let Deed::Spin(time) = deed {
                let end = Instant::now() + time.saturating_sub(SLICE);
                while Instant::now() < end {
                    burn(SLICE);
                    yield_now().await;
                }
            } else {
                at_once();
            }
        });
    }
}

/// How long a task that spins keeps its worker to itself: long enough to count as a slow poll.
const SLICE: Duration = Duration::from_millis(15);

/// Keeps a core busy. A function of its own, for those who look for it in a profile.
#[inline(never)]
fn burn(time: Duration) {
    let end = Instant::now() + time;
    let mut n = 1u64;
    while Instant::now() < end {
        for _ in 0..10_000 {
            n = black_box(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        }
    }
}

/// Why nothing was planted.
#[derive(Debug)]
enum Refusal {
    Full(&'static str, usize),
    NoSuchKind,
    OutOfBounds(&'static str, RangeInclusive<u32>),
    Query(QueryRejection),
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::Query(rejection)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Full(what, most) => {
                let text = format!("no room: at most {most} {what}");
                (StatusCode::TOO_MANY_REQUESTS, text)
            }
            Self::NoSuchKind => {
                let kinds: Vec<&str> = kinds::ALL.iter().map(|kind| kind.id().name()).collect();
                let text = format!("no such kind; there are {}", kinds.join(", "));
                (StatusCode::BAD_REQUEST, text)
            }
            Self::OutOfBounds(name, bounds) => {
                let text = format!("{name} is from {} to {}", bounds.start(), bounds.end());
                (StatusCode::BAD_REQUEST, text)
            }
            Self::Query(rejection) => {
                let text = match rejection.source() {
                    Some(cause) => format!("bad query: {cause}"),
                    None => "bad query".to_owned(),
                };
                (StatusCode::BAD_REQUEST, text)
            }
        };
        (status, format!("{text}\n")).into_response()
    }
}
