//! `/debug/events`, as one document.

use lifespan::KindId;
use serde_json::Value;

use super::make;
use crate::client::get;

fn events(answer: &Value) -> &Vec<Value> {
    answer["events"].as_array().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_shows_the_last_oldest_first_and_says_how_many_there_were() {
    let kind = KindId::named("event-listed");
    make(kind, 3).await;
    let all = get("/debug/events?kind=event-listed").await.json();
    assert_eq!(
        (all["total"].as_u64(), all["truncated"].as_bool()),
        (Some(6), Some(false))
    );
    assert!(all["offered"].as_u64().unwrap() >= 6 + all["dropped"].as_u64().unwrap());
    assert!(all["sampled_at"].is_string());
    assert_eq!(events(&all).len(), 6);
    assert!(events(&all).is_sorted_by_key(|event| event["seq"].as_u64()));
    let first = &events(&all)[0];
    assert_eq!(first["event"], "stop_timed_out");
    assert_eq!(first["grace_seconds"], 0.0);
    assert_eq!(first["kind"], "event-listed");
    assert!(first["task"].is_u64() && first["at"].is_string() && first["supervisor"].is_null());
    // Without a place to go on from, the last.
    let last = get("/debug/events?kind=event-listed&limit=2").await.json();
    assert_eq!(last["truncated"], true);
    assert_eq!(events(&last)[..], events(&all)[4..]);
    // With one, the first behind it.
    let path = format!("/debug/events?kind=event-listed&limit=2&after={}", first["seq"]);
    assert_eq!(events(&get(&path).await.json())[..], events(&all)[1..3]);
    let aborted = get("/debug/events?kind=event-listed&event=aborted").await.json();
    assert_eq!(aborted["total"], 3);
    for nobody in [
        "/debug/events?kind=event-unheard-of",
        "/debug/events?kind=event-listed&supervisor=none",
    ] {
        assert_eq!(get(nobody).await.json()["total"], 0, "{nobody}");
    }
}

#[tokio::test]
async fn what_it_cannot_mean_is_refused_by_name() {
    for (query, said) in [
        (
            "limit=0",
            "`0` is no value of `limit`: it takes a whole number from 1 to 4096",
        ),
        ("limit=4097", "`4097` is no value of `limit`"),
        ("after=-1", "`-1` is no value of `after`"),
        (
            "event=exploded",
            "`exploded` is no value of `event`: it takes one of spawned, ready,",
        ),
        ("kind=", "`` is no value of `kind`"),
        ("supervisor=", "`` is no value of `supervisor`"),
        ("supervisor=a%0ab", "`a\\nb` is no value of `supervisor`"),
    ] {
        let answer = get(&format!("/debug/events?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.starts_with(said), "{query}: {}", answer.body);
    }
}
