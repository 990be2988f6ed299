//! The profiles of live tasks, and of threads: as profile.proto, as text, as a picture.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame};

use super::query::Query;
use super::refusal::{Refusal, TEXT};
use crate::profile::dump::Dump;
use crate::profile::view::{self, Busy, View};
use crate::profile::{flamegraph, tasks, text, threads};

/// `tasks` and its kin.
pub(super) async fn tasks(
    name: &'static str,
    leaked: bool,
    query: Option<&str>,
) -> Result<Response, Refusal> {
    let query = Query::parse(query, &["debug", "seconds"])?;
    let debug = query.number("debug", 0, 2)?.unwrap_or_default();
    let seconds = seconds(&query)?;
    if seconds.is_some() && debug > 0 {
        return Err(Refusal::bad_request("seconds and debug params are incompatible"));
    }
    let first = asked(leaked).await?;
    if let Some(seconds) = seconds {
        tokio::time::sleep(seconds).await;
        let second = asked(leaked).await?;
        let profile = tasks::delta(&first, &second);
        return Ok(attachment(&format!("{name}-delta"), profile));
    }
    Ok(match debug {
        0 => attachment(name, tasks::profile(&first)),
        1 => ([(CONTENT_TYPE, TEXT)], text::aggregated(name, &first)).into_response(),
        _ => ([(CONTENT_TYPE, TEXT)], Body::new(Blocks::new(first))).into_response(),
    })
}

/// The same as a flame graph.
pub(super) async fn picture(
    name: &'static str,
    leaked: bool,
    query: Option<&str>,
) -> Result<Response, Refusal> {
    Query::parse(query, &[])?;
    let dump = asked(leaked).await?;
    let headers = [(CONTENT_TYPE, SVG), (CONTENT_SECURITY_POLICY, policy())];
    Ok((headers, flamegraph::render(name, &dump)).into_response())
}

/// `threadcreate`.
pub(super) fn threads(name: &'static str, query: Option<&str>) -> Result<Response, Refusal> {
    let query = Query::parse(query, &["debug"])?;
    let debug = query.number("debug", 0, 1)?.unwrap_or_default();
    let Some(threads) = threads::threads() else {
        return Err(Refusal::not_implemented(format!(
            "{name}: only Linux tells what threads there are"
        )));
    };
    Ok(match debug {
        0 => attachment(name, threads::profile(&threads)),
        _ => ([(CONTENT_TYPE, TEXT)], threads::text(&threads)).into_response(),
    })
}

/// How many threads there are, where the system tells.
pub(super) fn thread_count() -> Option<u64> {
    u64::try_from(threads::threads()?.len()).ok()
}

pub(super) fn refused(Busy: Busy) -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "a dump of other tasks is under way: ask again when it has ended",
    )
}

async fn asked(leaked: bool) -> Result<Arc<Dump>, Refusal> {
    let view = if leaked { View::Leaked } else { View::All };
    view::take(view).await.map_err(refused)
}

/// From 1 to 60. What is no number is refused in Go's words, and not taken for another.
fn seconds(query: &Query) -> Result<Option<Duration>, Refusal> {
    if query.get("seconds").is_none() {
        return Ok(None);
    }
    match query.number("seconds", 1, usize::MAX) {
        Ok(Some(seconds)) if seconds > 60 => Err(Refusal::bad_request(
            "invalid value for \"seconds\" - must be at most 60",
        )),
        Ok(seconds) => Ok(seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)),
        Err(_) => Err(Refusal::bad_request(
            "invalid value for \"seconds\" - must be a positive integer",
        )),
    }
}

fn attachment(name: &str, profile: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    // Names are those of the table.
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [(CONTENT_TYPE, OCTETS), (CONTENT_DISPOSITION, disposition)];
    (headers, profile).into_response()
}

/// All that a picture may do is to run its own script.
fn policy() -> HeaderValue {
    let mut policy =
        String::from("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    // To write to a string cannot fail.
    let _ = write!(policy, "; script-src '{}'", flamegraph::SCRIPT_HASH);
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A body that writes one block a task as fast as it is read.
#[derive(Debug)]
struct Blocks {
    dump: Arc<Dump>,
    next: Next,
    /// The last call sent a piece; this one lets others go first.
    yields: bool,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Head,
    Task(usize),
    End,
}

impl Blocks {
    fn new(dump: Arc<Dump>) -> Self {
        Self {
            dump,
            next: Next::Head,
            yields: false,
        }
    }

    fn piece(&mut self) -> String {
        let mut piece = String::with_capacity(PIECE + 4_096);
        while piece.len() < PIECE {
            self.next = match self.next {
                Next::Head => {
                    piece.push_str(&text::head(&self.dump));
                    Next::Task(0)
                }
                Next::Task(at) => {
                    if let Some(task) = self.dump.tasks.get(at) {
                        text::block(task, &mut piece);
                        Next::Task(at + 1)
                    } else {
                        piece.push_str(&text::foot(&self.dump));
                        Next::End
                    }
                }
                Next::End => break,
            };
        }
        piece
    }
}

impl HttpBody for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.yields {
            self.yields = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.piece();
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        self.yields = true;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// Bytes that a piece has when it is sent; one block can pass it by its own length.
const PIECE: usize = 64 * 1_024;
const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
