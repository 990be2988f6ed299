//! Connections that do what no good client does.

use std::future::pending;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lifespan::Agent;
use lifespan::agent::Connections;

use crate::client::{connect, get_from, send, until};

fn agent(connections: usize, header_timeout: Duration) -> (Agent, SocketAddr) {
    let agent = Agent::builder("test")
        .listen(([127, 0, 0, 1], 0))
        .max_connections(connections)
        .header_timeout(header_timeout)
        .start()
        .unwrap();
    let address = agent.address().unwrap();
    (agent, address)
}

fn connections(agent: &Agent) -> Connections {
    agent.status().connections
}

/// Sends a request on a connection that stays, and reads its short answer.
fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_head_that_does_not_end_is_cut_off_and_a_connection_that_rests_is_not() {
    let (_agent, address) = agent(16, Duration::from_millis(200));
    let mut rests = connect(address);
    assert!(ask(&mut rests).starts_with("HTTP/1.1 200"));
    let mut dribbles = connect(address);
    dribbles
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    dribbles.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").unwrap();
    let start = tokio::time::Instant::now();
    loop {
        // One byte at a time: it does not buy time.
        let sent = dribbles.write_all(b"a");
        let mut answer = [0; 256];
        match dribbles.read(&mut answer) {
            Err(error) if sent.is_ok() && is_timeout(&error) => {}
            _ => break,
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it is still open");
    }
    assert!(
        start.elapsed() >= Duration::from_millis(190),
        "{:?}",
        start.elapsed()
    );
    // It has rested for longer than a head may take.
    assert!(ask(&mut rests).starts_with("HTTP/1.1 200"));
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[test]
fn idle_connections_make_room_for_a_client_that_asks() {
    let (agent, address) = agent(4, Duration::from_secs(5));
    let mut held = Vec::new();
    for round in 0..10 {
        for at in 0..20 {
            let mut stream = connect(address);
            if at % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
            }
            held.push(stream);
        }
        assert_eq!(get_from(address, "/livez").status, 200, "round {round}");
    }
    assert!(connections(&agent).evicted >= 190, "{:?}", connections(&agent));
    assert_eq!(connections(&agent).refused, 0);
}

#[test]
fn a_connection_beyond_those_being_answered_is_closed_and_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // More than the buffers of two sockets hold.
    let tasks: Vec<_> = (0..60_000)
        .map(|_| lifespan::spawn_on("connections-many", pending::<()>(), runtime.handle()))
        .collect();
    let (agent, address) = agent(2, Duration::from_secs(5));
    let dump = || {
        let mut stream = connect(address);
        let request = "GET /debug/tasks?kind=connections-many HTTP/1.0\r\nHost: localhost\r\n";
        write!(stream, "{request}Accept: application/x-ndjson\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.0 200");
        stream
    };
    let unread = [dump(), dump()];
    let mut third = connect(address);
    let _ = third.write_all(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    let _ = third.read_to_end(&mut answer);
    assert!(answer.is_empty());
    assert_eq!(connections(&agent).refused, 1);
    // Readers that leave free their places, and the dump behind them ends.
    drop(unread);
    until("room", || {
        let mut stream = connect(address);
        let _ = stream.write_all(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.ends_with(b"ok\n")
    });
    drop((tasks, runtime));
}

#[test]
fn heads_that_are_too_large_are_refused_and_the_next_one_is_answered() {
    let (_agent, address) = agent(16, Duration::from_secs(5));
    let long = "x".repeat(10_000_000);
    let many: String = (0..65).map(|at| format!("X-{at}: 1\r\n")).collect();
    for request in [
        format!("GET /debug/tasks?kind={long} HTTP/1.0\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.0\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"),
        format!("GET / HTTP/1.0\r\nHost: localhost\r\n{many}\r\n"),
        "GET /\u{0} HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(address);
        // The other side may close before it has read all.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.") && answer.contains(" 4"),
            "{answer}"
        );
        assert_eq!(get_from(address, "/livez").status, 200);
    }
    let body = "x".repeat(1_000_000);
    let request = format!("GET /livez HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{body}");
    let mut stream = connect(address);
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read(&mut [0; 256]);
    assert_eq!(
        send(address, "GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n").status,
        200
    );
}

#[cfg(unix)]
#[test]
fn the_want_of_file_descriptors_is_survived() {
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            r#"ulimit -n 40; exec "$0" --exact connections::starved --ignored --nocapture"#,
        ])
        .arg(std::env::current_exe().unwrap())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = |word: &str| {
        let mut lines = output.by_ref().map(|line| line.unwrap());
        lines
            .find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()))
            .unwrap()
    };
    let address = said("listens on ").parse().unwrap();
    let held: Vec<_> = (0..60).map(|_| connect(address)).collect();
    said("is starved");
    drop(held);
    assert_eq!(get_from(address, "/livez").status, 200);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
#[ignore = "run by `the_want_of_file_descriptors_is_survived`, in a process with few of them"]
fn starved() {
    let (agent, address) = agent(1_024, Duration::from_secs(5));
    println!("\nlistens on {address}");
    until("an accept that fails", || connections(&agent).accept_errors > 0);
    println!("\nis starved");
    let _ = std::io::stdin().read(&mut [0]);
}
