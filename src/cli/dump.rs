//! `lifespan dump`: the text dump of a service, or what grew between two of them.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::diff::{self, Counts};
use super::fetch::{self, Target};

/// Print where every task of a service waits.
///
/// Asks the agent at URL for its text dump, one block a task. With `--diff` it compares two dumps, of which each is a
/// file or a URL, and prints where there are more tasks in the second: by kind, await point and spawn site.
///
/// A URL is `host:port`, or where the endpoints are mounted, such as `http://host:port/internal`. There is no https:
/// put a proxy that speaks it on this machine, or forward a port.
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// Where the agent is.
    #[arg(value_name = "URL", required_unless_present = "diff", value_parser = fetch::target)]
    url: Option<Target>,

    /// Print what grew from one dump to another; `-` is standard input.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with = "url", value_parser = source)]
    diff: Option<Vec<Source>>,

    /// The token that the agent asks for. In the environment, other users of the machine do not see it.
    #[arg(long, value_name = "TOKEN", env = "LIFESPAN_TOKEN", hide_env_values = true, value_parser = token)]
    token: Option<Token>,
}

impl DumpArgs {
    /// Does what was asked, and prints it.
    pub(crate) fn run(&self) -> Result<(), DumpError> {
        let token = self.token.as_ref().map(|token| &*token.0);
        match (&self.url, self.diff.as_deref()) {
            (_, Some([first, second])) => {
                let (first, second) = (first.read(token)?, second.read(token)?);
                told(write!(io::stdout(), "{}", diff::Grown::between(&first, &second)))
            }
            (Some(url), _) => {
                let mut tail = Tail::default();
                let ended = fetch::fetch(url, token, |piece| {
                    tail.take_in(piece);
                    io::stdout().write_all(&harmless(piece))
                });
                match ended {
                    Err(fetch::FetchError::Sink(error)) => told(Err(error)),
                    Err(error) => Err(DumpError::Fetch(url.to_string(), error)),
                    Ok(()) if tail.is_end() => told(io::stdout().flush()),
                    Ok(()) => Err(DumpError::Parse(url.to_string(), diff::ParseError::EndsEarly)),
                }
            }
            // The parser lets nothing else through.
            (None, _) => Ok(()),
        }
    }
}

/// A dump to compare: a file, or the agent of a service.
#[derive(Clone, Debug)]
enum Source {
    Input,
    File(PathBuf),
    Url(Target),
}

impl Source {
    fn read(&self, token: Option<&str>) -> Result<Counts, DumpError> {
        let mut counts = Counts::default();
        let ended = match self {
            Self::Input => diff::read(io::stdin().lock(), &mut counts),
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|error| DumpError::Open(path.clone(), error))?;
                diff::read(io::BufReader::new(file), &mut counts)
            }
            Self::Url(url) => {
                let mut text = diff::Lines::default();
                let fetched = fetch::fetch(url, token, |piece| {
                    text.take_in(piece, &mut counts);
                    Ok(())
                });
                fetched.map_err(|error| DumpError::Fetch(url.to_string(), error))?;
                text.end(&mut counts);
                Ok(())
            }
        };
        let name = self.to_string();
        ended.map_err(|error| DumpError::Open(PathBuf::from(&name), error))?;
        counts.check().map_err(|error| DumpError::Parse(name, error))?;
        Ok(counts)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// A file that exists is one; else a text with a scheme or a port is a URL.
fn source(text: &str) -> Result<Source, String> {
    if text == "-" {
        return Ok(Source::Input);
    }
    if Path::new(text).exists() {
        return Ok(Source::File(text.into()));
    }
    match fetch::target(text) {
        Ok(url) => Ok(Source::Url(url)),
        Err(_) if !text.contains("://") => Err("no such file, and no URL such as 127.0.0.1:9464".to_owned()),
        Err(problem) => Err(problem.to_owned()),
    }
}

/// A token; it is shown nowhere.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn token(text: &str) -> Result<Token, &'static str> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Token(text.to_owned()))
    } else {
        Err("a token has visible ASCII characters only")
    }
}

/// Why there is no dump, or no comparison.
#[derive(Debug)]
pub(crate) enum DumpError {
    Fetch(String, fetch::FetchError),
    Open(PathBuf, io::Error),
    Parse(String, diff::ParseError),
    Print(io::Error),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(url, error) => write!(f, "{url}: {error}"),
            Self::Open(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Parse(name, error) => write!(f, "{name}: {error}"),
            Self::Print(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

/// Where nobody reads on, as `head` does, all has been told.
fn told(written: io::Result<()>) -> Result<(), DumpError> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(DumpError::Print(error)),
        _ => Ok(()),
    }
}

/// Whatever answers there: no byte of it moves the cursor of a terminal.
fn harmless(piece: &[u8]) -> Vec<u8> {
    let plain = |byte: u8| byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\t');
    piece
        .iter()
        .map(|&byte| if plain(byte) { byte } else { b'_' })
        .collect()
}

/// The end of a text that passes by.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take_in(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
        self.0.drain(..self.0.len().saturating_sub(64));
    }

    /// Whether its last line is that of a dump.
    fn is_end(&self) -> bool {
        let text = String::from_utf8_lossy(&self.0);
        text.lines()
            .next_back()
            .is_some_and(|line| line.starts_with(diff::END))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(
            harmless(b"a\tb\n\x1b[31m\x07\x7f\r\xc3\xa9"),
            b"a\tb\n_[31m___\xc3\xa9"
        );
    }

    #[test]
    fn a_token_is_shown_nowhere() {
        assert!(!format!("{:?}", token("s3cret").unwrap()).contains("s3cret"));
        assert!(token("two words").is_err() && token("").is_err());
    }

    #[test]
    fn the_end_is_seen_however_it_comes() {
        let mut tail = Tail::default();
        for piece in [
            "x".repeat(1_000),
            "y\nend of d".to_owned(),
            "ump, 3 tasks\n".to_owned(),
        ] {
            assert!(!tail.is_end());
            tail.take_in(piece.as_bytes());
        }
        assert!(tail.is_end());
    }
}
