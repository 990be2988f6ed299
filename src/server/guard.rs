//! Who may ask: the decision, and the layer that stands before every route.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Settings;
use super::refusal::{Refusal, shown};
use super::token::Token;
use crate::clock;
use crate::config::{self, Environment};
use crate::error::Error;

/// Who may ask the endpoints.
#[derive(Clone, Debug, Default)]
pub struct Access {
    token: Option<Token>,
    hosts: Vec<String>,
}

impl Access {
    /// No token, and no name of a host but `localhost`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What `LIFESPAN_TOKEN` and `LIFESPAN_ALLOWED_HOSTS` say, for a router in an app of your own. The agent's own
    /// server reads them without being told.
    ///
    /// # Errors
    ///
    /// Where one of them is not valid: see [`Error::is_setting`].
    pub fn from_env() -> Result<Self, Error> {
        let environment = Environment::of_process();
        let mut access = Self::new();
        if let Some(token) = environment.token.transpose()? {
            access = access.token(token)?;
        }
        access.hosts = environment.allowed_hosts.transpose()?.unwrap_or_default();
        Ok(access)
    }

    /// Asks for a token. By default, there is none.
    ///
    /// It has 1 to 512 visible ASCII characters; take at least 22 random ones (128 bits).
    ///
    /// # Errors
    ///
    /// Where it is not such a text: see [`Error::is_setting`].
    pub fn token(mut self, token: impl Into<String>) -> Result<Self, Error> {
        let token = config::parse_token("token", token.into())?;
        self.token = Token::new(&token);
        Ok(self)
    }

    /// Allows requests that name the host so, beside `localhost` and any IP address. By default, there are none.
    ///
    /// # Errors
    ///
    /// Where it is not the name of a host (without a scheme, a port or a wildcard): see [`Error::is_setting`].
    pub fn allow_host(mut self, name: impl AsRef<str>) -> Result<Self, Error> {
        self.hosts.push(config::parse_host(name.as_ref())?);
        Ok(self)
    }

    /// Whether it asks for a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Decides on a request from its head alone.
    fn decide(&self, asked: &Asked<'_>) -> Result<(), Denial> {
        let mut named = asked.headers.get_all(HOST).iter();
        let host = named.next();
        if named.next().is_some() {
            return Err(Denial::NoHost);
        }
        // Clients of HTTP/1.0 need not say it, and no browser is one.
        if host.is_none() && asked.uri.authority().is_none() && asked.version > Version::HTTP_10 {
            return Err(Denial::NoHost);
        }
        let header = host.is_none_or(|host| self.allows(authority(host)));
        let uri = asked
            .uri
            .authority()
            .is_none_or(|host| self.allows(Some(host.clone())));
        if !header || !uri {
            return Err(Denial::Host);
        }
        let mut origins = asked.headers.get_all(ORIGIN).iter();
        if !origins.all(|origin| self.allows(origin_authority(origin))) {
            return Err(Denial::Origin);
        }
        if let Some(token) = &self.token
            && !NEED_NO_TOKEN.contains(&asked.uri.path())
        {
            let mut headers = asked.headers.get_all(AUTHORIZATION).iter();
            let (Some(header), None) = (headers.next(), headers.next()) else {
                return Err(Denial::Token);
            };
            if !token.is_in(header) {
                return Err(Denial::Token);
            }
        }
        if asked.method != Method::GET && asked.method != Method::HEAD {
            return Err(Denial::Method);
        }
        Ok(())
    }

    fn allows(&self, authority: Option<Authority>) -> bool {
        let Some(authority) = authority.filter(|authority| !authority.as_str().contains('@')) else {
            return false;
        };
        let host = authority.host();
        if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return literal.parse::<Ipv6Addr>().is_ok();
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        name.parse::<std::net::Ipv4Addr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Denial {
    NoHost,
    Host,
    Origin,
    Token,
    Method,
}

impl Denial {
    fn refusal(self, asked: &Asked<'_>) -> Refusal {
        let said = |name| {
            let value = asked.headers.get(name).map(HeaderValue::as_bytes);
            shown(&String::from_utf8_lossy(value.unwrap_or_default()))
        };
        match self {
            Self::NoHost => Refusal::bad_request("a request needs one host header"),
            Self::Host => Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "the host `{}` is not allowed: use an ip address or localhost, or add the name to \
                     LIFESPAN_ALLOWED_HOSTS",
                    said(HOST)
                ),
            ),
            Self::Origin => Refusal::new(
                StatusCode::FORBIDDEN,
                format!("pages of the origin `{}` may not ask", said(ORIGIN)),
            ),
            Self::Token => Refusal::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed: send it as `authorization: bearer ...`, or as the password of basic \
                 authentication",
            )
            .with(
                WWW_AUTHENTICATE,
                r#"Basic realm="lifespan", charset="UTF-8", Bearer realm="lifespan""#,
            ),
            Self::Method if asked.uri.path().starts_with("/debug/pprof") => {
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").with(ALLOW, "GET, HEAD")
            }
            Self::Method => Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "only get and head are answered: nothing here changes anything",
            )
            .with(ALLOW, "GET, HEAD"),
        }
    }
}

/// Lets a request through to its route, or answers it; and says to a browser what it may do with the answer.
pub(super) async fn guard(State(settings): State<Arc<Settings>>, request: Request, next: Next) -> Response {
    let asked = Asked {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
    };
    let mut response = match settings.access.decide(&asked) {
        Ok(()) => next.run(request).await,
        Err(denial) => {
            if denial == Denial::Token {
                note_denied();
            }
            denial.refusal(&asked).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A picture has one of its own, which allows the script in it and nothing else.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Counts requests without the right token, and says so in the log, at most once a minute.
fn note_denied() {
    static DENIED: AtomicU64 = AtomicU64::new(0);
    static LOGGED: AtomicU64 = AtomicU64::new(0);
    let denied = DENIED.fetch_add(1, Relaxed).saturating_add(1);
    // Seconds of a clock that only runs forward, from 1.
    let now = clock::nanos(clock::ticks()) / 1_000_000_000 + 1;
    let last = LOGGED.load(Relaxed);
    let due = last == 0 || now.saturating_sub(last) >= 60;
    if due && LOGGED.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
        tracing::warn!(denied, "lifespan: requests without the right token were refused");
    }
}

/// Nothing is loaded by anything here, and nothing frames it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const NEED_NO_TOKEN: [&str; 2] = ["/livez", "/readyz"];

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

/// The host of an origin. `null`, which sandboxed pages send, has none.
fn origin_authority(value: &HeaderValue) -> Option<Authority> {
    let origin: Uri = value.to_str().ok()?.parse().ok()?;
    origin.scheme()?;
    origin.into_parts().authority
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(access: &Access, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Result<(), Denial> {
        let request = headers.iter().fold(
            axum::http::Request::builder().uri(uri),
            |request, (name, value)| request.header(*name, *value),
        );
        let request = request.body(()).unwrap();
        access.decide(&Asked {
            method,
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        })
    }

    #[test]
    fn hosts() {
        let access = Access::new().allow_host("Pod-1.example.org").unwrap();
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:9464",
            "[::1]",
            "localhost",
            "LocalHost:1",
            "localhost.",
            "pod-1.example.org",
            "POD-1.example.org:9464",
        ] {
            assert_eq!(
                decide(&access, &Method::GET, "/", &[("host", host)]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "[::1",
            "[localhost]",
            "user@127.0.0.1",
            "127.0.0.1@evil.example",
            "pod-1",
            "example.org",
            "",
            "127.0.0.1, evil.example",
            "localhost/evil",
        ] {
            let decision = decide(&access, &Method::GET, "/", &[("host", host)]);
            assert_eq!(decision, Err(Denial::Host), "{host}");
        }
    }

    #[test]
    fn what_the_uri_names_counts_too() {
        let access = Access::new();
        let local = ("host", "localhost");
        assert_eq!(decide(&access, &Method::GET, "http://127.0.0.1/", &[]), Ok(()));
        assert_eq!(
            decide(&access, &Method::GET, "http://evil.example/", &[]),
            Err(Denial::Host)
        );
        assert_eq!(
            decide(&access, &Method::GET, "http://evil.example/", &[local]),
            Err(Denial::Host)
        );
        assert_eq!(
            decide(&access, &Method::GET, "/", &[local, local]),
            Err(Denial::NoHost)
        );
        assert_eq!(decide(&access, &Method::GET, "/", &[]), Err(Denial::NoHost));
    }

    #[test]
    fn origins() {
        let access = Access::new().allow_host("ops.example.org").unwrap();
        for (origin, decision) in [
            ("http://localhost:3000", Ok(())),
            ("http://127.0.0.1", Ok(())),
            ("https://ops.example.org", Ok(())),
            ("https://evil.example", Err(Denial::Origin)),
            ("null", Err(Denial::Origin)),
            ("", Err(Denial::Origin)),
            ("localhost", Err(Denial::Origin)),
        ] {
            let headers = [("host", "localhost"), ("origin", origin)];
            assert_eq!(decide(&access, &Method::GET, "/", &headers), decision, "{origin}");
        }
    }

    #[test]
    fn tokens() {
        let access = Access::new().token("s3cret").unwrap();
        let ask = |path, authorization: &[&str]| {
            let mut headers = vec![("host", "localhost")];
            headers.extend(authorization.iter().map(|value| ("authorization", *value)));
            decide(&access, &Method::GET, path, &headers)
        };
        assert_eq!(ask("/", &["Bearer s3cret"]), Ok(()));
        assert_eq!(ask("/", &["Basic OnMzY3JldA=="]), Ok(()));
        assert_eq!(ask("/livez", &[]), Ok(()));
        assert_eq!(ask("/readyz", &["Bearer wrong"]), Ok(()));
        for path in [
            "/",
            "/metrics",
            "/livez/",
            "/livez/../metrics",
            "//livez",
            "/unknown",
            "/LIVEZ",
        ] {
            assert_eq!(ask(path, &[]), Err(Denial::Token), "{path}");
        }
        assert_eq!(ask("/", &["Bearer wrong"]), Err(Denial::Token));
        assert_eq!(ask("/", &["Bearer s3cret", "Bearer s3cret"]), Err(Denial::Token));
    }

    #[test]
    fn methods_come_last_so_that_a_stranger_learns_nothing() {
        let access = Access::new().token("s3cret").unwrap();
        let known = [("host", "localhost"), ("authorization", "Bearer s3cret")];
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
            Method::CONNECT,
        ] {
            assert_eq!(decide(&access, &method, "/", &known), Err(Denial::Method));
            assert_eq!(decide(&access, &method, "/", &known[..1]), Err(Denial::Token));
        }
        assert_eq!(decide(&access, &Method::HEAD, "/", &known), Ok(()));
    }
}
