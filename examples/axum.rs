//! An axum service that shows its tasks: the lines marked `+` are all that it takes.
//!
//! Run it with `cargo run --example axum --features server`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use lifespan::{Agent, Track}; // +
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() {
    // A service says `([127, 0, 0, 1], 9464)` here, or leaves it to the default, which is the same.
    let agent = Agent::builder("shop")
        .listen((Ipv4Addr::LOCALHOST, 0))
        .start()
        .expect("it fails open"); // +

    let app = Router::new().route("/orders/{id}", get(order)).layer(from_fn(
        async |request: Request, next: Next| next.run(request).tracked("request").await,
    )); // +

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
    let server = lifespan::spawn("server", server.into_future()); // + instead of `tokio::spawn(…)`

    println!("{}", fetch(address, "/orders/7").await);
    // A service prints this address and stays; here we look at what an operator would see.
    let agent = agent.address().expect("a port was free");
    let kinds = fetch(agent, "/debug/kinds").await;
    println!("{kinds}");
    assert!(kinds.contains(r#""kind":"request""#));

    drop(stop);
    server.await.expect("it does not panic").expect("it ends well");
}

async fn order(axum::extract::Path(id): axum::extract::Path<u64>) -> String {
    let stock = lifespan::spawn("db-query", async move { id * 6 }); // + instead of `tokio::spawn(…)`
    format!("order {id}: {} left", stock.await.expect("it does not panic"))
}

/// As `curl` does it.
async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .expect("it has a body")
}
