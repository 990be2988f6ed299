//! Ways to ask the endpoints: a router without a socket, and a socket without a client's kindness.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use lifespan::server::{self, Settings};
use tower::ServiceExt;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// As text.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The values of a stream of lines.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/x-ndjson");
        assert!(self.body.is_empty() || self.body.ends_with('\n'));
        self.body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Asks a router for a path, with the host that a client on this machine names.
pub(crate) async fn get(path: &str) -> Answer {
    ask(router(), Request::get(path).header("host", "localhost")).await
}

/// The same, for lines.
pub(crate) async fn get_lines(path: &str) -> Answer {
    let request = Request::get(path).header("host", "localhost");
    ask(router(), request.header("accept", "application/x-ndjson")).await
}

/// The same, for a media type.
pub(crate) async fn ask_for(path: &str, accept: &str) -> Answer {
    let request = Request::get(path).header("host", "localhost");
    ask(router(), request.header("accept", accept)).await
}

pub(crate) fn router() -> Router {
    server::router(&Settings::new())
}

pub(crate) async fn ask(router: Router, request: axum::http::request::Builder) -> Answer {
    let response = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body.to_vec(),
    }
}

/// Asks over a socket.
pub(crate) fn get_from(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"),
    )
}

/// Sends what it is given, and reads until the other side is done.
pub(crate) fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&String::from_utf8(answer).unwrap())
}

/// A connection on which nothing takes for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
    Answer {
        status: status.as_u16(),
        headers,
        body: body.to_owned(),
        bytes: body.as_bytes().to_vec(),
    }
}

/// Waits for something that other threads do.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not within 20 s: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
