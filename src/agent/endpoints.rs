//! The endpoints of an agent: which settings count, and the listener.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Connections;
use crate::background::Job;
use crate::config::{self, Environment};
use crate::error::Error;
use crate::readiness::Readiness;
use crate::server::{self, Access, Counts, Limits, Settings};

/// What the builder was told of the endpoints.
#[derive(Debug)]
pub(super) struct Requested {
    pub(super) unwanted: bool,
    pub(super) listen: Option<SocketAddr>,
    pub(super) token: Option<String>,
    pub(super) hosts: Vec<String>,
    pub(super) metrics_kinds: usize,
    pub(super) command_line: bool,
    pub(super) limits: Limits,
}

impl Default for Requested {
    fn default() -> Self {
        Self {
            unwanted: false,
            listen: None,
            token: None,
            hosts: Vec::new(),
            metrics_kinds: config::DEFAULT_METRICS_KINDS,
            command_line: false,
            limits: Limits {
                connections: server::DEFAULT_MAX_CONNECTIONS,
                header: server::DEFAULT_HEADER_TIMEOUT,
                idle: server::IDLE_TIMEOUT,
            },
        }
    }
}

impl Requested {
    /// Where to listen and who may ask: the builder's word before the environment's, that before the defaults.
    fn resolve(&self, environment: Environment) -> Result<(SocketAddr, Access), Error> {
        let address = match self.listen {
            Some(address) => address,
            None => environment.listen.transpose()?.unwrap_or(config::DEFAULT_LISTEN),
        };
        let mut access = Access::new();
        let token = match &self.token {
            Some(token) => Some(token.clone()),
            None => environment.token.transpose()?,
        };
        if let Some(token) = token {
            access = access.token(token)?;
        }
        for name in self
            .hosts
            .iter()
            .chain(&environment.allowed_hosts.transpose()?.unwrap_or_default())
        {
            access = access.allow_host(name)?;
        }
        if !address.ip().to_canonical().is_loopback() && !access.has_token() {
            return Err(Error::open_without_token(address));
        }
        Ok((address, access))
    }
}

/// Endpoints that have their port.
#[derive(Debug)]
pub(super) struct Endpoints {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Endpoints {
    /// Takes the port, so that the caller learns at once where it is, or why there is none; and makes the loop that
    /// serves it.
    pub(super) fn open(
        requested: &Requested,
        environment: Environment,
        readiness: &Readiness,
    ) -> Result<(Self, Job), Error> {
        if requested.unwanted {
            return Err(Error::absent("the agent was started without its server"));
        }
        let (address, access) = requested.resolve(environment)?;
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| Error::listen(address, error))?;
        let settings = Settings::new()
            .access(access)
            .metrics_kinds(requested.metrics_kinds)
            .connections(requested.limits.connections)
            .show_command_line(requested.command_line)
            .readiness(readiness.clone());
        let counts = Arc::new(Counts::default());
        let endpoints = Self {
            address: listener.local_addr().unwrap_or(address),
            counts: Arc::clone(&counts),
        };
        Ok((endpoints, serving(listener, &settings, requested.limits, counts)))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn connections(&self) -> Connections {
        Connections {
            accepted: self.counts.accepted.load(Relaxed),
            evicted: self.counts.evicted.load(Relaxed),
            refused: self.counts.refused.load(Relaxed),
            accept_errors: self.counts.accept_errors.load(Relaxed),
            panicked: self.counts.panicked.load(Relaxed),
        }
    }
}

/// The loop owns the port, which is free again when the agent has stopped. Each run has a handle of its own to it,
/// so that a panic does not lose it.
fn serving(listener: TcpListener, settings: &Settings, limits: Limits, counts: Arc<Counts>) -> Job {
    let app = server::app(settings);
    Box::new(move |stop| {
        let (listener, app, counts) = (listener.try_clone(), app.clone(), Arc::clone(&counts));
        Box::pin(async move {
            match listener.and_then(tokio::net::TcpListener::from_std) {
                Ok(listener) => server::serve(listener, app, limits, counts, stop).await,
                Err(error) => tracing::warn!(%error, "lifespan: the endpoints are off"),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(listen: &str, token: &str) -> Environment {
        Environment::from_lookup(|name| match name {
            "LIFESPAN_LISTEN" => Some(listen.into()),
            "LIFESPAN_TOKEN" => Some(token.into()),
            "LIFESPAN_ALLOWED_HOSTS" => Some("pod-1".into()),
            _ => None,
        })
    }

    #[test]
    fn the_builder_comes_before_the_environment_and_that_before_the_defaults() {
        let asked = Requested::default();
        let (address, access) = asked.resolve(Environment::default()).unwrap();
        assert_eq!((address, access.has_token()), (config::DEFAULT_LISTEN, false));
        let (address, access) = asked.resolve(environment("0.0.0.0:1", "s3cret")).unwrap();
        assert_eq!((address, access.has_token()), (([0, 0, 0, 0], 1).into(), true));
        let asked = Requested {
            listen: Some(([127, 0, 0, 1], 2).into()),
            token: Some("other".to_owned()),
            ..Requested::default()
        };
        // What the builder says makes the environment's mistakes no matter.
        let (address, access) = asked.resolve(environment("nonsense", "\u{e9}")).unwrap();
        assert_eq!((address, access.has_token()), (([127, 0, 0, 1], 2).into(), true));
    }

    #[test]
    fn what_the_environment_gets_wrong_is_said() {
        let asked = Requested::default();
        let error = asked.resolve(environment("nonsense", "")).unwrap_err();
        assert!(error.is_setting() && error.to_string().contains("LIFESPAN_LISTEN"));
        let error = asked.resolve(environment("", "two words")).unwrap_err();
        assert!(error.is_setting() && error.to_string().contains("LIFESPAN_TOKEN"));
        let error = asked.resolve(environment("[::]:0", "")).unwrap_err();
        assert!(error.is_open_without_token());
    }
}
