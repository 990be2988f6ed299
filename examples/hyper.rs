//! A hyper server of which each connection is a task to see.
//!
//! Run it with `cargo run --example hyper --features server`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::convert::Infallible;
use std::net::Ipv4Addr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioIo;
use lifespan::{Kind, registry};
use tokio::net::{TcpListener, TcpStream};

static CONNECTION: Kind = Kind::new("connection");

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let acceptor = lifespan::spawn("acceptor", async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The one line that differs: not `tokio::spawn(serve(stream))`.
            lifespan::spawn(&CONNECTION, serve(stream));
        }
    });

    // Where hyper spawns by itself, as here in its client, or for the streams of HTTP/2, it takes an executor.
    let client = Client::builder(lifespan::Executor::new("client-connection"))
        .build_http::<http_body_util::Empty<&[u8]>>();
    let answers = (0..3).map(|_| client.get(format!("http://{address}/").parse().expect("it is a URI")));
    for answer in futures::future::join_all(answers).await {
        println!("{}", answer.expect("it is answered").status());
    }

    for row in registry::rows() {
        let site = row.spawned_at.map(ToString::to_string).unwrap_or_default();
        println!("{} {} {} {:?} {site}", row.id, row.kind, row.state, row.age);
    }
    acceptor.abort();
}

async fn serve(stream: TcpStream) {
    let answer = service_fn(async |_: Request<hyper::body::Incoming>| {
        Ok::<_, Infallible>(Response::new("hello\n".to_owned()))
    });
    // That a client hung up is its own affair.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}
