//! What can go wrong with the agent, as one opaque error.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a part of the agent is off.
///
/// It is a cheap clone, since it is kept as a value: see [`Status`](crate::agent::Status). What the caller can do
/// about it is asked with the `is_…` methods; the message is a fragment that fits after "failed to …: ", and the
/// cause, if there is one, is its [`source`](StdError::source).
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A setting is not valid: correct it, in the code or in the environment.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        matches!(self.kind, ErrorKind::Setting { .. })
    }

    /// The address is reachable from other machines, and there is no token: set one, or listen on loopback.
    #[must_use]
    pub fn is_open_without_token(&self) -> bool {
        matches!(self.kind, ErrorKind::OpenWithoutToken { .. })
    }

    /// The address cannot be listened on; [`source`](StdError::source) is the system's [`std::io::Error`].
    #[must_use]
    pub fn is_listen(&self) -> bool {
        matches!(self.kind, ErrorKind::Listen { .. })
    }

    /// The part was not asked for, or the crate was built without it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, ErrorKind::Absent(_))
    }

    /// The system gave the agent no thread, or no timer or poller for it.
    #[must_use]
    pub fn is_thread(&self) -> bool {
        matches!(self.kind, ErrorKind::Thread)
    }

    /// The agent did not stop in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ErrorKind::Timeout)
    }

    /// A setting of that name has a value that is not allowed, and why.
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "only the endpoints fail so")
    )]
    pub(crate) fn setting(name: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::new(ErrorKind::Setting { name, problem })
    }

    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "only the endpoints fail so")
    )]
    pub(crate) fn open_without_token(address: SocketAddr) -> Self {
        Self::new(ErrorKind::OpenWithoutToken { address })
    }

    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "only the endpoints fail so")
    )]
    pub(crate) fn listen(address: SocketAddr, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Listen { address }).caused_by(source)
    }

    pub(crate) fn absent(why: &'static str) -> Self {
        Self::new(ErrorKind::Absent(why))
    }

    pub(crate) fn thread(source: std::io::Error) -> Self {
        Self::new(ErrorKind::Thread).caused_by(source)
    }

    pub(crate) fn timeout() -> Self {
        Self::new(ErrorKind::Timeout)
    }

    fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Setting { name, problem } => write!(f, "invalid {name}: {problem}"),
            ErrorKind::OpenWithoutToken { address } => write!(
                f,
                "refused to listen on {address} without a token: set LIFESPAN_TOKEN, or listen on 127.0.0.1"
            ),
            ErrorKind::Listen { address } => write!(f, "cannot listen on {address}"),
            ErrorKind::Absent(why) => f.write_str(why),
            ErrorKind::Thread => f.write_str("the system gave no thread for the agent"),
            ErrorKind::Timeout => f.write_str("the agent did not stop in time"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("Error");
        debug.field(&format_args!("{self}"));
        if let Some(source) = &self.source {
            debug.field(source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[derive(Clone, Debug)]
enum ErrorKind {
    Setting { name: &'static str, problem: String },
    OpenWithoutToken { address: SocketAddr },
    Listen { address: SocketAddr },
    Absent(&'static str),
    Thread,
    Timeout,
}
