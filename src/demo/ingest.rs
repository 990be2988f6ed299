//! A pipeline of three tasks: a reader, a parser that fails now and then, a writer.

use std::sync::Arc;
use std::time::Duration;

use lifespan::scope::Context;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::chance;
use super::counts::Counts;
use super::fault::Storm;
use super::kinds;

/// Starts it. Cancelled, the reader ends, and the others with what it has read.
pub(super) fn start(counts: Arc<Counts>, storm: Arc<Storm>, cx: Context) {
    lifespan::Builder::new(&kinds::INGEST)
        .long_lived()
        .spawn(pipeline(counts, storm, cx));
}

async fn pipeline(counts: Arc<Counts>, storm: Arc<Storm>, cx: Context) {
    let (to_parser, lines) = mpsc::channel(QUEUE);
    let (to_writer, records) = mpsc::channel(QUEUE);
    let reader = long_lived(&kinds::READER).spawn(read(to_parser, cx));
    let writer = long_lived(&kinds::WRITER).spawn(write(records));
    let lines = Arc::new(Mutex::new(lines));
    loop {
        let parser = parse(Arc::clone(&lines), to_writer.clone(), Arc::clone(&storm));
        if long_lived(&kinds::PARSER).spawn(parser).await.is_ok() {
            break;
        }
        counts.restarts.add_one();
        sleep(BACKOFF).await;
    }
    drop(to_writer);
    // Neither of them panics, and both have all they need to end.
    let _ = tokio::join!(reader, writer);
}

const QUEUE: usize = 64;
const BACKOFF: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_millis(20);
/// Every 20 seconds, about.
const ONE_BAD_IN: u64 = 1_000;

fn long_lived(kind: &'static lifespan::Kind) -> lifespan::Builder {
    lifespan::Builder::new(kind).long_lived()
}

/// Reads what suppliers send: `sku;quantity`, as a rule.
async fn read(to_parser: mpsc::Sender<String>, cx: Context) {
    let mut ticks = interval(LINE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = cx.cancelled() => return,
        }
        let sku = chance::below(64);
        let line = if chance::one_in(ONE_BAD_IN) {
            format!("{sku};a dozen")
        } else {
            format!("{sku};{}", 1 + chance::below(50))
        };
        tokio::select! {
            sent = to_parser.send(line) => if sent.is_err() { return },
            _ = cx.cancelled() => return,
        }
    }
}

/// Ends when the reader has; panics at a line that it does not understand, as parsers do.
async fn parse(
    lines: Arc<Mutex<mpsc::Receiver<String>>>,
    to_writer: mpsc::Sender<(u64, u64)>,
    storm: Arc<Storm>,
) {
    let mut lines = lines.lock().await;
    while let Some(line) = lines.recv().await {
        assert!(!storm.rages(), "the schema is not the one of yesterday: {line:?}");
        let (sku, quantity) = line.split_once(';').expect("a line has two fields");
        let sku = sku.parse().expect("an article is a number");
        let quantity = quantity.parse().expect("a quantity is a number");
        if to_writer.send((sku, quantity)).await.is_err() {
            return;
        }
    }
}

/// Writes what was parsed, some at a time.
async fn write(mut records: mpsc::Receiver<(u64, u64)>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut stock = 0u64;
    while records.recv_many(&mut batch, BATCH).await > 0 {
        sleep(Duration::from_millis(30)).await;
        for (_, quantity) in batch.drain(..) {
            stock = stock.saturating_add(quantity);
        }
    }
}

const BATCH: usize = 16;
