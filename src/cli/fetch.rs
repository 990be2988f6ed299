//! One request to an agent.

use std::fmt;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::{Authority, Scheme};
use axum::http::{Request, StatusCode, Uri, header};
use hyper::body::Body as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

/// Where an agent is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    authority: Authority,
    /// Where its endpoints are mounted; without a slash at the end.
    base: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// Reads `host:port` or `http://host:port/where/it/is/mounted`.
pub(crate) fn target(text: &str) -> Result<Target, &'static str> {
    const EXPECTED: &str = "expected a host and a port, such as 127.0.0.1:9464 or http://127.0.0.1:9464";
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = whole.parse().map_err(|_| EXPECTED)?;
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Err("https is not spoken here: use a proxy on this machine, or forward a port");
    }
    let authority = uri.authority().ok_or(EXPECTED)?;
    if authority.as_str().contains('@') {
        return Err("give the token with --token or LIFESPAN_TOKEN, not in the URL");
    }
    if uri.scheme() != Some(&Scheme::HTTP) || uri.query().is_some() || authority.host().is_empty() {
        return Err(EXPECTED);
    }
    // A link from the index of profiles is as good.
    let path = uri.path().split("/debug/pprof").next().unwrap_or_default();
    Ok(Target {
        authority: authority.clone(),
        base: path.trim_end_matches('/').to_owned(),
    })
}

/// Hands over the text dump, piece by piece.
pub(crate) fn fetch(
    from: &Target,
    token: Option<&str>,
    each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(FetchError::Runtime)?
        .block_on(exchange(from, token, each))
}

async fn exchange(
    from: &Target,
    token: Option<&str>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), FetchError> {
    let mut request = Request::get(format!("{from}/debug/pprof/tasks?debug=2"));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).map_err(|_| FetchError::Request)?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = timeout(PATIENCE, client.request(request)).await;
    let response = response
        .map_err(|_| FetchError::Silent)?
        .map_err(|error| FetchError::connect(&error))?;
    let status = response.status();
    let mut body = std::pin::pin!(response.into_body());
    let mut first = true;
    let mut refusal = Vec::new();
    loop {
        let frame = timeout(PATIENCE, std::future::poll_fn(|cx| body.as_mut().poll_frame(cx))).await;
        let Some(frame) = frame.map_err(|_| FetchError::Silent)? else {
            break;
        };
        let Ok(piece) = frame.map_err(|_| FetchError::Broken)?.into_data() else {
            continue;
        };
        if status != StatusCode::OK {
            refusal.extend(piece.iter().take(MOST_REFUSAL.saturating_sub(refusal.len())));
            continue;
        }
        if std::mem::take(&mut first) && !piece.starts_with(super::diff::START.as_bytes()) {
            return Err(FetchError::Other);
        }
        each(&piece).map_err(FetchError::Sink)?;
    }
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(FetchError::Token),
        status => {
            let said = String::from_utf8_lossy(&refusal);
            let said: String = said
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .filter(|c| !c.is_control())
                .collect();
            Err(FetchError::Refused(status, said))
        }
    }
}

/// Why an agent gave no dump.
#[derive(Debug)]
pub(crate) enum FetchError {
    Runtime(io::Error),
    Request,
    Connect(String),
    Silent,
    Broken,
    Token,
    Refused(StatusCode, String),
    /// What answered is no agent.
    Other,
    /// What takes the text in does not any more.
    Sink(io::Error),
}

impl FetchError {
    fn connect(error: &hyper_util::client::legacy::Error) -> Self {
        // The last cause says what the system said.
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        Self::Connect(cause.to_string())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => write!(f, "the system gives no poller: {error}"),
            Self::Request => f.write_str("the URL or the token cannot be sent"),
            Self::Connect(cause) => write!(f, "cannot ask it: {cause}"),
            Self::Silent => write!(f, "no answer within {} s", PATIENCE.as_secs()),
            Self::Broken => f.write_str("the connection broke off within the answer"),
            Self::Token => {
                f.write_str("it asks for another token: give it with --token or in LIFESPAN_TOKEN")
            }
            Self::Refused(status, said) => write!(f, "it refused with {status}: {said}"),
            Self::Other => f.write_str("what answers there is no agent of lifespan"),
            Self::Sink(error) => error.fmt(f),
        }
    }
}

/// For an answer, and for each piece of it.
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_REFUSAL: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, shown) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("localhost:1", "http://localhost:1"),
            ("http://[::1]:9464/", "http://[::1]:9464"),
            ("http://pod/internal/", "http://pod/internal"),
            ("http://pod:1/internal/debug/pprof/", "http://pod:1/internal"),
            ("pod:1/debug/pprof/tasks", "http://pod:1"),
        ] {
            assert_eq!(target(text).unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "https://pod",
            "ftp://pod",
            "http://",
            "http://user:pw@pod",
            "a b",
            "http://pod?x=1",
        ] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
