//! What the endpoints say of tasks.

use std::collections::HashSet;
use std::future::pending;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{get, get_lines};

const FIELDS: [&str; 26] = [
    "id",
    "kind",
    "name",
    "state",
    "outcome",
    "age_seconds",
    "idle_seconds",
    "busy_seconds",
    "polls",
    "wakes",
    "self_wakes",
    "wakers",
    "woken_by",
    "parent",
    "scope",
    "supervisor",
    "runtime",
    "trace_id",
    "spawned_at",
    "waiting_at",
    "future_bytes",
    "attributes",
    "labels",
    "verdict",
    "nature",
    "sampled_at",
];

fn tasks(answer: &Value) -> &Vec<Value> {
    answer["tasks"].as_array().unwrap()
}

fn ids(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_row_says_what_its_task_is() {
    let task = lifespan::Builder::new("endpoints-row")
        .name("shard-7")
        .attribute("shard", 7)
        .attribute("zone", "a")
        .attribute("shard", 8)
        .spawn(pending::<()>());
    let line = line!() - 1;
    tokio::task::yield_now().await;
    let answer = get("/debug/tasks?kind=endpoints-row").await;
    // In the order of the contract, which a parsed object does not keep.
    let rows = &answer.body[answer.body.find("\"tasks\":").unwrap()..];
    let at: Vec<usize> = FIELDS
        .iter()
        .map(|field| rows.find(&format!("\"{field}\":")).unwrap())
        .collect();
    assert!(at.is_sorted(), "{}", answer.body);
    let answer = answer.json();
    assert_eq!(
        (&answer["total"], &answer["truncated"]),
        (&json!(1), &json!(false))
    );
    assert!(answer["sampled_at"].as_str().unwrap().ends_with('Z'));
    let row = tasks(&answer)[0].as_object().unwrap();
    let fields: HashSet<&str> = row.keys().map(String::as_str).collect();
    assert_eq!(fields, HashSet::from(FIELDS));
    assert_eq!(row["nature"], "future");
    assert!(row["sampled_at"].as_str().unwrap() >= answer["sampled_at"].as_str().unwrap());
    assert_eq!(row["kind"], "endpoints-row");
    assert_eq!(row["name"], "shard-7");
    assert_eq!(row["state"], "idle");
    assert_eq!(row["polls"], 1);
    assert_eq!(row["attributes"], json!({"shard": "8", "zone": "a"}));
    let place = row["spawned_at"].as_str().unwrap();
    assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
    for later in [
        "outcome",
        "scope",
        "supervisor",
        "trace_id",
        "waiting_at",
        "labels",
        "verdict",
    ] {
        assert_eq!(row[later], Value::Null, "{later}");
    }
    task.abort();
}

#[tokio::test]
async fn filters_select_and_the_total_counts_what_is_beyond_the_limit() {
    let tasks_of: Vec<_> = (0..10)
        .map(|_| lifespan::spawn("endpoints-filter", pending::<()>()))
        .collect();
    let total = async |query: &str| {
        let answer = get(&format!("/debug/tasks?kind=endpoints-filter&{query}"))
            .await
            .json();
        (
            answer["total"].as_u64().unwrap(),
            tasks(&answer).len(),
            answer["truncated"].as_bool().unwrap(),
        )
    };
    tokio::task::yield_now().await;
    assert_eq!(total("state=scheduled").await, (0, 0, false));
    assert_eq!(total("state=idle&limit=3").await, (10, 3, true));
    assert_eq!(total("limit=10").await, (10, 10, false));
    assert_eq!(total("min_age=1h").await, (0, 0, false));
    assert_eq!(total("min_age=0").await, (10, 10, false));
    assert_eq!(total("sort=age&limit=4").await, (10, 4, true));
    tasks_of.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_verdict_of_a_task_that_nothing_can_wake() {
    let stuck = lifespan::spawn("endpoints-orphan", pending::<()>());
    let timer = lifespan::spawn("endpoints-orphan", tokio::time::sleep(Duration::from_secs(600)));
    tokio::task::yield_now().await;
    lifespan::registry::sweep();
    lifespan::registry::sweep();
    let answer = get("/debug/tasks?kind=endpoints-orphan&verdict=orphaned")
        .await
        .json();
    assert_eq!(answer["total"], 1);
    assert_eq!(tasks(&answer)[0]["verdict"], "orphaned");
    assert_eq!(tasks(&answer)[0]["wakers"], 0);
    stuck.abort();
    timer.abort();
}

#[tokio::test]
async fn the_largest_come_first() {
    let yields = |times: usize| async move {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
        pending::<()>().await;
    };
    let tasks_of: Vec<_> = [3, 9, 1, 7, 5]
        .into_iter()
        .map(|times| lifespan::spawn("endpoints-sort", yields(times)))
        .collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let polls =
        |rows: &[Value]| -> Vec<u64> { rows.iter().map(|row| row["polls"].as_u64().unwrap()).collect() };
    let answer = get("/debug/tasks?kind=endpoints-sort&sort=polls&limit=3")
        .await
        .json();
    assert_eq!(polls(tasks(&answer)), [10, 8, 6]);
    let lines = get_lines("/debug/tasks?kind=endpoints-sort&sort=wakes")
        .await
        .lines();
    assert_eq!(polls(&lines), [10, 8, 6, 4, 2]);
    // The oldest has the smallest id.
    let answer = get("/debug/tasks?kind=endpoints-sort&sort=age").await.json();
    assert!(ids(tasks(&answer)).is_sorted());
    tasks_of.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_stream_has_all_of_them_once() {
    let tasks_of: Vec<_> = (0..5_000)
        .map(|_| lifespan::spawn("endpoints-stream", pending::<()>()))
        .collect();
    let answer = get_lines("/debug/tasks?kind=endpoints-stream").await;
    let streamed: HashSet<u64> = ids(&answer.lines()).into_iter().collect();
    assert_eq!(streamed.len(), 5_000);
    let answer = get_lines("/debug/tasks?kind=endpoints-stream&limit=1234").await;
    assert_eq!(answer.lines().len(), 1_234);
    let answer = get("/debug/tasks?kind=endpoints-stream").await.json();
    assert_eq!(
        (answer["total"].as_u64(), tasks(&answer).len()),
        (Some(5_000), 1_000)
    );
    tasks_of.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn groups_count_what_tasks_have_in_common() {
    let here: Vec<_> = (0..3)
        .map(|_| lifespan::spawn("endpoints-group", pending::<()>()))
        .collect();
    let there = lifespan::spawn("endpoints-group", pending::<()>());
    tokio::task::yield_now().await;
    let answer = get("/debug/tasks?kind=endpoints-group&group_by=kind")
        .await
        .json();
    let group = &answer["groups"][0];
    assert_eq!(
        (&answer["total"], &group["kind"], &group["live"]),
        (&json!(4), &json!("endpoints-group"), &json!(4))
    );
    assert_eq!(group["states"], json!({"idle": 4, "scheduled": 0, "running": 0}));
    let answer = get("/debug/tasks?kind=endpoints-group&group_by=spawned_at")
        .await
        .json();
    let live: Vec<u64> = (answer["groups"].as_array().unwrap().iter())
        .map(|group| group["live"].as_u64().unwrap())
        .collect();
    assert_eq!(live, [3, 1]);
    assert!(
        answer["groups"][0]["spawned_at"]
            .as_str()
            .unwrap()
            .starts_with(file!())
    );
    here.iter()
        .chain([&there])
        .for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn kinds_say_what_the_registry_says() {
    lifespan::spawn("endpoints-kinds", async {}).await.unwrap();
    let lives = lifespan::spawn("endpoints-kinds", pending::<()>());
    tokio::task::yield_now().await;
    lifespan::registry::sweep();
    let answer = get("/debug/kinds").await.json();
    let kinds = answer["kinds"].as_array().unwrap();
    let kind = kinds
        .iter()
        .find(|kind| kind["kind"] == "endpoints-kinds")
        .unwrap();
    assert_eq!((&kind["spawned"], &kind["live"]), (&json!(2), &json!(1)));
    assert_eq!(
        kind["finished"],
        json!({"completed": 1, "failed": 0, "panicked": 0, "cancelled": 0})
    );
    assert_eq!(kind["swept"]["states"]["idle"], 1);
    assert_eq!(
        (&kind["poll"]["count"], &kind["lifetime"]["count"]),
        (&json!(2), &json!(1))
    );
    lives.abort();
}

#[tokio::test]
async fn one_task_is_found_alive_and_after_its_end() {
    // Exits are kept while an agent runs.
    let agent = lifespan::Agent::builder("test").without_server().start().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (told, id) = tokio::sync::oneshot::channel();
    let task = lifespan::Builder::new("endpoints-one")
        .name("one")
        .spawn(async move {
            told.send(lifespan::current().unwrap()).unwrap();
            let _ = ended.await;
        });
    let id = id.await.unwrap();
    let answer = get(&format!("/debug/tasks/{id}")).await.json();
    assert_eq!(
        (&answer["id"], &answer["name"]),
        (&json!(id.get()), &json!("one"))
    );
    assert_eq!((&answer["state"], &answer["exits"]), (&json!("idle"), &json!([])));
    end.send(()).unwrap();
    task.await.unwrap();
    let answer = get(&format!("/debug/tasks/{id}")).await.json();
    assert_eq!(
        (&answer["state"], &answer["outcome"]),
        (&Value::Null, &json!("completed"))
    );
    assert_eq!(answer["exits"][0]["outcome"], "completed");
    assert_eq!(answer["exits"][0]["name"], "one");
    let answer = get("/debug/exits?kind=endpoints-one&outcome=completed")
        .await
        .json();
    assert_eq!(
        (&answer["total"], &answer["exits"][0]["id"]),
        (&json!(1), &json!(id.get()))
    );
    let answer = get("/debug/exits?kind=endpoints-one&outcome=panicked")
        .await
        .json();
    assert_eq!(answer["total"], 0);
    drop(agent);
}
