//! Where tasks wait.
//!
//! Every other fact of a task is in its record. Where it waits is nowhere, until it is asked: [`dump()`] polls tasks once
//! more, with a waker whose clones copy the stack of whoever makes them, and each leaf future makes one. It needs no
//! flags, no annotations and no stop of the world, and costs nothing until somebody asks.
//!
//! Compare tokio's `Handle::dump`, which needs `tokio_unstable`, stops all workers, and never answers while one is
//! blocked. This asks in batches, within a budget, and tells of a task that does not answer what is known of it.
//!
//! A probe is one spurious poll. Futures must stand that; for those that do not there are
//! [`no_probe`](crate::Builder::no_probe) and [`Kind::no_probe`](crate::Kind::no_probe).
//!
//! What is shown of it, over HTTP and in the dumps that the agent writes of its own accord, is a function of what came
//! back: see [`server`](crate::server) and [`agent::Dumps`](crate::agent::Dumps).
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use lifespan::profile::{Ask, Waits, dump};
//!
//! let (sender, mut receiver) = tokio::sync::mpsc::channel::<u8>(1);
//! let task = lifespan::spawn("reader", async move { receiver.recv().await });
//! tokio::task::yield_now().await;
//!
//! let mut ask = Ask::default();
//! ask.kinds = vec![lifespan::KindId::named("reader")];
//! match dump(&ask).await {
//!     Ok(dump) => {
//!         let Waits::At(stacks) = &dump.tasks[0].waits else { panic!("{dump:?}") };
//!         assert!(stacks[0].functions().any(|function| function.contains("recv")));
//!     }
//!     // Another dump runs, or stacks are not to be had on this platform.
//!     Err(refused) => println!("{refused}"),
//! }
//! # drop(sender); task.await.unwrap();
//! # }
//! ```

mod choose;
pub(crate) mod dump;
pub(crate) mod encode;
pub(crate) mod flamegraph;
mod interned;
pub(crate) mod lost;
pub(crate) mod report;
mod share;
pub(crate) mod tasks;
pub(crate) mod text;
pub(crate) mod threads;
pub(crate) mod tools;
pub(crate) mod view;
mod waits;
mod wire;

pub use dump::{Ask, DEFAULT_DEADLINE, DEFAULT_MOST, Dump, LONG_IDLE, Refused, Task, Waits, dump};
pub use interned::Stack;
