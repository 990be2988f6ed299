//! What it takes to read so many tasks: from within, and over HTTP.

#[expect(clippy::disallowed_types, reason = "a bench measures the time that passes")]
use std::time::Instant;

use lifespan::registry;
use serde_json::json;

use crate::child::Figures;
use crate::memory;

const SWEEPS: usize = 15;

pub(crate) fn read(figures: &mut Figures, tasks: u64) -> Result<(), String> {
    // The first look at waiting tasks writes a mark where the second only compares, and first uses cost their pages.
    registry::sweep();
    let mut times: Vec<f64> = (0..SWEEPS)
        .map(|_| seconds(|| registry::sweep().took).1)
        .collect();
    figures.insert("sweep_seconds".to_owned(), json!(quantile(&mut times, 0.5)));

    memory::forget_peak()?;
    let before = memory::resident()?.now;
    let (rows, walk) = seconds(|| registry::rows().count());
    if (rows as u64) < tasks {
        return Err(format!("a walk over {tasks} tasks has {rows} rows"));
    }
    figures.insert("rows_seconds".to_owned(), json!(walk));
    figures.insert(
        "rows_bytes".to_owned(),
        json!(memory::resident()?.peak.saturating_sub(before)),
    );
    over_http(figures, tasks)
}

#[cfg(not(all(feature = "server", feature = "prometheus")))]
fn over_http(_: &mut Figures, _: u64) -> Result<(), String> {
    Ok(())
}

#[cfg(all(feature = "server", feature = "prometheus"))]
fn over_http(figures: &mut Figures, tasks: u64) -> Result<(), String> {
    use crate::http::get;

    const SCRAPES: usize = 100;

    let agent = lifespan::Agent::builder("scale")
        .listen(([127, 0, 0, 1], 0))
        .start();
    let agent = agent.map_err(|error| format!("agent: {error}"))?;
    let address = agent
        .address()
        .ok_or_else(|| format!("no endpoints: {:?}", agent.status().server))?;

    get(address, "/metrics", "text/plain")?;
    let mut scrapes = Vec::with_capacity(SCRAPES);
    for _ in 0..SCRAPES {
        let (answer, took) = seconds(|| get(address, "/metrics", "text/plain"));
        answer?;
        scrapes.push(took);
    }
    figures.insert("metrics_seconds".to_owned(), json!(quantile(&mut scrapes, 0.5)));
    figures.insert(
        "metrics_p99_seconds".to_owned(),
        json!(quantile(&mut scrapes, 0.99)),
    );

    memory::forget_peak()?;
    let before = memory::resident()?.now;
    let (answer, took) = seconds(|| get(address, "/debug/tasks", "application/x-ndjson"));
    let answer = answer?;
    if answer.lines < tasks {
        return Err(format!("a dump of {tasks} tasks has {} lines", answer.lines));
    }
    figures.insert("dump_seconds".to_owned(), json!(took));
    figures.insert("dump_bytes_sent".to_owned(), json!(answer.bytes));
    figures.insert(
        "dump_bytes".to_owned(),
        json!(memory::resident()?.peak.saturating_sub(before)),
    );
    Ok(())
}

#[expect(clippy::disallowed_types, reason = "see above")]
fn seconds<R>(f: impl FnOnce() -> R) -> (R, f64) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed().as_secs_f64())
}

fn quantile(samples: &mut [f64], quantile: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among a hundred"
    )]
    let place = (samples.len() as f64 * quantile) as usize;
    samples
        .get(place)
        .or_else(|| samples.last())
        .copied()
        .unwrap_or(f64::NAN)
}
