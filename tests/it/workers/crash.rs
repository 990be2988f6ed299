//! A process that is killed at any moment neither loses nor repeats what it had committed.
//!
//! The process is this test binary, run again. It says what it does, line by line; whoever kills it holds what it says
//! next time against that. A kill is no loss of power: what was written and not yet synced survives it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lifespan::worker::{Checkpoint, CheckpointError, FileStore, Progress};

/// The kills that a store has to survive.
const KILLS: u32 = 60;

const STORE: &str = "LIFESPAN_TEST_STORE";
const PATH: &str = "LIFESPAN_TEST_PATH";

/// The process: goes on where the one before has stopped, for ever.
#[test]
#[ignore = "is run and killed by others"]
fn worker() {
    let store = std::env::var(STORE).unwrap();
    let path = std::env::var_os(PATH).unwrap();
    let path = Path::new(&path);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        match &*store {
            "in place" => work(InPlace::open(path), false).await,
            "said too early" => work(FileStore::open(path).unwrap(), true).await,
            _ => work(FileStore::open(path).unwrap(), false).await,
        };
    });
}

async fn work(store: impl Checkpoint<u64> + 'static, too_early: bool) {
    let progress = Progress::new(store);
    let (last, mut run) = progress.resume().await.unwrap();
    let last = last.unwrap_or(0);
    tell("resumed", last);
    for offset in last + 1.. {
        tell("process", offset);
        if too_early {
            tell("committed", offset);
        }
        run.commit(offset).await.unwrap();
        if !too_early {
            tell("committed", offset);
        }
    }
}

fn tell(what: &str, offset: u64) {
    let line = format!("@{what} {offset}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// The store that one writes first, which does not replace its file but writes into it.
struct InPlace(File);

impl InPlace {
    fn open(path: &Path) -> Self {
        Self(File::options().create(true).append(true).open(path).unwrap())
    }
}

impl Checkpoint<u64> for InPlace {
    fn load(&mut self) -> Result<Option<u64>, CheckpointError> {
        let path = std::env::var_os(PATH).unwrap();
        let text = fs::read_to_string(path).map_err(CheckpointError::store)?;
        Ok(text.trim().parse().ok())
    }

    fn commit(&mut self, value: &u64) -> Result<(), CheckpointError> {
        let write = |mut file: &File| {
            file.set_len(0)?;
            file.sync_all()?;
            file.write_all(value.to_string().as_bytes())?;
            file.sync_all()
        };
        write(&self.0).map_err(CheckpointError::store)
    }
}

/// What a process has said in all its lives.
#[derive(Debug, Default)]
struct Judge {
    begun: u64,
    committed: u64,
    /// The last offset of which this life knows that it is committed; `None` before it has resumed.
    resumed: Option<u64>,
}

impl Judge {
    fn new_life(&mut self) {
        self.resumed = None;
    }

    fn hear(&mut self, line: &str) -> Result<(), String> {
        let (what, offset) = line.split_once(' ').ok_or("half a line")?;
        let offset: u64 = offset.parse().map_err(|_| "no offset")?;
        match (what, self.resumed) {
            ("resumed", None) => {
                if offset < self.committed {
                    return Err(format!(
                        "resumed at {offset}, and had committed {}",
                        self.committed
                    ));
                }
                if offset > self.begun {
                    return Err(format!("resumed at {offset}, and had begun {}", self.begun));
                }
                (self.committed, self.resumed) = (offset, Some(offset));
            }
            ("process", Some(last)) if offset == last + 1 => self.begun = offset,
            ("process", Some(last)) => return Err(format!("processed {offset} after {last}")),
            ("committed", Some(last)) if offset == last + 1 => {
                (self.committed, self.resumed) = (offset, Some(offset));
            }
            _ => return Err(format!("said {line:?} out of turn")),
        }
        Ok(())
    }
}

/// Lets processes work and kills them, so many times; or until they are caught.
fn kill_again_and_again(store: &str, kills: u32) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offset");
    let mut judge = Judge::default();
    let mut chance = u64::from(std::process::id());
    for kill in 0..kills {
        judge.new_life();
        let mut process = start(store, &path);
        // Some while they begin, most in the midst of a commit.
        let lines = if kill % 10 == 0 {
            0
        } else {
            random(&mut chance) % 24 + 1
        };
        let mut said = said(&mut process);
        for _ in 0..lines {
            let line = said.next().expect("it works until it is killed");
            judge.hear(&line)?;
        }
        let moment = if lines == 0 { 4_000_000 } else { 40_000 };
        for _ in 0..random(&mut chance) % moment {
            std::hint::spin_loop();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // What it said before it died, and nobody had heard.
        for line in said {
            judge.hear(&line)?;
        }
    }
    Ok(judge.committed)
}

fn start(store: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "workers::crash::worker", "--ignored", "--nocapture"])
        .env(STORE, store)
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Its own words, among those of the test harness.
fn said(process: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| {
        let (_, own) = line.split_once('@')?;
        Some(own.to_owned())
    })
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *state >> 33
}

#[test]
fn a_killed_process_loses_and_repeats_nothing() {
    let committed = kill_again_and_again("a file", KILLS).unwrap();
    assert!(committed > u64::from(KILLS), "{committed}");
}

/// The negative controls: what is wrong is caught, in no more kills.
#[test]
fn a_store_that_writes_in_place_is_caught() {
    let caught = kill_again_and_again("in place", KILLS).unwrap_err();
    assert!(caught.contains("and had committed"), "{caught}");
}

#[test]
fn a_worker_that_says_too_early_that_it_committed_is_caught() {
    let caught = kill_again_and_again("said too early", KILLS).unwrap_err();
    assert!(caught.contains("and had committed"), "{caught}");
}
