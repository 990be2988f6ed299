//! One thread that answers calls.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::task::job::Job;
use crate::task::kind::{AsKind, KindId};
use crate::task::panic;
use crate::task::record::flag;

/// How many calls wait for a server's thread at most.
pub const MAX_CALLS: usize = 128;

/// Starts a thread that makes a state and answers calls with it, one after the other.
///
/// It is for libraries whose objects belong to one thread: an interpreter, a graphics context, a database handle that
/// is not `Send`. The state is made on the thread, by `init`, and never leaves it. Where instead each call takes a
/// thread of the blocking pool for itself, that pool is pinned by as many callers as come; here they wait in a queue of
/// [`MAX_CALLS`], and hold nothing else. Where calls can run beside each other, use
/// [`spawn_blocking`](crate::spawn_blocking).
///
/// `init` runs before the first call. A call that panics is told so, and its state is dropped, since nobody knows what
/// it left half done: the next call has a new one, by `init` again. If that panics, the call is told so as well.
///
/// The thread is registered like that of [`spawn`](super::spawn), and inherits the scope of the current task.
/// A scope cannot abort it: it ends when the last [`Server`] is dropped or one is [closed](Server::close), after the
/// calls that wait. A call whose caller has gone before it began is left out.
///
/// # Errors
///
/// Where the system gives no thread.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// let log = lifespan::thread::serve(
///     "journal",
///     || Rc::new(RefCell::new(Vec::new())), // not `Send`, and need not be
///     |lines, line: String| {
///         lines.borrow_mut().push(line);
///         lines.borrow().len()
///     },
/// )?;
/// assert_eq!(log.call("started".to_owned()).await?, 1);
/// assert_eq!(log.call("stopped".to_owned()).await?, 2);
/// # Ok(()) }
/// ```
#[track_caller]
pub fn serve<S, Q, A>(
    kind: impl AsKind,
    init: impl FnMut() -> S + Send + 'static,
    handle: impl FnMut(&mut S, Q) -> A + Send + 'static,
) -> io::Result<Server<Q, A>>
where
    S: 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    let kind = kind.kind_id();
    let (calls, waiting) = mpsc::channel(MAX_CALLS);
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    let code = move || {
        let _ended = guard;
        answer(waiting, init, handle);
    };
    let job = Job::new(code, kind, flag::THREAD | flag::LONG_LIVED, Location::caller());
    job.inherit();
    std::thread::Builder::new()
        .name(kind.name().to_owned())
        .spawn(move || job.run())?;
    Ok(Server {
        shared: Arc::new(Shared {
            kind,
            calls: Mutex::new(Some(calls)),
            ended,
        }),
    })
}

/// A handle of a thread that answers calls: see [`serve`].
///
/// Clones are handles of the same thread, which ends with the last of them. It works from every runtime, and
/// [`call_blocking`](Self::call_blocking) without one.
pub struct Server<Q, A> {
    shared: Arc<Shared<Q, A>>,
}

struct Shared<Q, A> {
    kind: KindId,
    /// Taken by a close. The thread goes on until each clone of it is gone.
    calls: Mutex<Option<mpsc::Sender<Call<Q, A>>>>,
    ended: CancellationToken,
}

struct Call<Q, A> {
    request: Q,
    reply: oneshot::Sender<Result<A, CallError>>,
}

impl<Q, A> Server<Q, A> {
    /// Calls, and waits for room in the queue and then for the reply.
    ///
    /// # Errors
    ///
    /// Where the call panicked, and where the server was closed before it came to it.
    ///
    /// # Cancel safety
    ///
    /// One that is dropped while it waits for room or in the queue is not answered, and its request is dropped. One
    /// that has begun runs to its end, and its reply is dropped.
    pub async fn call(&self, request: Q) -> Result<A, CallError> {
        let (call, reply) = Call::new(request);
        let Some(calls) = self.calls() else {
            return Err(CallError::Closed);
        };
        let sent = calls.send(call).await;
        // Or the thread would not end while this call waits.
        drop(calls);
        sent.map_err(|_| CallError::Closed)?;
        reply.await
    }

    /// Calls, or gives the request back where there is no room for it.
    ///
    /// Dropping the reply is as dropping a [`call`](Self::call).
    ///
    /// # Errors
    ///
    /// Where the queue is full, and where the server is closed; with the request.
    pub fn try_call(&self, request: Q) -> Result<Reply<A>, CallRefused<Q>> {
        let (call, reply) = Call::new(request);
        let Some(calls) = self.calls() else {
            return Err(CallRefused::Closed(call.request));
        };
        match calls.try_send(call) {
            Ok(()) => Ok(reply),
            Err(TrySendError::Full(call)) => Err(CallRefused::Full(call.request)),
            Err(TrySendError::Closed(call)) => Err(CallRefused::Closed(call.request)),
        }
    }

    /// Calls, and blocks this thread until the reply is there.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// On a thread that runs async code, which must not block: as all of tokio's blocking calls do.
    pub fn call_blocking(&self, request: Q) -> Result<A, CallError> {
        let (call, reply) = Call::new(request);
        let Some(calls) = self.calls() else {
            return Err(CallError::Closed);
        };
        let sent = calls.blocking_send(call);
        drop(calls);
        sent.map_err(|_| CallError::Closed)?;
        let reply = reply.0.blocking_recv();
        reply.unwrap_or(Err(CallError::Closed))
    }

    /// Takes no further calls, from no handle. Those that were made are still answered; then the thread ends.
    pub fn close(&self) {
        drop(self.lock().take());
    }

    /// Waits until the thread has dropped its state, and is about to end: after a [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time.
    pub async fn ended(&self) {
        self.shared.ended.cancelled().await;
    }

    fn calls(&self) -> Option<mpsc::Sender<Call<Q, A>>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Call<Q, A>>>> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, A> Call<Q, A> {
    fn new(request: Q) -> (Self, Reply<A>) {
        let (reply, told) = oneshot::channel();
        (Self { request, reply }, Reply(told))
    }
}

impl<Q, A> Clone for Server<Q, A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<Q, A> fmt::Debug for Server<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("kind", &self.shared.kind)
            .field("ended", &self.shared.ended.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// The reply to a call that was made with [`Server::try_call`].
#[derive(Debug)]
#[must_use = "a call whose reply is dropped may be left out"]
pub struct Reply<A>(oneshot::Receiver<Result<A, CallError>>);

impl<A> Future for Reply<A> {
    type Output = Result<A, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Dropped unanswered: the thread has ended.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|reply| reply.unwrap_or(Err(CallError::Closed)))
    }
}

/// Why a call has no reply.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// It panicked, or the making of its state did, with this message.
    Panicked(String),
    /// The server was closed before the call was made.
    Closed,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "the call panicked: {message}"),
            Self::Closed => f.write_str("the server is closed"),
        }
    }
}

impl std::error::Error for CallError {}

/// Why a call was not taken, with its request.
#[derive(Clone, Copy, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallRefused<Q> {
    /// [`MAX_CALLS`] calls wait already: try later, or wait with [`Server::call`].
    Full(Q),
    /// The server is closed.
    Closed(Q),
}

impl<Q> fmt::Debug for CallRefused<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<Q> fmt::Display for CallRefused<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full(_) => "too many calls wait",
            Self::Closed(_) => "the server is closed",
        })
    }
}

impl<Q> std::error::Error for CallRefused<Q> {}

/// The thread's loop, until no handle is left.
fn answer<S, Q, A>(
    mut waiting: mpsc::Receiver<Call<Q, A>>,
    mut init: impl FnMut() -> S,
    mut handle: impl FnMut(&mut S, Q) -> A,
) {
    let mut state = None;
    while let Some(Call { request, reply }) = waiting.blocking_recv() {
        if reply.is_closed() {
            panic::contain(|| drop(request));
            continue;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| {
            handle(state.get_or_insert_with(&mut init), request)
        }));
        let answer = answered.map_err(|payload| {
            let torn = state.take();
            panic::contain(|| drop(torn));
            CallError::Panicked(told(payload))
        });
        // Wakes the caller, or drops a reply that nobody waits for.
        panic::contain(|| drop(reply.send(answer)));
    }
    panic::contain(|| drop(state));
}

fn told(payload: Box<dyn Any + Send>) -> String {
    let message = panic::told(&*payload).message;
    panic::contain(|| drop(payload));
    message
}
