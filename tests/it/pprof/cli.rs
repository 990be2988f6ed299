//! `lifespan dump`.

use std::future::pending;
use std::net::TcpListener;
use std::process::{Command, Output};

use lifespan::Agent;

use crate::processes::run_alone;

/// Runs it; once more where the agent was taking a dump for another test.
#[track_caller]
fn dump(arguments: &[&str]) -> Output {
    loop {
        let output = Command::new(env!("CARGO_BIN_EXE_lifespan"))
            .arg("dump")
            .args(arguments)
            .env_remove("LIFESPAN_TOKEN")
            .output()
            .unwrap();
        if !text(&output.stderr).contains("429") {
            return output;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says to standard error, and its exit code, where it has nothing else to say.
#[track_caller]
fn complaint(arguments: &[&str]) -> (Option<i32>, String) {
    let output = dump(arguments);
    assert!(
        output.stdout.is_empty(),
        "{arguments:?}: {}",
        text(&output.stdout)
    );
    (output.status.code(), text(&output.stderr))
}

#[test]
fn it_prints_the_dump_and_what_grew() {
    run_alone("pprof::cli::prints_alone", &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs a process of its own"]
async fn prints_alone() {
    let agent = Agent::builder("cli").listen(([127, 0, 0, 1], 0)).start().unwrap();
    let address = agent.address().unwrap();
    let url = address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let spawn = |how_many: usize| -> Vec<_> {
        (0..how_many)
            .map(|_| lifespan::spawn("pprof-cli", pending::<()>()))
            .collect()
    };
    let first = spawn(2);
    let output = dump(&[&url]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let before = text(&output.stdout);
    assert!(
        before.starts_with("lifespan dump of tasks, version 1; "),
        "{before}"
    );
    assert_eq!(before.matches("{kind: pprof-cli}").count(), 2, "{before}");
    assert!(before.lines().last().unwrap().starts_with("end of dump, "));

    let file = folder.path().join("before.txt");
    std::fs::write(&file, &before).unwrap();
    let more = spawn(5);
    let file = file.to_str().unwrap();
    let output = dump(&["--diff", file, &format!("http://{url}/")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let grown = text(&output.stdout);
    let ours: Vec<&str> = grown
        .lines()
        .filter(|line| line.ends_with("  pprof-cli"))
        .collect();
    let sum: u64 = ours
        .iter()
        .map(|line| line[1..].split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 5, "{grown}");
    assert!(grown.contains(&format!("spawned at {}:", file!())), "{grown}");

    let early = folder.path().join("early.txt");
    std::fs::write(&early, before.rsplit_once("end of dump").unwrap().0).unwrap();
    let (code, said) = complaint(&["--diff", early.to_str().unwrap(), file]);
    assert_eq!(code, Some(1));
    assert!(
        said.ends_with("early.txt: the dump ends early: its last line is missing\n"),
        "{said}"
    );
    first.iter().chain(&more).for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn a_token_is_sent_and_said_to_be_missing() {
    let agent = Agent::builder("cli")
        .listen(([127, 0, 0, 1], 0))
        .token("s3cret")
        .start()
        .unwrap();
    let url = agent.address().unwrap().to_string();
    let (code, said) = complaint(&[&url]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--token or in LIFESPAN_TOKEN"), "{said}");
    let output = dump(&["--token", "s3cret", &url]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("s3cret"));
    // Help shows that there is a variable, and not what is in it.
    let help = Command::new(env!("CARGO_BIN_EXE_lifespan"))
        .args(["dump", "--help"])
        .env("LIFESPAN_TOKEN", "s3cret")
        .output()
        .unwrap();
    let help = text(&help.stdout);
    assert!(
        help.contains("LIFESPAN_TOKEN") && !help.contains("s3cret"),
        "{help}"
    );
}

#[test]
fn what_goes_wrong_is_said_and_told_by_the_exit_code() {
    for wrong in [
        &[][..],
        &["https://localhost"],
        &["a b"],
        &["--diff", "x:1"],
        &["--diff", "a b", "c"],
        &["--color", "x:1"],
    ] {
        let (code, said) = complaint(wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (code, said) = complaint(&[&free]);
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with(&format!("lifespan: http://{free}: cannot ask it: ")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    // Something else answers.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut client, _) = other.accept().unwrap();
        let _ = client.read(&mut [0; 4_096]).unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n\u{1b}[31mhey";
        client.write_all(answer.as_bytes()).unwrap();
    });
    let (code, said) = complaint(&[&url]);
    assert_eq!(code, Some(1));
    assert!(
        said.ends_with("what answers there is no agent of lifespan\n"),
        "{said}"
    );
    answering.join().unwrap();
}
