//! A stream of server-sent events that follows the journal, in bounded memory.
//!
//! It holds one piece at most: what its reader is too slow for stays in the journal or goes from it, and the reader
//! is told how much it missed. One that takes nothing at all is closed with its connection.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;

use super::events::Wanted;
use crate::background::Stop;
use crate::event::{Entry, Follow, Missed};

/// How often a client hears something, so that it and all between know that the other side is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that are looked at before other work of the thread gets its turn.
const TURN: usize = 256;
/// Bytes that a piece has when it is sent; one event can pass it by its own length.
const PIECE: usize = 64 * 1_024;

type Piece = Pin<Box<dyn Future<Output = (Feed, Vec<u8>)> + Send>>;

/// The body.
pub(super) struct Following {
    /// Makes the next piece; `None` once the last was made.
    next: Option<Piece>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// What is wanted of the events from where the reader stands, at most `limit`, until the stop.
    pub(super) fn new(
        follow: Follow,
        wanted: Wanted,
        limit: Option<usize>,
        stop: Option<Stop>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let feed = Feed {
            follow,
            wanted,
            left: limit.unwrap_or(usize::MAX),
            stop,
        };
        Self {
            next: Some(Box::pin(feed.piece())),
            _place: place,
        }
    }
}

impl Body for Following {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (feed, piece) = ready!(next.as_mut().poll(cx));
        self.next = None;
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        if feed.left > 0 {
            self.next = Some(Box::pin(feed.piece()));
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// From where the pieces come.
struct Feed {
    follow: Follow,
    wanted: Wanted,
    left: usize,
    stop: Option<Stop>,
}

impl Feed {
    /// The next piece; an empty one at the stop.
    async fn piece(mut self) -> (Self, Vec<u8>) {
        let mut piece = Vec::new();
        let mut quiet = std::pin::pin!(tokio::time::sleep(KEEP_ALIVE));
        loop {
            self.fill(&mut piece);
            if !piece.is_empty() {
                return (self, piece);
            }
            // Also where none of many was wanted.
            tokio::task::yield_now().await;
            let Self { follow, stop, .. } = &mut self;
            tokio::select! {
                biased;
                () = stopped(stop) => {
                    // What came before the stop is told; then the next piece is empty.
                    self.fill(&mut piece);
                    return (self, piece);
                }
                () = follow.readable() => {}
                () = quiet.as_mut() => {
                    piece.extend_from_slice(b": nothing new\n\n");
                    return (self, piece);
                }
            }
        }
    }

    /// Writes what is there; less than a piece where nothing is left, or its turn is over.
    fn fill(&mut self, piece: &mut Vec<u8>) {
        for _ in 0..TURN {
            if self.left == 0 || piece.len() >= PIECE {
                return;
            }
            match self.follow.try_next() {
                Some(Ok(entry)) if self.wanted.wants(&entry) => {
                    write_entry(&entry, piece);
                    self.left -= 1;
                }
                Some(Ok(_)) => {}
                Some(Err(missed)) => write_missed(missed, piece),
                None => return,
            }
        }
    }
}

async fn stopped(stop: &mut Option<Stop>) {
    match stop {
        Some(stop) => stop.stopped().await,
        // In an app of the host's, which ends it by dropping it.
        None => std::future::pending().await,
    }
}

/// JSON has no line breaks of its own, so that it is one line of data.
fn write_entry(entry: &Entry, to: &mut Vec<u8>) {
    let start = to.len();
    let head = write!(to, "id: {}\nevent: {}\ndata: ", entry.seq, entry.event.name());
    if head.is_err() || serde_json::to_writer(&mut *to, entry).is_err() {
        // It cannot be: no value here refuses, and memory takes all.
        to.truncate(start);
        return;
    }
    to.extend_from_slice(b"\n\n");
}

/// Of all events, wanted or not: those that are gone cannot be asked.
fn write_missed(missed: Missed, to: &mut Vec<u8>) {
    // Memory takes all.
    let _ = write!(to, "event: missed\ndata: {{\"missed\":{}}}\n\n", missed.events);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Event, Subject};
    use crate::server::query::Query;

    #[test]
    fn a_piece_is_bounded_in_bytes_and_the_next_goes_on() {
        let mut feed = Feed {
            follow: event::follow(),
            wanted: Wanted::parse(&Query::parse(Some("supervisor=pieces"), &["supervisor"]).unwrap())
                .unwrap(),
            left: usize::MAX,
            stop: None,
        };
        for _ in 0..20 {
            let subject = Subject {
                supervisor: Some("pieces".into()),
                ..Subject::default()
            };
            let cause = "x".repeat(10_000).into();
            event::emit(subject, Event::Stopping { cause });
        }
        let (mut pieces, mut events) = (0, 0);
        loop {
            let mut piece = Vec::new();
            feed.fill(&mut piece);
            if piece.is_empty() {
                break;
            }
            assert!(piece.len() < PIECE + 11_000, "{}", piece.len());
            pieces += 1;
            events += String::from_utf8(piece)
                .unwrap()
                .matches("event: stopping")
                .count();
        }
        assert_eq!((pieces, events), (3, 20));
    }
}
