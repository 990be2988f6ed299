//! What tells the process to end.

pub(super) use imp::Signals;

#[cfg(unix)]
mod imp {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// SIGTERM and SIGINT, which no longer end the process by themselves.
    #[derive(Debug)]
    pub(in crate::demo) struct Signals {
        terminate: Signal,
        interrupt: Signal,
    }

    impl Signals {
        pub(in crate::demo) fn listen() -> io::Result<Self> {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }

        /// Waits for the next one and names it.
        pub(in crate::demo) async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            }
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io;

    /// Ctrl-C.
    #[derive(Debug)]
    pub(in crate::demo) struct Signals;

    impl Signals {
        #[expect(clippy::unnecessary_wraps, reason = "as on unix, where it can fail")]
        pub(in crate::demo) fn listen() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for the next one and names it.
        #[expect(clippy::needless_pass_by_ref_mut, reason = "as on unix")]
        pub(in crate::demo) async fn next(&mut self) -> &'static str {
            match tokio::signal::ctrl_c().await {
                Ok(()) => "Ctrl-C",
                Err(_) => std::future::pending().await,
            }
        }
    }
}
