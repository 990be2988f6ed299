//! A pipeline under a supervisor: a reader, a parser that panics now and then, a writer.
//!
//! When the parser fails, it and the writer are started again, and the reader reads on. Nothing is lost or done twice:
//! what was read is kept until it is parsed, what was parsed until it is written, and the writer commits how far it has
//! come.
//!
//! A parser that fails all the time exhausts the supervisor: it stops the pipeline and gives up, and `/readyz` says so. In
//! a service that would be the end of the process by default, and a new one would take over. The demo is there to be
//! looked at: it serves orders on, and starts a new pipeline after [`REST`].

use std::sync::Arc;
use std::time::Duration;

use lifespan::scope::Context as ScopeContext;
use lifespan::supervisor::{Backoff, ChildSpec, Context, End, StartError, Strategy, Supervisor};
use lifespan::worker::{CheckpointError, MemoryStore, Progress};
use lifespan::{Kind, Scope};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::chance;
use super::counts::Counts;
use super::fault::Trouble;
use super::kinds;
use super::topic::Topic;

/// Starts it, and what starts it again once it has given up.
pub(super) async fn start(
    root: &Scope,
    counts: Arc<Counts>,
    trouble: Arc<Trouble>,
) -> Result<(), StartError> {
    let pipeline = Arc::new(Pipeline::new(counts, trouble));
    let scope = root.child("pipelines");
    let supervisor = pipeline.supervise(&scope).await?;
    root.spawn(&kinds::INGEST, |cx| pipeline.keep(scope, supervisor, cx));
    Ok(())
}

/// What outlives the runs of the children, and of the supervisor.
#[derive(Debug)]
struct Pipeline {
    lines: Topic<String>,
    /// How many pieces each line brings.
    records: Topic<u64>,
    written: Progress<Stock>,
    counts: Arc<Counts>,
    trouble: Arc<Trouble>,
}

/// What was written, with the offset behind it: they change together.
#[derive(Clone, Copy, Debug, Default)]
struct Stock {
    next: u64,
    pieces: u64,
}

/// How long the pipeline stays down after its supervisor has given up: longer than a storm.
const REST: Duration = Duration::from_secs(10);

impl Pipeline {
    fn new(counts: Arc<Counts>, trouble: Arc<Trouble>) -> Self {
        Self {
            lines: Topic::new(),
            records: Topic::new(),
            written: Progress::new(MemoryStore::default()),
            counts,
            trouble,
        }
    }

    /// Chance has the parser fail every 20 seconds: ten more within ten seconds would come once in thousands of years.
    async fn supervise(self: &Arc<Self>, scope: &Scope) -> Result<Supervisor, StartError> {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(300))
            .reset_after(Duration::from_secs(10));
        Supervisor::builder("ingest")
            .strategy(Strategy::RestForOne)
            .intensity(10, Duration::from_secs(10))
            .child(self.child(&kinds::READER, Self::read))
            .child(self.child(&kinds::PARSER, Self::parse).backoff(backoff))
            .child(self.child(&kinds::WRITER, Self::write).start_timeout(START))
            .start(scope)
            .await
    }

    fn child<Fut>(
        self: &Arc<Self>,
        kind: &'static Kind,
        run: impl Fn(Arc<Self>, Context) -> Fut + Send + 'static,
    ) -> ChildSpec
    where
        Fut: Future<Output = Result<(), CheckpointError>> + Send + 'static,
    {
        let pipeline = Arc::clone(self);
        let spec = ChildSpec::new(kind.id().name(), move |cx| run(Arc::clone(&pipeline), cx));
        spec.kind(kind).heartbeat(HEARTBEAT)
    }

    /// Starts the pipeline anew, each time that its supervisor has given up. Each has a scope of its own, which is cancelled
    /// by that, and remembers it until the next one runs.
    async fn keep(self: Arc<Self>, mut scope: Scope, mut supervisor: Supervisor, cx: ScopeContext) {
        while let End::GaveUp(_) = supervisor.ended().await {
            tokio::select! {
                () = sleep(REST) => {}
                _ = cx.cancelled() => return,
            }
            let next = cx.scope().child("pipelines");
            match self.supervise(&next).await {
                Ok(started) => (scope, supervisor) = (next, started),
                // The next rest begins at once: what has ended has ended for this one too.
                Err(_) => continue,
            }
        }
        drop(scope);
    }

    /// Reads what suppliers send: `sku;quantity`.
    async fn read(self: Arc<Self>, cx: Context) -> Result<(), CheckpointError> {
        let mut ticks = interval(LINE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = async {
                ticks.tick().await;
                let line = format!("{};{}", chance::below(64), quantity(self.lines.end()));
                self.lines.write(line).await;
            };
            tokio::select! {
                () = read => cx.heartbeat(),
                _ = cx.cancelled() => return Ok(()),
            }
        }
    }

    /// Goes on behind the last line that was parsed.
    async fn parse(self: Arc<Self>, cx: Context) -> Result<(), CheckpointError> {
        loop {
            let next = self.records.end();
            let parse = async {
                for line in self.lines.read(next, 1).await {
                    self.trouble.befall(&line);
                    self.records.write(pieces(&line)).await;
                    self.lines.done(next + 1);
                }
            };
            tokio::select! {
                () = parse => cx.heartbeat(),
                _ = cx.cancelled() => return Ok(()),
            }
        }
    }

    /// Writes what was parsed, some at a time, and goes on behind what was committed.
    async fn write(self: Arc<Self>, cx: Context) -> Result<(), CheckpointError> {
        let (last, mut run) = self.written.resume().await?;
        let mut stock = last.unwrap_or_default();
        cx.ready();
        loop {
            let batch = tokio::select! {
                batch = self.records.read(stock.next, BATCH) => batch,
                _ = cx.cancelled() => return Ok(()),
            };
            // A batch under way is finished, whoever is told to stop.
            sleep(Duration::from_millis(30)).await;
            let before = stock.next;
            for pieces in batch {
                stock.next += 1;
                stock.pieces = stock.pieces.saturating_add(pieces);
            }
            run.commit(stock).await?;
            self.records.done(stock.next);
            self.counts.ingested.add(stock.next - before);
            cx.heartbeat();
        }
    }
}

const LINE_EVERY: Duration = Duration::from_millis(20);
const BATCH: usize = 16;
/// Each of the three comes round many times a second.
const HEARTBEAT: Duration = Duration::from_secs(5);
const START: Duration = Duration::from_secs(5);

/// So that it can be told whether each line was counted once.
fn quantity(line: u64) -> u64 {
    1 + line % 50
}

/// None in a line that it does not understand.
fn pieces(line: &str) -> u64 {
    let (_sku, quantity) = line.split_once(';').unwrap_or_default();
    quantity.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_line_is_written_once_whoever_fails() {
        let (counts, trouble) = (Arc::<Counts>::default(), Arc::<Trouble>::default());
        let pipeline = Arc::new(Pipeline::new(Arc::clone(&counts), Arc::clone(&trouble)));
        let supervisor = pipeline.supervise(&Scope::new("test")).await.unwrap();
        for failure in 1..=5 {
            sleep(Duration::from_secs(10)).await;
            trouble.once.store(true, Relaxed);
            let written = counts.ingested.get();
            while counts.ingested.get() < written + 100 {
                sleep(Duration::from_millis(1)).await;
            }
            let restarts = supervisor.list().into_iter().map(|child| child.restarts);
            let restarts: Vec<u64> = restarts.collect();
            // By chance it may fail once more.
            assert!(restarts[0] == 0 && restarts[1] >= failure && restarts[2] >= failure);
        }
        supervisor.stop().await;
        let (last, _run) = pipeline.written.resume().await.unwrap();
        let stock = last.unwrap();
        assert!(stock.next > 1_000, "{stock:?}");
        assert_eq!(counts.ingested.get(), stock.next);
        assert_eq!(stock.pieces, (0..stock.next).map(quantity).sum::<u64>());
    }
}
