//! `/debug/pprof/`: which profiles there are, in the manner of Go's.

use std::fmt::Write as _;

use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};

use super::page::{HTML, escape};
use super::query::Query;
use super::refusal::Refusal;
use crate::registry;

/// Relative, so that it holds wherever the router is mounted.
pub(super) async fn to_index() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "pprof/")]).into_response()
}

pub(super) async fn index(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[]).map_err(Refusal::of_pprof)?;
    let live = registry::kinds().iter().map(registry::KindSummary::live).sum();
    Ok(([(CONTENT_TYPE, HTML)], render(live)).into_response())
}

pub(super) async fn profile(Path(path): Path<String>) -> Refusal {
    let name = path.strip_suffix("/flamegraph").unwrap_or(&path);
    match PROFILES.iter().find(|profile| profile.name == name) {
        Some(profile) => Refusal::not_implemented(format!("{name}: {}", profile.missing)),
        // Go's words: its client knows them.
        None => Refusal::not_found("Unknown profile"),
    }
    .of_pprof()
}

fn render(live: u64) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>/debug/pprof/</title>\n</head>\n<body>\n\
         <h1>/debug/pprof/</h1>\n<p>Types of profiles:</p>\n<table>\n\
         <thead><tr><th>Count</th><th>Profile</th></tr></thead>\n<tbody>\n",
    );
    for profile in PROFILES {
        let name = escape(profile.name);
        let count = match profile.counts {
            Counts::Tasks => live.to_string(),
            Counts::Nothing => "-".to_owned(),
        };
        // To write to a string cannot fail.
        let _ = writeln!(page, "<tr><td>{count}</td><td>{name} (not available)</td></tr>");
    }
    page.push_str("</tbody>\n</table>\n<h2>Profile descriptions</h2>\n<dl>\n");
    for profile in PROFILES {
        let (name, about, missing) = (
            escape(profile.name),
            escape(profile.about),
            escape(profile.missing),
        );
        let _ = writeln!(page, "<dt>{name}</dt><dd>{about}. Not available: {missing}.</dd>");
    }
    page.push_str("</dl>\n</body>\n</html>\n");
    page
}

/// A name of the contract, and why it does not answer yet.
struct Profile {
    name: &'static str,
    counts: Counts,
    about: &'static str,
    missing: &'static str,
}

enum Counts {
    Tasks,
    Nothing,
}

const LATER: &str = "this version does not capture stacks yet";

const fn profile_of(name: &'static str, counts: Counts, about: &'static str) -> Profile {
    Profile {
        name,
        counts,
        about,
        missing: LATER,
    }
}

const PROFILES: &[Profile] = &[
    profile_of("tasks", Counts::Tasks, "Live tasks by await point"),
    profile_of(
        "goroutine",
        Counts::Tasks,
        "The same, under the name that Go's tools know",
    ),
    profile_of("taskleak", Counts::Nothing, "Live tasks with a verdict"),
    profile_of(
        "goroutineleak",
        Counts::Nothing,
        "The same, under the name that Go's tools know",
    ),
    profile_of("profile", Counts::Nothing, "CPU time by kind"),
    profile_of("wall", Counts::Nothing, "Where the time of tasks goes"),
    profile_of("block", Counts::Nothing, "The part of it off the CPU"),
    profile_of("heap", Counts::Nothing, "Memory that is alive"),
    profile_of("allocs", Counts::Nothing, "Memory that was ever allocated"),
    profile_of("threadcreate", Counts::Nothing, "OS threads"),
    profile_of("cmdline", Counts::Nothing, "The command line"),
    profile_of("symbol", Counts::Nothing, "Names of addresses"),
    profile_of("trace", Counts::Nothing, "An execution trace"),
];
