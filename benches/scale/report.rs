//! What was measured, beside what was aimed at.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::child::Figures;

#[derive(Debug)]
pub(crate) struct Report {
    tasks: u64,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    case: &'static str,
    value: f64,
    unit: &'static str,
    target: Target,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

use Target::{AtLeast, AtMost};

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn new(tasks: u64, raw: &Figures, bare: &Figures, named: &Figures, few: &Figures) -> Self {
        const MIB: f64 = 1_048_576.0;
        let count = tasks as f64;
        let get = |figures: &Figures, name: &str| figures.get(name).and_then(Value::as_f64);
        let raw_bytes = get(raw, "bytes");
        let over_raw = |figures| Some((get(figures, "bytes")? - raw_bytes?) / count);
        let per_second = |name| Some(count / get(bare, name)?);
        let scaled = |figures, name, by: f64| Some(get(figures, name)? * by);
        let ratio = |name| Some(get(bare, name)? / get(few, name)?);
        let lines = [
            (
                "bytes_a_task_raw",
                raw_bytes.map(|bytes| bytes / count),
                "B",
                Target::None,
            ),
            ("bytes_a_task_bare_over_raw", over_raw(bare), "B", AtMost(160.0)),
            ("bytes_a_task_named_over_raw", over_raw(named), "B", AtMost(320.0)),
            ("sweep", scaled(bare, "sweep_seconds", 1e3), "ms", AtMost(15.0)),
            (
                "metrics",
                scaled(bare, "metrics_seconds", 1e3),
                "ms",
                Target::None,
            ),
            (
                "metrics_with_1000_tasks",
                scaled(few, "metrics_seconds", 1e3),
                "ms",
                Target::None,
            ),
            (
                "metrics_against_1000_tasks",
                ratio("metrics_seconds"),
                "x",
                AtMost(2.0),
            ),
            (
                "metrics_p99",
                scaled(bare, "metrics_p99_seconds", 1e3),
                "ms",
                AtMost(50.0),
            ),
            ("rows", per_second("rows_seconds"), "rows/s", AtLeast(1e6)),
            (
                "rows_extra_memory",
                scaled(bare, "rows_bytes", 1.0 / MIB),
                "MiB",
                AtMost(32.0),
            ),
            ("dump", per_second("dump_seconds"), "rows/s", AtLeast(1e6)),
            (
                "dump_extra_memory",
                scaled(bare, "dump_bytes", 1.0 / MIB),
                "MiB",
                AtMost(32.0),
            ),
            (
                "dump_size",
                scaled(bare, "dump_bytes_sent", 1.0 / MIB),
                "MiB",
                Target::None,
            ),
            (
                "records_left_after",
                scaled(bare, "record_bytes_after", 1.0 / MIB),
                "MiB",
                Target::None,
            ),
        ];
        let lines = lines.into_iter().filter_map(|(case, value, unit, target)| {
            Some(Line {
                case,
                value: value?,
                unit,
                target,
            })
        });
        Self {
            tasks,
            lines: lines.collect(),
        }
    }

    pub(crate) fn print(&self) {
        println!("\nwith {} live tasks", self.tasks);
        for Line {
            case,
            value,
            unit,
            target,
        } in &self.lines
        {
            let verdict = match target {
                AtMost(most) => format!("at most {most}: {}", met(value <= most)),
                AtLeast(least) => format!("at least {least}: {}", met(value >= least)),
                Target::None => String::new(),
            };
            println!("{case:<30} {value:>14.2} {unit:<7} {verdict}");
        }
        if self.lines.iter().all(|line| line.case != "metrics") {
            println!(
                "left out: metrics and dump over http: built without the features `server` and `prometheus`"
            );
        }
    }

    pub(crate) fn write(&self) -> Result<PathBuf, String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("lifespan-bench");
        let path = directory.join("scale.json");
        let text = format!(
            "{:#}\n",
            Value::Array(self.lines.iter().map(|line| self.row(line)).collect())
        );
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn row(&self, line: &Line) -> Value {
        let (target, met) = match line.target {
            AtMost(most) => (json!(most), json!(line.value <= most)),
            AtLeast(least) => (json!(least), json!(line.value >= least)),
            Target::None => (Value::Null, Value::Null),
        };
        json!({
            "case": line.case,
            "value": (line.value * 100.0).round() / 100.0,
            "unit": line.unit,
            "target": target,
            "met": met,
            "tasks": self.tasks,
        })
    }
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
