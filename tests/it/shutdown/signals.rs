//! Real signals to real processes.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::alone::Service;
use super::services::SHORT;
use crate::support::wait_until;

/// The lines that name tasks of a kind, each with all that they are to say.
#[track_caller]
fn named(errors: &str, kind: &str, nature: &str) -> usize {
    let lines = errors
        .lines()
        .filter(|line| line.starts_with(&format!("  {kind}")));
    let mut ids = std::collections::HashSet::new();
    for line in lines {
        let id = line
            .split_once(", task ")
            .expect(line)
            .1
            .split_once(',')
            .unwrap()
            .0;
        assert!(ids.insert(id.parse::<u64>().unwrap()), "{line}");
        assert!(line.contains(", age ") && line.ends_with(nature), "{line}");
        assert!(
            line.contains(", spawned at tests/it/shutdown/services.rs:"),
            "{line}"
        );
    }
    ids.len()
}

#[test]
fn a_clean_service_says_so_and_returns_0() {
    let mut service = Service::start("services::clean");
    service.says("ready");
    service.signal("TERM");
    let (status, output, errors) = service.wait();
    assert!(status.success(), "{output}\n{errors}");
    let initiated = output
        .find("lifespan: shutdown initiated reason=SIGTERM")
        .expect(&output);
    let told = output.find("told: SIGTERM").expect(&output);
    let complete = output.find("lifespan: shutdown complete").expect(&output);
    assert!(initiated < complete && told < complete, "{output}");
    assert!(
        output.contains(&format!("returned {:?}", ExitCode::SUCCESS)),
        "{output}"
    );
}

#[test]
fn under_load_it_ends_within_the_deadline_and_names_every_survivor() {
    let mut service = Service::start("services::crowded");
    service.says("ready");
    let start = Instant::now();
    service.signal("TERM");
    let (status, output, errors) = service.wait();
    let took = start.elapsed();
    println!("{took:?} of {SHORT:?}");
    assert_eq!(status.code(), Some(70), "{output}\n{errors}");
    // The 10,000 could be aborted; what could not is named twice, by the report and at the very end.
    assert!(output.contains(" 10011 late, 11 of them alive,"), "{output}");
    assert!(output.contains("\ncomplete\n"), "{output}");
    assert!(
        errors.contains("not shut down within 6s: the process ends now, with 11 tasks alive"),
        "{errors}"
    );
    assert_eq!(
        named(&errors, "crowd-blocked", ": blocking, cannot be aborted"),
        10
    );
    assert_eq!(named(&errors, "crowd-busy", ": running"), 1);
    assert_eq!(named(&errors, "crowd-idle", ""), 0);
    assert!(took < SHORT + MARGIN, "{took:?}");
}

/// For a machine that does much else. What is to be seen is that nothing takes an hour.
const MARGIN: Duration = Duration::from_secs(10);

#[test]
fn without_us_it_does_not_end() {
    let mut service = Service::start("services::unaided");
    service.says("ready");
    service.signal("TERM");
    service.says("complete");
    // For as long as it takes with us.
    let start = Instant::now();
    wait_until("that time", || start.elapsed() > SHORT);
    assert!(!service.has_ended());
}

#[test]
fn with_every_worker_blocked_the_deadline_holds() {
    let mut service = Service::start("services::blocked");
    service.says("blocked");
    service.says("blocked");
    let start = Instant::now();
    service.signal("TERM");
    let (status, output, errors) = service.wait();
    println!("{:?} of {SHORT:?}", start.elapsed());
    assert_eq!(status.code(), Some(70), "{output}\n{errors}");
    assert_eq!(named(&errors, "blocked-worker", ": running"), 2);
    assert!(named(&errors, "blocked-idle", "") >= 1, "{errors}");
    // First those that may be why.
    let (last, first) = (errors.rfind("  blocked-worker"), errors.find("  blocked-idle"));
    assert!(last < first, "{errors}");
    assert!(start.elapsed() < SHORT + MARGIN);
}

#[test]
fn with_its_only_thread_busy_the_deadline_holds() {
    let mut service = Service::start("services::busy");
    service.says("busy");
    let start = Instant::now();
    service.signal("INT");
    let (status, output, errors) = service.wait();
    println!("{:?} of {SHORT:?}", start.elapsed());
    assert_eq!(status.code(), Some(70), "{output}\n{errors}");
    assert_eq!(named(&errors, "busy-loop", ": running"), 1);
    assert!(start.elapsed() < SHORT + MARGIN);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        // Names are told as far as 30 ms allow, which is little on a busy machine: in one of some runs.
        let told = (0..8).any(|_| {
            let mut service = Service::start("services::stubborn");
            service.says("ready");
            service.signal("TERM");
            service.says("told: SIGTERM");
            assert!(!service.has_ended());
            let start = Instant::now();
            service.signal(second);
            let (status, output, errors) = service.wait();
            let took = start.elapsed();
            println!("ended {took:?} after the second signal");
            assert_eq!(status.code(), Some(code), "{output}\n{errors}");
            // Of an hour. 100 ms are what it is to take.
            assert!(took < Duration::from_secs(5), "{took:?}");
            errors.contains(&format!("SIG{second} again: the process ends now"))
                && errors.contains("\n  crowd-")
        });
        assert!(told);
    }
}

#[test]
fn logs_and_last_words_that_nobody_reads_do_not_keep_it() {
    let mut service = Service::start_unread("services::muted");
    service.says("ready");
    let start = Instant::now();
    service.signal("TERM");
    service.says("logs, and waits");
    let (status, output, _) = service.wait();
    println!("{:?} of {SHORT:?}", start.elapsed());
    assert_eq!(status.code(), Some(70), "{output}");
    assert!(start.elapsed() < SHORT + MARGIN);
}

#[test]
fn handlers_of_others_are_called_as_well() {
    for (name, heard) in [("TERM", "heard before"), ("INT", "heard after")] {
        let mut service = Service::start("services::neighbours");
        service.says("ready");
        service.signal(name);
        let (status, output, errors) = service.wait();
        assert!(status.success(), "{output}\n{errors}");
        assert!(output.contains(heard), "{output}");
        assert!(
            output.contains(&format!("ended: Some(\"SIG{name}\")")),
            "{output}"
        );
    }
}
