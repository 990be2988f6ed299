//! What is typed, and the exit code that answers it.

use std::net::TcpListener;
use std::process::Output;

use super::process::{demo, lifespan};

#[test]
fn without_its_port_the_service_fails() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo(&["--app", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.starts_with(&format!("lifespan: failed to listen on {address}")),
        "{error}"
    );
    assert!(error.contains("--app"), "{error}");
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let cases: [(&[&str], &str); 13] = [
        (&[], "Usage: lifespan <COMMAND>"),
        (&["demon"], "unrecognized subcommand 'demon'"),
        (&["demo", "shop"], "unexpected argument 'shop'"),
        (&["demo", "--app", "0.0.0.0:8080"], "not a loopback address"),
        (&["demo", "--app", "[::]:8080"], "not a loopback address"),
        (
            &["demo", "--app", "localhost:8080"],
            "expected an IP address and a port",
        ),
        (&["demo", "--listen", "9464"], "expected an IP address and a port"),
        (&["demo", "--rate", "-1"], "-1 is not in 0..=20000"),
        (&["demo", "--rate", "20001"], "20001 is not in 0..=20000"),
        (&["demo", "--rate", "fast"], "invalid digit"),
        (&["demo", "--seconds", "0"], "from 1 to 31536000"),
        (&["demo", "--seconds", "-1"], "from 1 to 31536000"),
        (&["demo", "--seconds", "1.5"], "from 1 to 31536000"),
    ];
    for (arguments, text) in cases {
        let output = lifespan(arguments).output().unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--help"], &["Usage: lifespan <COMMAND>", "demo", "Exit codes:"]),
        (&["--version"], &[concat!("lifespan ", env!("CARGO_PKG_VERSION"))]),
        (
            &["demo", "--help"],
            &[
                "Usage: lifespan demo",
                "--listen",
                "--app",
                "--rate",
                "--seconds",
                "/fault/orphan",
            ],
        ),
        (&["help", "demo"], &["Usage: lifespan demo"]),
    ];
    for (arguments, texts) in cases {
        let output = lifespan(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        for text in texts {
            assert!(help.contains(text), "{arguments:?}: no {text:?} in {help}");
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
