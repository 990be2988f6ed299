//! `/debug/events`, as a stream that follows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use lifespan::event::recent;
use lifespan::{Agent, KindId};
use serde_json::Value;
use tower::ServiceExt;

use super::{make, make_now};
use crate::client::{connect, get_from, router, send, until};

fn agent() -> (Agent, SocketAddr) {
    let agent = Agent::builder("test")
        .listen(([127, 0, 0, 1], 0))
        .start()
        .unwrap();
    let address = agent.address().unwrap();
    (agent, address)
}

/// A client that reads a stream of events, byte for byte as it comes.
struct Client(BufReader<TcpStream>);

/// One block of a stream.
#[derive(Debug, Default, Eq, PartialEq)]
struct Block {
    id: Option<u64>,
    event: Option<String>,
    data: Option<Value>,
    comment: bool,
}

impl Client {
    /// HTTP/1.0, so that there are no chunks to undo.
    fn open(address: SocketAddr, query: &str, header: &str) -> Self {
        let mut stream = connect(address);
        write!(
            stream,
            "GET /debug/events{query} HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n{header}\r\n"
        )
        .unwrap();
        let mut client = Self(BufReader::new(stream));
        assert!(client.line().unwrap().starts_with("HTTP/1.0 200"));
        let head: Vec<String> =
            std::iter::from_fn(|| client.line().filter(|line| !line.is_empty())).collect();
        assert!(
            head.contains(&"content-type: text/event-stream".to_owned()),
            "{head:?}"
        );
        client
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next block; `None` where the stream has ended.
    fn next(&mut self) -> Option<Block> {
        let mut block = Block::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("", _)) => block.comment = true,
                Some(("id", id)) => block.id = Some(id.parse().unwrap()),
                Some(("event", name)) => block.event = Some(name.to_owned()),
                Some(("data", data)) => block.data = Some(serde_json::from_str(data).unwrap()),
                _ => {
                    assert_eq!(line, "");
                    return Some(block);
                }
            }
        }
    }
}

#[test]
fn it_follows_what_happens_from_now_on() {
    let (_agent, address) = agent();
    let kind = KindId::named("event-followed");
    make_now(kind, 1);
    let mut client = Client::open(address, "?kind=event-followed", "");
    make_now(kind, 1);
    let (first, second) = (client.next().unwrap(), client.next().unwrap());
    assert_eq!(first.event.as_deref(), Some("stop_timed_out"));
    assert_eq!(second.event.as_deref(), Some("aborted"));
    let data = first.data.unwrap();
    assert_eq!(data["seq"].as_u64(), first.id);
    assert_eq!(data["kind"], "event-followed");
    assert!(first.id < second.id);
    // Those before it were in the journal, and not for it.
    let all = get_from(address, "/debug/events?kind=event-followed").json();
    assert_eq!(all["events"][2], data);
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let (_agent, address) = agent();
    make_now(KindId::named("event-resumed"), 3);
    let query = "?kind=event-resumed";
    let mut client = Client::open(address, &format!("{query}&after=0"), "");
    let next = |client: &mut Client| loop {
        let block = client.next().unwrap();
        if block.event.as_deref() != Some("missed") {
            return block;
        }
    };
    let seen = [next(&mut client), next(&mut client)];
    drop(client);
    let again = format!("Last-Event-ID: {}\r\n", seen[1].id.unwrap());
    // It knows better than the address that it began with.
    let mut client = Client::open(address, &format!("{query}&after=0&limit=4"), &again);
    let rest: Vec<Block> = std::iter::from_fn(|| client.next()).collect();
    assert_eq!(rest.len(), 4, "it ends at its limit");
    let all = get_from(address, &format!("/debug/events{query}")).json();
    let told = seen.iter().chain(&rest).map(|block| block.data.clone().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), *all["events"].as_array().unwrap());
    for wrong in [
        "Last-Event-ID: x",
        "Last-Event-ID: -1",
        "Last-Event-ID: 99999999999999999999999",
    ] {
        let request = format!(
            "GET /debug/events HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n{wrong}\r\n\r\n"
        );
        let answer = send(address, &request);
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.body.contains("`last-event-id`"), "{}", answer.body);
    }
}

#[test]
fn places_are_few_and_come_back_when_a_client_leaves() {
    let (agent, address) = agent();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::open(address, "", "")).collect();
    let request =
        format!("GET /debug/events HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    let refused = send(address, &request);
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("one of them must leave"),
        "{}",
        refused.body
    );
    // All else is answered.
    assert_eq!(get_from(address, "/debug/events").status, 200);
    // The work for one that leaves ends though nothing happens that it could be told of.
    drop(clients.pop());
    until("a place", || {
        let mut stream = connect(address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.starts_with("HTTP/1.0 200")
    });
    drop(agent);
}

#[test]
fn the_stop_ends_a_stream_and_does_not_cut_it_off() {
    let (agent, address) = agent();
    let mut stream = connect(address);
    write!(
        stream,
        "GET /debug/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    agent.shutdown(Duration::from_secs(10)).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    // The chunk that says that there are no more.
    assert!(
        rest.ends_with(b"0\r\n\r\n"),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
}

/// The router itself, so that nothing between it and the reader can hold what the reader does not take.
#[tokio::test(start_paused = true)]
async fn a_slow_client_is_told_what_it_missed_and_is_sent_little_at_a_time() {
    let kind = KindId::named("event-unread");
    let start = recent().entries.last().map_or(0, |entry| entry.seq);
    let request = Request::get(format!("/debug/events?after={start}")).header("host", "localhost");
    let request = request.header("accept", "text/event-stream");
    let response = router()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    for _ in 0..40 {
        make(kind, 64).await;
    }
    let (mut text, mut frames) = (String::new(), 0);
    // Something comes though nothing happens, which is how it is known that nothing is left.
    while !text.ends_with(": nothing new\n\n") {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.len() < 80 * 1_024, "{}", frame.len());
        text.push_str(std::str::from_utf8(&frame).unwrap());
        frames += 1;
    }
    assert!(frames > 5, "{frames}");
    let mut ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .map(|id| id.parse::<u64>().unwrap());
    let first = ids.next().unwrap();
    let missed = text.strip_prefix("event: missed\ndata: {\"missed\":").unwrap();
    let missed: u64 = missed.split('}').next().unwrap().parse().unwrap();
    assert!(missed > 500, "{missed}");
    assert_eq!(first, start + missed + 1);
    let last = ids.fold(first, |before, id| {
        assert_eq!(id, before + 1);
        id
    });
    assert!(last >= start + 5_120);
}
