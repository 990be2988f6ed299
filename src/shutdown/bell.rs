//! What wakes our thread: a byte, which a signal handler can send.

use std::io;
use std::time::Duration;

/// Rung where the shutdown was initiated otherwise than by a signal; any other number is a signal's.
pub(super) const INITIATED: u8 = 0;

/// The longest that a wait is: a longer one is several.
const MOST: Duration = Duration::from_secs(60 * 60);
/// A wait of no time would be one for ever.
const LEAST: Duration = Duration::from_millis(1);

/// The end that listens. There is one a process.
pub(super) struct Bell(imp::Bell);

impl Bell {
    /// Hangs the bell up; `None` where it hangs already.
    pub(super) fn hang() -> io::Result<Option<Self>> {
        Ok(imp::hang()?.map(Self))
    }

    /// Waits until it rings, at most so long. It may return early, and without a ring.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Option<u8> {
        imp::wait(&self.0, limit.unwrap_or(MOST).clamp(LEAST, MOST))
    }
}

/// Rings the bell, where there is one. Never blocks, takes no lock and no memory: for signal handlers as well.
pub(super) fn ring(what: u8) {
    imp::ring(what);
}

#[cfg(unix)]
mod imp {
    use std::io::{self, ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::OnceLock;
    use std::time::Duration;

    pub(super) type Bell = UnixStream;

    static CORD: OnceLock<UnixStream> = OnceLock::new();

    pub(super) fn hang() -> io::Result<Option<Bell>> {
        let (cord, bell) = UnixStream::pair()?;
        // A full socket has rung already.
        cord.set_nonblocking(true)?;
        Ok(CORD.set(cord).is_ok().then_some(bell))
    }

    pub(super) fn wait(mut bell: &Bell, limit: Duration) -> Option<u8> {
        let mut rung = [0];
        let read = bell
            .set_read_timeout(Some(limit))
            .and_then(|()| bell.read(&mut rung));
        match read {
            Ok(1) => Some(rung[0]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                None
            }
            // The host has closed what is not its own: signals are lost, and deadlines are kept.
            _ => {
                std::thread::sleep(limit.min(Duration::from_millis(100)));
                None
            }
        }
    }

    pub(super) fn ring(what: u8) {
        if let Some(mut cord) = CORD.get() {
            let _ = cord.write(&[what]);
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    pub(super) type Bell = Receiver<u8>;

    static CORD: OnceLock<SyncSender<u8>> = OnceLock::new();

    #[expect(clippy::unnecessary_wraps, reason = "as on unix, where it can fail")]
    pub(super) fn hang() -> io::Result<Option<Bell>> {
        let (cord, bell) = sync_channel(1);
        Ok(CORD.set(cord).is_ok().then_some(bell))
    }

    pub(super) fn wait(bell: &Bell, limit: Duration) -> Option<u8> {
        bell.recv_timeout(limit).ok()
    }

    pub(super) fn ring(what: u8) {
        if let Some(cord) = CORD.get() {
            let _ = cord.try_send(what);
        }
    }
}
