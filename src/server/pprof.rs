//! `/debug/pprof/`: which profiles there are, and which of them answer, in the manner of Go's.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};

use super::Settings;
use super::page::{HTML, escape};
#[cfg(feature = "profile")]
use super::profiles;
use super::query::Query;
use super::refusal::{Refusal, TEXT};
use crate::registry;

/// Relative, so that it holds wherever the router is mounted.
pub(super) async fn to_index() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "pprof/")]).into_response()
}

pub(super) async fn index(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[]).map_err(Refusal::of_pprof)?;
    Ok(([(CONTENT_TYPE, HTML)], render()).into_response())
}

pub(super) async fn profile(
    State(settings): State<Arc<Settings>>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (name, pictured) = match path.strip_suffix("/flamegraph") {
        Some(name) => (name, true),
        None => (&*path, false),
    };
    // Go's words: its client knows them.
    let unknown = || Refusal::not_found("Unknown profile").of_pprof();
    let profile = PROFILES
        .iter()
        .find(|profile| profile.name == name)
        .ok_or_else(unknown)?;
    let query = query.as_deref();
    let answer = match profile.shows {
        Shows::Missing(why) => Err(Refusal::not_implemented(format!("{name}: {why}"))),
        #[cfg(feature = "profile")]
        Shows::Tasks if pictured => profiles::picture(profile.name, false, query).await,
        #[cfg(feature = "profile")]
        Shows::Tasks => profiles::tasks(profile.name, false, query).await,
        #[cfg(feature = "profile")]
        Shows::Leaked if pictured => profiles::picture(profile.name, true, query).await,
        #[cfg(feature = "profile")]
        Shows::Leaked => profiles::tasks(profile.name, true, query).await,
        #[cfg(not(feature = "profile"))]
        Shows::Tasks | Shows::Leaked | Shows::Threads => Err(Refusal::not_implemented(format!(
            "{name}: this build is without the feature `profile`"
        ))),
        _ if pictured => return Err(unknown()),
        #[cfg(feature = "profile")]
        Shows::Threads => profiles::threads(profile.name, query),
        Shows::CommandLine => command_line(&settings, query),
        Shows::Symbols => Ok(symbols()),
    };
    answer.map_err(Refusal::of_pprof)
}

/// The words of the command line with a NUL between them, as Go's.
fn command_line(settings: &Settings, query: Option<&str>) -> Result<Response, Refusal> {
    Query::parse(query, &[])?;
    if !settings.command_line {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "cmdline: a command line can hold secrets, so that it is shown only where the service allows it \
             (`show_command_line`)",
        ));
    }
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Ok(([(CONTENT_TYPE, TEXT)], words.join("\0")).into_response())
}

/// In Go's form: that there are no symbols to ask for, since profiles carry theirs.
fn symbols() -> Response {
    ([(CONTENT_TYPE, TEXT)], "num_symbols: 0\n").into_response()
}

fn render() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>/debug/pprof/</title>\n</head>\n<body>\n\
         <h1>/debug/pprof/</h1>\n<p>Types of profiles:</p>\n<table>\n\
         <thead><tr><th>Count</th><th>Profile</th></tr></thead>\n<tbody>\n",
    );
    for profile in PROFILES {
        let name = escape(profile.name);
        let count = profile
            .shows
            .count()
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        let links = if profile.shows.is_missing() {
            format!("{name} (not available)")
        } else {
            match profile.shows {
                Shows::Tasks | Shows::Leaked => format!(
                    "<a href=\"{name}?debug=1\">{name}</a> (<a href=\"{name}?debug=2\">each task</a>, \
                     <a href=\"{name}/flamegraph\">flame graph</a>)"
                ),
                Shows::Threads => format!("<a href=\"{name}?debug=1\">{name}</a>"),
                Shows::CommandLine | Shows::Symbols | Shows::Missing(_) => name,
            }
        };
        // To write to a string cannot fail.
        let _ = writeln!(page, "<tr><td>{count}</td><td>{links}</td></tr>");
    }
    page.push_str("</tbody>\n</table>\n<h2>Profile descriptions</h2>\n<dl>\n");
    for profile in PROFILES {
        let (name, about) = (escape(profile.name), escape(profile.about));
        let missing = match profile.shows {
            Shows::Missing(why) => format!(" Not available: {}.", escape(why)),
            shows if shows.is_missing() => {
                " Not available: this build is without the feature `profile`.".to_owned()
            }
            _ => String::new(),
        };
        let _ = writeln!(page, "<dt>{name}</dt><dd>{about}.{missing}</dd>");
    }
    page.push_str("</dl>\n</body>\n</html>\n");
    page
}

/// A name of the contract.
struct Profile {
    name: &'static str,
    about: &'static str,
    shows: Shows,
}

/// What answers under a name.
#[derive(Clone, Copy, Debug)]
enum Shows {
    Tasks,
    /// Those with a verdict.
    Leaked,
    Threads,
    CommandLine,
    Symbols,
    /// Nothing yet, for that reason.
    Missing(&'static str),
}

impl Shows {
    fn is_missing(self) -> bool {
        match self {
            Self::Missing(_) => true,
            Self::Tasks | Self::Leaked | Self::Threads => cfg!(not(feature = "profile")),
            Self::CommandLine | Self::Symbols => false,
        }
    }

    fn count(self) -> Option<u64> {
        match self {
            Self::Tasks => Some(registry::kinds().iter().map(registry::KindSummary::live).sum()),
            // As the last sweep saw it: to look at every task is not the index's to do.
            Self::Leaked => {
                let sweep = registry::last_sweep()?;
                let leaked = sweep
                    .kinds
                    .iter()
                    .map(|kind| kind.orphaned.saturating_add(kind.overstayed));
                Some(leaked.sum())
            }
            #[cfg(feature = "profile")]
            Self::Threads => profiles::thread_count(),
            _ => None,
        }
    }
}

const fn profile_of(name: &'static str, about: &'static str, shows: Shows) -> Profile {
    Profile { name, about, shows }
}

const LATER: Shows = Shows::Missing("this version does not sample yet");

const PROFILES: &[Profile] = &[
    profile_of("tasks", "Live tasks by await point", Shows::Tasks),
    profile_of(
        "goroutine",
        "The same, under the name that Go's tools know",
        Shows::Tasks,
    ),
    profile_of(
        "taskleak",
        "Live tasks with a verdict, by await point",
        Shows::Leaked,
    ),
    profile_of(
        "goroutineleak",
        "The same, under the name that Go's tools know",
        Shows::Leaked,
    ),
    profile_of("profile", "CPU time by kind", LATER),
    profile_of("wall", "Where the time of tasks goes", LATER),
    profile_of("block", "The part of it off the CPU", LATER),
    profile_of("heap", "Memory that is alive", LATER),
    profile_of("allocs", "Memory that was ever allocated", LATER),
    profile_of("threadcreate", "OS threads, by name", Shows::Threads),
    profile_of(
        "cmdline",
        "The command line, where the service allows it",
        Shows::CommandLine,
    ),
    profile_of(
        "symbol",
        "Names of addresses: none, since profiles carry theirs",
        Shows::Symbols,
    ),
    profile_of(
        "trace",
        "An execution trace",
        Shows::Missing("tokio has no tracer of execution to read from"),
    ),
];
