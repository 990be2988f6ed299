//! What a task died of.
//!
//! The message is in the panic's payload. Where it happened is told to the process's panic hook alone; the
//! agent chains one of ours to the host's (see [`watch`]), which notes the place for the thread.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use super::exit::Panic;
use super::{local, text};

/// The longest message kept, in bytes.
const MOST: usize = 1_024;
/// The longest text of frames kept, in bytes.
const MOST_FRAMES: usize = 16 * 1_024;

thread_local! {
    /// Where the last panic of this thread happened, inside of a tracked task.
    static LOCATION: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Where a panic happened.
struct Place {
    location: String,
    backtrace: Option<String>,
}

/// Chains a hook to the host's that notes where tasks panic. Once a process; it stays.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    // Hooks cannot be set then.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let host = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(info);
            host(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    if local::current_record().is_null() {
        return;
    }
    if let Some(location) = info.location() {
        let noted = Place {
            location: text::clean(&location.to_string(), MOST).into_owned(),
            backtrace: local::scope()
                .is_some_and(|scope| scope.wants_backtrace())
                .then(|| text::clean_lines(&Backtrace::force_capture().to_string(), MOST_FRAMES)),
        };
        // The thread may be in its last breath, or panic again while it notes: then there is no place.
        let _ = LOCATION.try_with(|place| {
            if let Ok(mut place) = place.try_borrow_mut() {
                *place = Some(noted);
            }
        });
    }
}

/// What is told of a panic.
pub(crate) fn told(payload: &(dyn Any + Send)) -> Panic {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = LOCATION.try_with(|place| place.try_borrow_mut().ok().and_then(|mut place| place.take()));
    let (location, backtrace) = place
        .ok()
        .flatten()
        .map_or((None, None), |place| (Some(place.location), place.backtrace));
    Panic {
        message: text::clean_lines(message.unwrap_or("(a panic without a message)"), MOST),
        location,
        backtrace,
    }
}

/// Runs code of the host whose panic must go no further.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // Its own drop may panic as well, and so on: it is leaked.
        #[expect(
            clippy::mem_forget,
            reason = "a payload whose drop panics must not be dropped"
        )]
        std::mem::forget(payload);
    }
}
