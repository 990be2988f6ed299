//! A stream of rows, one a line, in bounded memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame};

use super::filter::Wanted;
use super::row::RowView;
use crate::registry::{self, Row, Rows};

/// Rows that are looked at before other work of the thread gets its turn: about a millisecond.
const TURN: usize = 2_048;
/// Bytes that a piece has when it is sent; one row can pass it by its own length.
const PIECE: usize = 64 * 1_024;

/// A body that walks over the live tasks as fast as it is read, and stops where its reader leaves.
#[derive(Debug)]
pub(super) struct Dump {
    rows: Rows,
    wanted: Wanted,
    left: usize,
    /// The last call sent a piece; this one lets others go first.
    yields: bool,
}

impl Dump {
    /// The rows that are wanted, at most `limit`.
    pub(super) fn new(wanted: Wanted, limit: usize) -> Self {
        Self {
            rows: registry::rows(),
            wanted,
            left: limit,
            yields: false,
        }
    }

    /// Writes the next rows; less than a piece where its turn is over, or nothing is left.
    fn fill(&mut self, piece: &mut Vec<u8>) {
        for _ in 0..TURN {
            if self.left == 0 || piece.len() >= PIECE {
                return;
            }
            let Some(row) = self.rows.next() else {
                self.left = 0;
                return;
            };
            if self.wanted.wants(&row) {
                RowView::live(&row, &self.wanted.leaks).write(piece);
                piece.push(b'\n');
                self.left -= 1;
            }
        }
    }
}

impl Body for Dump {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if !self.yields {
            let mut piece = Vec::with_capacity(PIECE + 4_096);
            self.fill(&mut piece);
            if !piece.is_empty() {
                self.yields = true;
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
        }
        self.yields = false;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Walks over the live tasks in turns, and hands over those that are wanted.
///
/// # Cancel safety
///
/// It can be dropped at any time; the walk ends there.
pub(super) async fn walk(wanted: &Wanted, mut each: impl FnMut(Row)) {
    let mut rows = registry::rows();
    loop {
        for _ in 0..TURN {
            match rows.next() {
                Some(row) if wanted.wants(&row) => each(row),
                Some(_) => {}
                None => return,
            }
        }
        tokio::task::yield_now().await;
    }
}
