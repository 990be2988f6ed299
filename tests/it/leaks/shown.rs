//! A leak is in rows, groups, metrics and events alike.

use std::future::pending;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use lifespan::event::{Event, recent};
use lifespan::leak::{self, MAX_GROUPS, News, Rules};
use lifespan::registry::{self, DEFAULT_YOUNG, KindSummary, SiteStates};
use lifespan::{Agent, Builder, KindId};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::client::{ask_for, get};
use crate::exposition::Scrape;
use crate::support::wait_until;

/// The groups of a kind, as `/debug/leaks` has them.
async fn shown(kind: &str) -> Vec<Value> {
    let answer = get("/debug/leaks?limit=10000").await.json();
    let leaks = answer["leaks"].as_array().unwrap().iter();
    leaks.filter(|leak| leak["kind"] == kind).cloned().collect()
}

fn look() {
    registry::sweep();
    registry::sweep();
    leak::look();
}

#[tokio::test]
async fn the_overdue_are_found_by_filter_row_group_and_metric() {
    const KIND: &str = "leaks-overdue";
    let limited = || Builder::new(KIND).max_lifetime(Duration::from_millis(1));
    let line = line!() + 1;
    let late = limited().spawn(tokio::time::sleep(Duration::from_secs(1_000)));
    let others = [
        Builder::new(KIND)
            .max_lifetime(Duration::from_secs(1_000))
            .spawn(tokio::time::sleep(Duration::from_secs(1_000))),
        lifespan::spawn(KIND, tokio::time::sleep(Duration::from_secs(1_000))),
    ];
    tokio::task::yield_now().await;
    let is_late = || {
        look();
        leak::groups().leaks.iter().any(|leak| leak.kind.name() == KIND)
    };
    wait_until("it is late", is_late);
    let answer = get(&format!("/debug/tasks?kind={KIND}&verdict=overdue"))
        .await
        .json();
    assert_eq!(
        (&answer["total"], &answer["tasks"][0]["verdict"]),
        (&json!(1), &json!("overdue"))
    );
    let groups = get(&format!("/debug/tasks?kind={KIND}&group_by=kind"))
        .await
        .json();
    assert_eq!(
        (&groups["groups"][0]["overdue"], &groups["groups"][0]["suspected"]),
        (&json!(1), &json!(0))
    );
    let [group] = &shown(KIND).await[..] else {
        panic!("not one group")
    };
    assert_eq!(
        (&group["verdict"], &group["exact"], &group["tasks"]),
        (&json!("overdue"), &json!(true), &json!(1))
    );
    let site = format!("{}:{line}:", file!());
    let evidence = group["evidence"].as_str().unwrap();
    assert!(
        group["spawned_at"].as_str().unwrap().starts_with(&site),
        "{group}"
    );
    assert!(
        evidence.starts_with(&format!("1 `{KIND}` task spawned at {site}")),
        "{evidence}"
    );
    let scrape = Scrape::take(usize::MAX);
    let samples = &scrape.family("lifespan_tasks_leaked").unwrap().samples;
    let ours: Vec<_> = samples
        .iter()
        .filter(|sample| sample.labels["kind"] == KIND)
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!((&*ours[0].labels["verdict"], ours[0].value), ("overdue", 1.0));
    late.abort();
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn text_is_for_who_asks_for_it() {
    let task = lifespan::spawn("leaks-text", pending::<()>());
    tokio::task::yield_now().await;
    look();
    for (path, accept, is_text) in [
        ("/debug/leaks", "text/plain", true),
        ("/debug/leaks", "text/plain;q=0.5, application/json", true),
        ("/debug/leaks", "application/json, text/plain", false),
        ("/debug/leaks", "*/*", false),
        ("/debug/leaks?format=text", "application/json", true),
        ("/debug/leaks?format=json", "text/plain", false),
    ] {
        let answer = ask_for(path, accept).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.starts_with("leaks: "), is_text, "{path} {accept}");
        assert_eq!(answer.header("vary"), "accept");
    }
    let text = get("/debug/leaks?format=text&verdict=orphaned&limit=10000")
        .await
        .body;
    let line = text.lines().find(|line| line.contains("`leaks-text`")).unwrap();
    assert!(
        line.starts_with("orphaned: 1 `leaks-text` task spawned at tests/it/leaks/shown.rs:"),
        "{line}"
    );
    assert!(
        line.contains("waits, and nothing is left that could wake it"),
        "{line}"
    );
    for bad in ["format=xml", "verdict=lost", "limit=0", "color=red"] {
        assert_eq!(get(&format!("/debug/leaks?{bad}")).await.status, 400, "{bad}");
    }
    task.abort();
}

/// A site with so many orphans, which no registry knows.
fn site(kind: KindId, orphaned: u64) -> SiteStates {
    let mut site = SiteStates::empty(kind, Location::caller());
    (site.live, site.orphaned) = (orphaned, orphaned);
    site
}

#[test]
fn an_exact_verdict_is_news_once_it_has_lasted() {
    let kind = KindId::named("leaks-news");
    let mut rules = Rules::new(DEFAULT_YOUNG);
    let kinds = [KindSummary::empty(kind)];
    let mut news = Vec::new();
    let sites = |orphaned| [site(kind, orphaned)];
    for second in 0..1_000u64 {
        // A guard that waits for its abort for 5 s, then a leak that grows, with a gap, and ends.
        let orphaned = match second {
            0..5 => 1,
            100..300 | 310..500 => second,
            _ => 0,
        };
        let found = rules.look(&kinds, &sites(orphaned), Duration::from_secs(second));
        assert_eq!(found.leaks.iter().map(|leak| leak.tasks).sum::<u64>(), orphaned);
        news.extend(found.news.into_iter().map(|news| (second, news)));
    }
    let [(raised, News::Raised(first)), (resolved, News::Resolved(last))] = &news[..] else {
        panic!("{news:?}")
    };
    assert_eq!((*raised, first.tasks), (110, 110));
    assert_eq!((*resolved, last.tasks), (800, 0));
    assert_eq!(last.lasted, Duration::from_secs(400));
}

#[test]
fn groups_are_bounded_and_those_passed_over_counted() {
    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }
    #[rustfmt::skip]
    let places = [
        here(), here(), here(), here(), here(), here(), here(), here(), here(), here(), here(),
        here(), here(), here(), here(), here(), here(), here(), here(), here(), here(), here(),
        here(), here(), here(), here(), here(), here(), here(), here(), here(), here(), here(),
    ];
    let kinds = (0..32).map(|number| KindSummary::empty(KindId::named(&format!("leaks-bounded-{number}"))));
    let kinds: Vec<KindSummary> = kinds.collect();
    let pairs = kinds
        .iter()
        .flat_map(|kind| places.map(|place| (kind.kind, place)));
    let sites: Vec<SiteStates> = pairs
        .map(|(kind, place)| SiteStates::empty(kind, place))
        .collect();
    let mut rules = Rules::new(DEFAULT_YOUNG);
    let beyond = (sites.len() - MAX_GROUPS) as u64;
    assert_eq!(rules.look(&kinds, &sites, Duration::ZERO).refused, beyond);
    // Once they are forgotten there is room again.
    assert_eq!(rules.look(&kinds, &[], DEFAULT_YOUNG * 13).refused, beyond);
    assert_eq!(
        rules
            .look(&kinds, &sites[MAX_GROUPS..], DEFAULT_YOUNG * 13)
            .refused,
        beyond
    );
}

#[tokio::test]
async fn the_journal_tells_it_once() {
    let kind = KindId::named("leaks-told");
    let _agent = quick_agent();
    let task = lifespan::spawn(kind, pending::<()>());
    tokio::task::yield_now().await;
    let told = || -> Vec<_> {
        let entries = recent().entries;
        let ours = entries.iter().filter(|entry| entry.subject.kind == Some(kind));
        ours.map(|entry| entry.event.clone()).collect()
    };
    wait_until("it is told", || !told().is_empty());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    wait_until("its end is told", || told().len() > 1);
    let told = told();
    let [
        Event::Leaked {
            verdict,
            tasks: 1,
            spawned_at,
            ..
        },
        Event::LeakResolved { verdict: over, .. },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((*verdict, *over), ("orphaned", "orphaned"));
    assert!(spawned_at.starts_with(file!()), "{spawned_at}");
}

#[tokio::test]
async fn a_capture_can_be_downloaded() {
    let task = lifespan::spawn("leaks-captured", pending::<()>());
    tokio::task::yield_now().await;
    look();
    let capture = leak::capture("asked\nfor").unwrap();
    task.abort();
    let list = get("/debug/leaks/captures").await.json();
    assert!(list["taken"].as_u64().unwrap() >= capture.number);
    let captures = list["captures"].as_array().unwrap();
    let ours = captures
        .iter()
        .find(|ours| ours["number"] == capture.number)
        .unwrap();
    assert_eq!(ours["cause"], "asked_for");
    let answer = get(&format!("/debug/leaks/captures/{}", capture.number)).await;
    let name = format!("attachment; filename=\"leaks-{}.json\"", capture.number);
    assert_eq!(answer.header("content-disposition"), name);
    let whole = answer.json();
    assert_eq!(whole["live"], capture.live);
    assert_eq!(whole["leaks"].as_array().unwrap().len(), capture.leaks.len());
    assert_eq!(whole["sites"].as_array().unwrap().len(), capture.sites.len());
    for missing in ["0", "01", "x", "99999999999999999999999"] {
        assert_eq!(
            get(&format!("/debug/leaks/captures/{missing}")).await.status,
            404,
            "{missing}"
        );
    }
}

/// An agent for which five minutes are 300 ms. All of the process's are so from then on.
fn quick_agent() -> Agent {
    let agent = Agent::builder("leaks").young(Duration::from_millis(300));
    agent.without_server().start().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suspected_are_found_by_filter_row_group_and_metric() {
    let kind = KindId::named("leaks-suspected");
    let _agent = quick_agent();
    let never = Arc::new(Notify::new());
    let (mut leaked, mut rounds) = (Vec::new(), 0);
    let found = || {
        leak::groups()
            .leaks
            .iter()
            .find(|leak| leak.kind == kind)
            .cloned()
    };
    wait_until("it is suspected", || {
        rounds += 1;
        lifespan::spawn(kind, async {});
        if rounds % 8 == 0 {
            leaked.push(lifespan::spawn(kind, Arc::clone(&never).notified_owned()));
        }
        registry::sweep();
        leak::look();
        found().is_some()
    });
    let leak = found().unwrap();
    assert_eq!((leak.verdict, leak.silent), (leak::Verdict::Suspected, true));
    // More on a machine that is busy, where those that end take longer.
    assert!(leak.older_than >= Duration::from_millis(300), "{leak:?}");
    assert!(leak.evidence.contains("lived at most"), "{}", leak.evidence);
    let answer = get(&format!("/debug/tasks?kind={kind}&verdict=suspected"))
        .await
        .json();
    let suspected = answer["total"].as_u64().unwrap();
    assert!(
        (leak.tasks..=leaked.len() as u64).contains(&suspected),
        "{suspected} {leak:?}"
    );
    assert_eq!(answer["tasks"][0]["verdict"], "suspected");
    let groups = get(&format!("/debug/tasks?kind={kind}&group_by=spawned_at"))
        .await
        .json();
    assert!(groups["groups"][0]["suspected"].as_u64().unwrap() >= suspected);
    let scrape = Scrape::take(usize::MAX);
    let samples = &scrape.family("lifespan_tasks_leaked").unwrap().samples;
    let ours = samples
        .iter()
        .find(|sample| sample.labels["kind"] == kind.name())
        .unwrap();
    assert_eq!(
        (&*ours.labels["verdict"], &*ours.labels["spawned_at"]),
        ("suspected", &*leak.spawned_at.to_string())
    );
    never.notify_waiters();
}
