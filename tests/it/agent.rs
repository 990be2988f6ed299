//! The agent's life: it starts, it answers, it fails open, it stops.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use lifespan::Agent;
use lifespan::agent::Builder;

use crate::client::{get_from, send, until};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn builder() -> Builder {
    Agent::builder("test").listen(LOOPBACK)
}

#[test]
fn every_link_of_the_page_leads_somewhere() {
    let agent = builder().start().unwrap();
    let address = agent.address().unwrap();
    let page = get_from(address, "/");
    let links: Vec<&str> = page
        .body
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(links.len() > 10, "{}", page.body);
    for link in links {
        let answer = get_from(address, &link.replace("&amp;", "&"));
        assert!([200, 501].contains(&answer.status), "{link}: {}", answer.status);
    }
    let answer = get_from(address, "/nowhere");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let foreign = send(address, "GET /nowhere HTTP/1.0\r\nHost: evil.example\r\n\r\n");
    assert_eq!(foreign.status, 421);
}

#[test]
fn a_taken_port_leaves_the_host_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let agent = Agent::builder("test").listen(address).start().unwrap();
    assert_eq!(agent.address(), None);
    let status = agent.status();
    assert!(status.recording.is_on() && status.thread.is_on());
    let error = status.server.error().unwrap();
    assert!(error.is_listen());
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    let cause = std::error::Error::source(error).unwrap();
    assert!(cause.to_string().contains("in use"), "{cause}");
    // The rest of the agent works.
    let before = lifespan::registry::last_sweep().map(|sweep| sweep.at);
    until("a sweep", || {
        lifespan::registry::last_sweep().map(|sweep| sweep.at) > before
    });

    let strict = Agent::builder("test").listen(address).strict().start();
    assert!(strict.unwrap_err().is_listen());
}

#[test]
fn an_open_address_needs_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let agent = Agent::builder("test").listen(address).start().unwrap();
        let status = agent.status();
        assert_eq!(agent.address(), None);
        let error = status.server.error().unwrap();
        assert!(error.is_open_without_token());
        assert!(error.to_string().contains("LIFESPAN_TOKEN"), "{error}");
    }
    let agent = Agent::builder("test")
        .listen(([0, 0, 0, 0], 0))
        .token("s3cret")
        .start()
        .unwrap();
    let port = agent.address().unwrap().port();
    let request = format!("GET /debug/kinds HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    let address = ([127, 0, 0, 1], port).into();
    assert_eq!(send(address, &format!("{request}\r\n")).status, 401);
    assert_eq!(
        send(address, &format!("{request}Authorization: Bearer s3cret\r\n\r\n")).status,
        200
    );
    assert!(!format!("{agent:?}").contains("s3cret"));
}

#[test]
fn a_bad_setting_turns_off_the_endpoints_and_nothing_else() {
    let long = "x".repeat(513);
    for (builder, name) in [
        (builder().token(""), "token"),
        (builder().token("s3cret\n"), "token"),
        (builder().token(&*long), "token"),
        (builder().allow_host("http://a"), "LIFESPAN_ALLOWED_HOSTS"),
    ] {
        let agent = builder.start().unwrap();
        let status = agent.status();
        let error = status.server.error().unwrap();
        assert!(error.is_setting());
        assert!(
            error.to_string().starts_with(&format!("invalid {name}: ")),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"));
        assert!(status.thread.is_on());
    }
    assert!(builder().token("").strict().start().unwrap_err().is_setting());
}

#[test]
fn its_port_is_free_when_it_has_stopped() {
    let agent = builder().start().unwrap();
    let address = agent.address().unwrap();
    assert_eq!(get_from(address, "/livez").status, 200);
    agent.shutdown(Duration::from_secs(2)).unwrap();
    agent.shutdown(Duration::from_secs(2)).unwrap();
    TcpListener::bind(address).unwrap();
    drop(agent);
}

#[tokio::test]
async fn it_can_be_dropped_inside_of_a_runtime() {
    let agent = builder().start().unwrap();
    let address = agent.address().unwrap();
    let runtime = tokio::runtime::Handle::current();
    assert!(
        lifespan::registry::watched()
            .iter()
            .any(|watched| watched.id() == runtime.id())
    );
    let start = tokio::time::Instant::now();
    drop(agent);
    assert!(start.elapsed() < Duration::from_secs(2));
    TcpListener::bind(address).unwrap();
}

#[test]
fn two_agents_show_the_same_tasks() {
    let (first, second) = (builder().start().unwrap(), builder().start().unwrap());
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = lifespan::thread::spawn("agent-twice", move || stopped.recv());
    for agent in [&first, &second] {
        let answer = get_from(agent.address().unwrap(), "/debug/tasks?kind=agent-twice");
        assert_eq!(answer.json()["total"], 1);
    }
    drop(first);
    // Exits are kept for the one that is left.
    drop(stop);
    thread.join().unwrap().unwrap_err();
    let answer = get_from(second.address().unwrap(), "/debug/exits?kind=agent-twice");
    assert_eq!(answer.json()["total"], 1);
}

#[test]
fn it_answers_while_every_worker_is_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let agent = {
        let _entered = runtime.enter();
        builder().start().unwrap()
    };
    let (blocked, blocks) = mpsc::channel();
    let mut release = Vec::new();
    for _ in 0..2 {
        let (stop, stopped) = mpsc::channel::<()>();
        release.push(stop);
        let blocked = blocked.clone();
        lifespan::spawn_on(
            "agent-blocked",
            async move {
                blocked.send(()).unwrap();
                let _ = stopped.recv();
            },
            runtime.handle(),
        );
    }
    blocks.recv().unwrap();
    blocks.recv().unwrap();
    let waits = lifespan::spawn_on("agent-waits", async {}, runtime.handle());
    let address = agent.address().unwrap();
    assert_eq!(get_from(address, "/livez").body, "ok\n");
    let answer = get_from(address, "/debug/tasks?kind=agent-blocked&state=running").json();
    assert_eq!(answer["total"], 2);
    let answer = get_from(address, "/debug/tasks?kind=agent-waits&state=scheduled").json();
    assert_eq!(answer["total"], 1);
    drop(release);
    runtime.block_on(waits).unwrap();
}

#[test]
fn it_runs_nothing_in_the_runtime_it_is_started_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let agent = {
        let _entered = runtime.enter();
        builder().start().unwrap()
    };
    assert_eq!(get_from(agent.address().unwrap(), "/debug/kinds").status, 200);
    let metrics = runtime.metrics();
    assert_eq!((metrics.num_alive_tasks(), metrics.num_workers()), (0, 1));
    // Nor is any of its work among the tasks.
    let sites = lifespan::registry::rows().filter_map(|row| row.spawned_at);
    assert!(sites.into_iter().all(|site| !site.file().starts_with("src/")));
}
