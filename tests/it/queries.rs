//! Parameters: what is wrong is named, and what is not here yet says so.

use proptest::prelude::*;

use crate::client::{get, get_lines};

#[tokio::test]
async fn bad_values_are_refused_by_name() {
    let long = "x".repeat(10_000);
    for (key, values) in [
        (
            "limit",
            &[
                "",
                "-1",
                "0",
                "NaN",
                "1e308",
                "1.5",
                "0x10",
                "10001",
                "99999999999999999999",
                "%00",
            ][..],
        ),
        (
            "min_age",
            &["", "-1", "NaN", "inf", "1e308", "9999999999", "1d", "%00"],
        ),
        ("stacks", &["", "-1", "NaN", "1e308", "%00"]),
        (
            "state",
            &["", "-1", "NaN", "waiting", "IDLE", "%00", "idle,running"],
        ),
        ("verdict", &["", "-1", "NaN", "leaked", "%00"]),
        ("sort", &["", "-1", "NaN", "color", "%00"]),
        ("group_by", &["", "-1", "NaN", "color", "%00"]),
        ("kind", &["", "%00", "%ff", "%1b[31m", &long[..65]]),
    ] {
        for value in values {
            let answer = get(&format!("/debug/tasks?{key}={value}")).await;
            assert_eq!(answer.status, 400, "{key}={value}: {}", answer.body);
            assert!(answer.body.contains(key), "{}", answer.body);
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert!(answer.body.lines().count() == 1 && !answer.body.trim_end().contains(char::is_control));
        }
        let value = values.last().unwrap();
        let answer = get(&format!("/debug/tasks?{key}={value}&{key}={value}")).await;
        assert_eq!(answer.status, 400);
        let answer = get(&format!("/debug/tasks?{key}={long}")).await;
        assert_eq!(
            (answer.status, &*answer.body),
            (400, "the query is longer than 4096 bytes\n")
        );
    }
    for good in [
        "",
        "?",
        "?limit=1",
        "?limit=10000",
        "?min_age=0",
        "?min_age=1.5",
        "?min_age=500ms",
        "?stacks=0",
        "?state=idle",
        "?verdict=orphaned",
        "?verdict=overstayed",
        "?sort=age&limit=5",
        "?group_by=kind",
        "?group_by=spawned_at",
        "?kind=no%20such+kind",
    ] {
        assert_eq!(get(&format!("/debug/tasks{good}")).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn unknown_and_repeated_parameters_are_refused_on_every_route() {
    for path in [
        "/",
        "/debug/tasks",
        "/debug/tasks/1",
        "/debug/kinds",
        "/debug/exits",
        "/debug/scopes",
        "/debug/events",
        "/debug/supervisors",
        "/debug/pprof/",
    ] {
        let answer = get(&format!("{path}?color=red")).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(
            answer.body.starts_with("unknown parameter `color`"),
            "{}",
            answer.body
        );
    }
    for path in ["/debug/tasks?kind=a&kind=b", "/debug/exits?limit=1&limit=1"] {
        let answer = get(path).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("is given twice"), "{}", answer.body);
    }
    let answer = get("/debug/tasks?color=red").await;
    assert!(
        answer
            .body
            .contains("kind, state, verdict, min_age, sort, limit, stacks, group_by")
    );
}

#[tokio::test]
async fn what_arrives_later_is_not_implemented_and_says_why() {
    for query in ["verdict=overdue", "verdict=suspected"] {
        let answer = get(&format!("/debug/tasks?{query}")).await;
        assert_eq!(answer.status, 501, "{query}");
        assert!(answer.body.contains("this version"), "{}", answer.body);
    }
    for profile in [
        "profile",
        "wall",
        "block",
        "heap",
        "allocs",
        "trace",
        "heap/flamegraph",
    ] {
        let answer = get(&format!("/debug/pprof/{profile}")).await;
        assert_eq!(
            (answer.status, answer.header("x-go-pprof")),
            (501, "1"),
            "{profile}"
        );
    }
}

#[tokio::test]
async fn exits_take_their_own_parameters() {
    for bad in [
        "limit=0",
        "limit=10001",
        "limit=-1",
        "outcome=died",
        "kind=",
        "state=idle",
    ] {
        assert_eq!(get(&format!("/debug/exits?{bad}")).await.status, 400, "{bad}");
    }
    for good in ["limit=1", "outcome=panicked", "kind=x&outcome=failed&limit=10"] {
        assert_eq!(get(&format!("/debug/exits?{good}")).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn ids_are_whole_numbers() {
    for id in [
        "x",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        "%00",
        "99999999999999999999",
        "1%2F2",
        "..%2f..%2fetc%2fpasswd",
    ] {
        let answer = get(&format!("/debug/tasks/{id}")).await;
        assert_eq!(answer.status, 400, "{id}");
        assert!(answer.body.contains("is not the id of a task"), "{}", answer.body);
    }
    for id in ["0", "18446744073709551615"] {
        let answer = get(&format!("/debug/tasks/{id}")).await;
        assert_eq!(answer.status, 404);
        assert!(answer.body.contains(id), "{}", answer.body);
    }
}

#[tokio::test]
async fn profiles_answer_in_go_s_words() {
    let answer = get("/debug/pprof/nothing").await;
    assert_eq!((answer.status, &*answer.body), (404, "Unknown profile\n"));
    assert_eq!(answer.header("x-go-pprof"), "1");
    let answer = get("/debug/pprof").await;
    assert_eq!((answer.status, answer.header("location")), (307, "pprof/"));
    let answer = get("/debug/pprof/").await;
    assert!(
        answer.body.contains("<tr><th>Count</th><th>Profile</th></tr>"),
        "{}",
        answer.body
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_asked_the_answer_is_one_of_a_few(path in any::<Vec<u8>>(), query in "[ -~]{0,40}") {
        let encoded: String = path.iter().map(|byte| format!("%{byte:02x}")).collect();
        let query: String = query.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'=' | b'&' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for path in [
                format!("/{encoded}"),
                format!("/debug/tasks/{encoded}"),
                format!("/debug/pprof/{encoded}"),
                format!("/debug/tasks?{query}"),
                format!("/debug/tasks?kind={encoded}&{query}"),
                format!("/debug/exits?{query}"),
            ] {
                for answer in [get(&path).await, get_lines(&path).await] {
                    assert!([200, 307, 400, 404, 501].contains(&answer.status), "{path}: {answer:?}");
                }
            }
        });
    }
}
