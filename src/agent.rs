//! The agent: a thread of its own, on which the recording is read and answered from.
//!
//! Tasks are recorded whether or not there is an agent. It adds what needs someone to look: the sweep, the last
//! exits, the leak rules, and the HTTP endpoints.
//!
//! # It fails open
//!
//! A setting that is not valid, a port that is taken, a missing privilege: the host runs on, the part in question is
//! off, and the agent says why, once in the log and as a value in its [`Status`]. Only a [strict](Builder::strict)
//! agent makes an error of it.
//!
//! # Settings
//!
//! What the [`Builder`] was told comes before the environment, and that before the defaults.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `LIFESPAN_LISTEN` | address and port of the endpoints | `127.0.0.1:9464` |
//! | `LIFESPAN_TOKEN` | the token that they ask for | none |
//! | `LIFESPAN_ALLOWED_HOSTS` | names of this host, between commas; they add to the builder's | none |
//! | `LIFESPAN_DISABLED` | `1` records nothing | recording is on |
//! | `LIFESPAN_DUMP_SIGNAL` | `SIGUSR1`, `SIGUSR2` or `SIGQUIT`: the agent writes a dump of all tasks | none |
//! | `LIFESPAN_DUMP_REQUEST` | a path: it writes one when a file appears there | none |
//! | `LIFESPAN_DUMP_PANIC` | `1`: it writes one when a task has panicked | none |
//! | `LIFESPAN_DUMP_FILE` | where it writes them | standard error |
//!
//! An address that other machines can reach is refused without a token.

#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::background::Background;
use crate::background::Job;
use crate::config;
#[cfg(feature = "profile")]
use crate::config::DumpEnvironment;
#[cfg(feature = "server")]
use crate::config::Environment;
use crate::error::Error;
use crate::leak;
#[cfg(feature = "profile")]
use crate::profile::{lost, tools};
use crate::registry;

#[cfg(feature = "profile")]
mod dumps;
#[cfg(feature = "server")]
mod endpoints;

#[cfg(feature = "server")]
use endpoints::{Endpoints, Requested};

pub use crate::background::STOP_LIMIT;
#[cfg(feature = "profile")]
pub use crate::config::DumpSignal;
pub use crate::config::{DEFAULT_LISTEN, DEFAULT_METRICS_KINDS, MAX_TOKEN_BYTES};
pub use crate::readiness::{Hold, Readiness};
pub use crate::registry::DEFAULT_EXITS;
#[cfg(feature = "profile")]
pub use dumps::{Dumps, MAX_DUMP_BYTES, MAX_STDERR_BYTES};

/// How many exits can be kept at most.
pub const MAX_EXITS: usize = 100_000;

/// A running agent. Dropping it stops it.
///
/// A process needs one. A second has a thread and endpoints of its own, for which it needs another port, and shows
/// the same tasks, since there is one registry; the sweep is done once for both.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), lifespan::Error> {
/// let agent = lifespan::Agent::builder("orders").start()?;
/// # drop(agent); Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the agent stops when it is dropped"]
pub struct Agent {
    service: String,
    readiness: Readiness,
    background: Result<Background, Error>,
    #[cfg(feature = "server")]
    endpoints: Result<Endpoints, Error>,
    #[cfg(feature = "profile")]
    dumps: Result<(), Error>,
}

impl Agent {
    /// An agent for the service of that name, with nothing more said of it yet.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder {
            service: service.into(),
            exits: None,
            young: None,
            watched: Vec::new(),
            readiness: Readiness::new(),
            strict: false,
            #[cfg(feature = "server")]
            requested: Requested::default(),
            #[cfg(feature = "profile")]
            dumps: Dumps::new(),
        }
    }

    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// What runs, and what does not and why.
    #[must_use]
    pub fn status(&self) -> Status {
        let recording = match config::recording() {
            config::OFF => Part::Off(Error::absent("LIFESPAN_DISABLED=1 switches the recording off")),
            _ => Part::On,
        };
        let part = |error: Option<&Error>| error.cloned().map_or(Part::On, Part::Off);
        #[cfg(feature = "server")]
        let server = part(self.endpoints.as_ref().err());
        #[cfg(not(feature = "server"))]
        let server = part(Some(&Error::absent("built without the feature `server`")));
        #[cfg(feature = "server")]
        let connections = self.endpoints.as_ref().map(Endpoints::connections);
        Status {
            recording,
            thread: part(self.background.as_ref().err()),
            server,
            #[cfg(feature = "profile")]
            dumps: part(self.dumps.as_ref().err()),
            panics: self
                .background
                .as_ref()
                .map(Background::panics)
                .unwrap_or_default(),
            #[cfg(feature = "server")]
            connections: connections.unwrap_or_default(),
        }
    }

    /// Where the endpoints listen; `None` where they are off, for which [`status`](Self::status) has the reason.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoints.as_ref().ok().map(Endpoints::address)
    }

    /// What `/readyz` answers from.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Stops the agent: takes in the last exits, and lets answers that are under way end, for a second.
    ///
    /// Blocks the calling thread until then, mostly for a few milliseconds, and never longer than `timeout`.
    /// Dropping the agent does the same within [`STOP_LIMIT`]. A second call has nothing left to do.
    ///
    /// # Errors
    ///
    /// Where it has not stopped in time: see [`Error::is_timeout`]. It still will, as soon as it can.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), Error> {
        self.background
            .as_ref()
            .map_or(Ok(()), |background| background.stop(timeout))
    }
}

/// What an agent is to do; made by [`Agent::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    service: String,
    exits: Option<usize>,
    young: Option<Duration>,
    watched: Vec<Handle>,
    readiness: Readiness,
    strict: bool,
    #[cfg(feature = "server")]
    requested: Requested,
    #[cfg(feature = "profile")]
    dumps: Dumps,
}

impl Builder {
    /// Where the endpoints listen. By default, on `LIFESPAN_LISTEN`, else on 127.0.0.1:9464; port 0 takes a free one.
    #[cfg(feature = "server")]
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.requested.listen = Some(address.into());
        self
    }

    /// Serves no endpoints: for a host that mounts [`server::router`](crate::server::router) in its own app. By
    /// default, they are served.
    #[cfg(feature = "server")]
    pub fn without_server(mut self) -> Self {
        self.requested.unwanted = true;
        self
    }

    /// The token that the endpoints ask for, 1 to 512 visible ASCII characters. By default, that of
    /// `LIFESPAN_TOKEN`, else none.
    #[cfg(feature = "server")]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.requested.token = Some(token.into());
        self
    }

    /// Allows requests that name this host so. By default, those that give `localhost`, an IP address or a name in
    /// `LIFESPAN_ALLOWED_HOSTS`.
    #[cfg(feature = "server")]
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.requested.hosts.push(name.into());
        self
    }

    /// How many kinds `/metrics` shows; the others are summed as `other`. By default,
    /// [`DEFAULT_METRICS_KINDS`].
    #[cfg(feature = "server")]
    pub fn metrics_kinds(mut self, kinds: usize) -> Self {
        self.requested.metrics_kinds = kinds;
        self
    }

    /// How many connections the endpoints keep open, 1 to 1,024. By default,
    /// [`DEFAULT_MAX_CONNECTIONS`](crate::server::DEFAULT_MAX_CONNECTIONS).
    #[cfg(feature = "server")]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.requested.limits.connections = connections.clamp(1, 1_024);
        self
    }

    /// How long the head of a request may take, 1 ms to 1 min. By default,
    /// [`DEFAULT_HEADER_TIMEOUT`](crate::server::DEFAULT_HEADER_TIMEOUT).
    #[cfg(feature = "server")]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.requested.limits.header = timeout.clamp(Duration::from_millis(1), Duration::from_secs(60));
        self
    }

    /// Whether `/debug/pprof/cmdline` shows the command line, which can hold secrets. By default, it does not.
    #[cfg(feature = "server")]
    pub fn show_command_line(mut self, shown: bool) -> Self {
        self.requested.command_line = shown;
        self
    }

    /// When to write a dump of all tasks unasked, for when nobody can ask over HTTP any more. By default, when the
    /// environment says so: see [the settings](self).
    #[cfg(feature = "profile")]
    pub fn dumps(mut self, dumps: Dumps) -> Self {
        self.dumps = dumps;
        self
    }

    /// How many of the last exits the process keeps, at most [`MAX_EXITS`]. By default, [`DEFAULT_EXITS`].
    pub fn exits(mut self, exits: usize) -> Self {
        self.exits = Some(exits.min(MAX_EXITS));
        self
    }

    /// The age below which no rule of [`leak`] looks at a task, for the whole process; all its other times are
    /// multiples of it. At least a millisecond. By default, [`DEFAULT_YOUNG`](registry::DEFAULT_YOUNG).
    pub fn young(mut self, young: Duration) -> Self {
        self.young = Some(young);
        self
    }

    /// Watches a runtime for tasks that are not tracked, beside the one that the agent is started in. By default,
    /// that one alone. See [`registry::watch`].
    pub fn watch(mut self, runtime: &Handle) -> Self {
        self.watched.push(runtime.clone());
        self
    }

    /// What `/readyz` answers from. By default, a readiness of its own: see [`Agent::readiness`].
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Makes an error of whatever keeps a part from running, for a process that is no use without it. By default,
    /// the agent fails open.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Starts the agent. It can be called from anywhere, in a runtime or not.
    ///
    /// Takes about a millisecond: it binds its port and starts its thread.
    ///
    /// # Errors
    ///
    /// None, unless the agent is [strict](Self::strict): it fails open, and [`Agent::status`] says what is off. A
    /// strict one returns the first error that keeps a part that was asked for from running.
    pub fn start(self) -> Result<Agent, Error> {
        let strict = self.strict;
        let agent = self.start_open();
        let status = agent.status();
        let parts = [
            ("thread", &status.thread),
            ("server", &status.server),
            #[cfg(feature = "profile")]
            ("dumps", &status.dumps),
        ];
        for (part, state) in parts {
            let Part::Off(error) = state else { continue };
            if error.is_absent() {
                continue;
            }
            if strict {
                return Err(error.clone());
            }
            let cause = std::error::Error::source(error).map(tracing::field::display);
            tracing::warn!(part, %error, cause, "lifespan: a part of the agent is off; the service runs on");
        }
        #[cfg(feature = "server")]
        if let Some(address) = agent.address() {
            tracing::info!(service = agent.service, %address, "lifespan: listening");
        }
        Ok(agent)
    }

    fn start_open(self) -> Agent {
        if let Some(exits) = self.exits {
            registry::set_capacity(exits);
        }
        for runtime in self.watched.iter().chain(&Handle::try_current().ok()) {
            registry::watch(runtime);
        }
        if let Some(young) = self.young {
            registry::set_young(young);
        }
        #[cfg_attr(
            not(feature = "server"),
            expect(unused_mut, reason = "the server is one more")
        )]
        let mut jobs: Vec<(_, Job)> = vec![("leaks", leak::job())];
        #[cfg(feature = "server")]
        let endpoints = Endpoints::open(&self.requested, Environment::of_process(), &self.readiness).map(
            |(endpoints, job)| {
                jobs.push(("server", job));
                endpoints
            },
        );
        #[cfg(feature = "profile")]
        {
            jobs.push(("lost wakeups", Box::new(|stop| Box::pin(lost::watch(stop)))));
            jobs.push(("stacks", Box::new(|stop| Box::pin(tools::rest(stop)))));
        }
        #[cfg(feature = "profile")]
        let dumps =
            dumps::watching(&self.dumps, DumpEnvironment::of_process()).map(|job| jobs.push(("dumps", job)));
        let background = Background::start(jobs);
        Agent {
            service: self.service,
            readiness: self.readiness,
            #[cfg(feature = "server")]
            endpoints: match &background {
                Ok(_) => endpoints,
                // Without a thread nobody answers.
                Err(error) => endpoints.and_then(|_| Err(error.clone())),
            },
            #[cfg(feature = "profile")]
            dumps: match &background {
                Ok(_) => dumps,
                Err(error) => dumps.and_then(|()| Err(error.clone())),
            },
            background,
        }
    }
}

/// What of an agent runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Whether tasks are recorded.
    pub recording: Part,
    /// The agent's thread: without it there are no sweeps, no exits and no endpoints.
    pub thread: Part,
    /// The endpoints.
    pub server: Part,
    /// The dumps that are written unasked; off unless something is to make the agent write them.
    #[cfg(feature = "profile")]
    pub dumps: Part,
    /// How often a part of the agent panicked, and was started anew.
    pub panics: u64,
    /// What became of connections to the endpoints.
    #[cfg(feature = "server")]
    pub connections: Connections,
}

/// Whether a part runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part {
    /// It does.
    On,
    /// It does not, for that reason.
    Off(Error),
}

impl Part {
    /// Whether it runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On)
    }

    /// Why it does not run; `None` where it does.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::On => None,
            Self::Off(error) => Some(error),
        }
    }
}

/// Connections to the endpoints, since the agent started.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Connections {
    /// All that were accepted.
    pub accepted: u64,
    /// Those that were closed while they rested, to make room for others.
    pub evicted: u64,
    /// Those that were closed at once, since all others were being answered.
    pub refused: u64,
    /// How often the system gave none, for want of file descriptors as a rule.
    pub accept_errors: u64,
    /// Those that ended in a panic of the agent's.
    pub panicked: u64,
}
