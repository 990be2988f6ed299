//! The end of the process: told by a signal, in order, and within a time.
//!
//! [`run`] runs a service in the [root scope](crate::Scope::root) until it ends or is told to, and then ends all that is
//! in that scope:
//!
//! 1. **Initiated**, by SIGTERM or SIGINT, by [`initiate`], or since the service's future has ended. `/readyz` says 503
//!    from here on, and `phase` is [`Phase::Unready`].
//! 2. After the [readiness delay](Settings::readiness_delay), in which the service works on while load balancers take
//!    notice, it **drains**: [`requested`] resolves, and the scopes in the root scope are closed, the last made first, those
//!    of one name together. Each gets an equal share of what is left of the [grace](Settings::grace); what it does not
//!    need is for those after it. What does not end in its share is aborted. The root scope itself, with the service's own
//!    future and all that was made meanwhile, is closed last.
//! 3. **Complete.** The [`Report`] names each task that was late, and the exit code is not 0 where one is still alive.
//!
//! # What is kept whatever the runtime does
//!
//! Signals are heard, and the [deadline](Settings::deadline) is kept, by a thread of ours that runs nothing else. So a
//! runtime of which every worker is blocked ends in time as well:
//!
//! * When the deadline is over, counted from the initiation, the process ends by `_exit`: no destructor runs, no buffer
//!   is flushed. The last second of it (a quarter, where it is shorter than four) is for naming the survivors on
//!   standard error and in [events](crate::event): kind, name, id, age and spawn site of each tracked task, those first
//!   that run. Without recording there are no names.
//! * A second signal ends the process at once, with the code that a shell shows for that signal: 143 for SIGTERM, 130 for
//!   SIGINT. Survivors are named as far as 30 ms allow. A first signal in a shutdown that was initiated otherwise does
//!   nothing more.
//!
//! The deadline holds **until the process has ended**, and not only until [`run`] returns: dropping a runtime waits
//! for its blocking jobs, for ever if need be, and nothing can abort these. A process that lives on after [`run`] is ended
//! as well.
//!
//! # Handlers
//!
//! Nothing is installed before [`run`] is called. It adds to the handlers that the process has: one that was there before,
//! and `tokio::signal`'s whenever, are called as well. One that is installed later without `signal-hook-registry` replaces
//! ours. Nothing is taken back. A forked child that inherits the handler is not stopped by it, nor is its parent.
//!
//! Elsewhere than on unix no signal is heard: Ctrl-C ends the process as it does without us. [`initiate`], the drain and
//! the deadline work there too.
//!
//! Against `tokio_graceful_shutdown` and `tokio::signal`: those hear signals on the runtime, wait for futures without
//! names, and leave a process alone whose runtime is blocked.
//!
//! # Examples
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     lifespan::run(|root| async move {
//!         let database = root.child("database"); // made first, closed last
//!         database.spawn("pool", |cx| async move { cx.cancelled().await });
//!
//!         let http = root.child("http");
//!         let server = http.spawn("server", |cx| async move { cx.cancelled().await });
//!         let _ = server.await;
//!     })
//!     .await
//! }
//! ```

mod bell;
mod course;
mod drain;
mod last_words;
mod report;
mod settings;
mod system;
mod watchdog;

use std::process::{ExitCode, Termination};

use crate::scope::Scope;

pub use course::{Phase, initiate, phase, reason, requested};
pub use report::{Finished, Report};
pub use settings::{DEFAULT_DEADLINE, DEFAULT_EXIT_CODE, DEFAULT_GRACE, Settings};

/// Runs a service until it ends or is told to, and then ends all that is in the root scope: see the [module](self).
///
/// The service's future is a task of kind `main` in the root scope, so that whatever it spawns through lifespan is in that
/// scope as well. The exit code is that of what it returned, as `main` makes one of it: an `Err` is printed, and is 1.
/// Where tasks are still alive, they are named on standard error, and it is [`DEFAULT_EXIT_CODE`]. With [`Settings::run`] the report is at
/// hand.
///
/// Call it once a process: the root scope is closed when it returns, and a later call finds it so.
///
/// # Panics
///
/// Outside of a tokio runtime with timers. Where the service's future panicked, the panic goes on after the drain.
///
/// # Cancel safety
///
/// None: where it is dropped, the service runs on, and a signal ends the process only at the deadline.
pub async fn run<F, Fut>(service: F) -> ExitCode
where
    F: FnOnce(Scope) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Termination + Send + 'static,
{
    Settings::new().run(service).await.report()
}
