//! One connection: what it is doing, and how long it may take for that.
//!
//! hyper's own header timeout also runs while a kept-alive connection rests, so that it cannot be both short for a
//! client that dribbles and long for one that scrapes every 15 s. It is the longer one here; the shorter is kept by
//! [`Transport`], which sees the first byte of a request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tower::ServiceExt;

/// What a connection is doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Whether a request is being answered. A connection that does nothing can make room for others.
    pub(super) fn is_serving(&self) -> bool {
        self.get() == SERVING
    }

    fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }

    fn transition_to_head(&self) {
        // One task writes it; a request that is being answered stays so, whatever else is read.
        let _ = self.0.compare_exchange(RESTING, HEAD, Relaxed, Relaxed);
    }

    fn transition_to_serving(&self) {
        self.0.store(SERVING, Relaxed);
    }

    fn transition_to_resting(&self) {
        self.0.store(RESTING, Relaxed);
    }
}

/// Nothing of the next request has come.
const RESTING: u8 = 0;
/// A part of its head has.
const HEAD: u8 = 1;
/// All of it has, and it is being answered.
const SERVING: u8 = 2;

/// A socket that loses its patience with a head that does not end, and with a reader that does not read.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    progress: Progress,
    head: Deadline,
    write: Deadline,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, progress: Progress, head: Duration, write: Duration) -> Self {
        Self {
            stream,
            progress,
            head: Deadline::new(head),
            write: Deadline::new(write),
        }
    }

    /// What a write came to; one that waits too long fails.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write.disarm();
            return result;
        }
        ready!(self.write.poll_passed(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.progress.transition_to_head();
        }
        if self.progress.get() != HEAD {
            self.head.disarm();
            return result;
        }
        // Also where bytes came: one a second must not buy time.
        if self.head.poll_passed(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A time that runs from when it is first asked for.
#[derive(Debug)]
struct Deadline {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self { limit, sleep: None }
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        sleep.as_mut().poll(cx)
    }

    fn disarm(&mut self) {
        self.sleep = None;
    }
}

/// Answers one request, and notes from where to where that lasts.
pub(super) async fn answer(
    app: axum::Router,
    progress: Progress,
    request: Request<Incoming>,
) -> Result<Response<Answer>, std::convert::Infallible> {
    progress.transition_to_serving();
    let response = app.oneshot(request).await?;
    Ok(response.map(|body| Answer { body, progress }))
}

/// A body; when it is dropped, it has been handed to the socket.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    progress: Progress,
}

impl HttpBody for Answer {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.progress.transition_to_resting();
    }
}
