//! Who may ask, shown on every route: the decisions' own tables stand beside them.

use axum::Router;
use axum::http::{Method, Request};
use axum::routing::get;
use lifespan::agent::Readiness;
use lifespan::server::{self, Access, Settings};

use crate::client::{ask, router};

const ROUTES: [&str; 14] = [
    "/",
    "/metrics",
    "/livez",
    "/readyz",
    "/debug/tasks",
    "/debug/tasks/1",
    "/debug/kinds",
    "/debug/exits",
    "/debug/scopes",
    "/debug/events",
    "/debug/supervisors",
    "/debug/pprof",
    "/debug/pprof/",
    "/debug/pprof/tasks",
];

fn with_token() -> Router {
    let access = Access::new().token("s3cret").unwrap();
    server::router(&Settings::new().access(access))
}

#[tokio::test]
async fn a_foreign_host_is_misdirected_on_every_route() {
    for path in ROUTES {
        let answer = ask(router(), Request::get(path).header("host", "evil.example")).await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.body.contains("`evil.example`"), "{}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_foreign_origin_is_forbidden_on_every_route() {
    for path in ROUTES {
        let request = Request::get(path).header("host", "localhost");
        let answer = ask(router(), request.header("origin", "https://evil.example")).await;
        assert_eq!(answer.status, 403, "{path}");
    }
}

#[tokio::test]
async fn an_allowed_name_is_let_in() {
    let access = Access::new().allow_host("metrics.example.org").unwrap();
    let app = server::router(&Settings::new().access(access));
    let request = Request::get("/livez").header("host", "Metrics.example.org:9464");
    assert_eq!(ask(app, request).await.status, 200);
}

#[tokio::test]
async fn a_token_is_asked_for_on_every_route_but_the_health_checks() {
    for path in ROUTES {
        let request = || Request::get(path).header("host", "localhost");
        let is_health = ["/livez", "/readyz"].contains(&path);
        let answer = ask(with_token(), request()).await;
        assert_eq!(answer.status == 401, !is_health, "{path}: {}", answer.status);
        if !is_health {
            assert!(answer.header("www-authenticate").contains("Bearer"));
            assert!(!answer.body.contains("s3cret"));
        }
        for wrong in ["Bearer s3cre", "Basic czNjcmV0", "s3cret"] {
            let answer = ask(with_token(), request().header("authorization", wrong)).await;
            assert_eq!(answer.status == 401, !is_health, "{path} {wrong}");
        }
        for right in ["Bearer s3cret", "Basic cHJvbWV0aGV1czpzM2NyZXQ="] {
            let answer = ask(with_token(), request().header("authorization", right)).await;
            assert_ne!(answer.status, 401, "{path} {right}");
            assert!(!answer.body.contains("s3cret") && !format!("{:?}", answer.headers).contains("s3cret"));
        }
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    for path in ROUTES {
        for method in [
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let request = Request::builder().method(method.clone()).uri(path);
            let answer = ask(router(), request.header("host", "localhost")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), "GET, HEAD");
        }
        let answer = ask(router(), Request::head(path).header("host", "localhost")).await;
        assert_eq!(answer.body, "", "{path}");
        assert_ne!(answer.status, 405, "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_safe_to_show() {
    let good = ROUTES.map(|path| Request::get(path).header("host", "localhost"));
    let bad = ROUTES.map(|path| Request::post(path).header("host", "evil.example"));
    for request in good.into_iter().chain(bad) {
        let answer = ask(router(), request).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn in_an_app_of_the_hosts_own_the_guards_stand_before_our_routes_alone() {
    let nested = Router::new()
        .route("/hello", get(async || "hello"))
        .nest("/internal", with_token());
    let merged = Router::new()
        .route("/hello", get(async || "hello"))
        .merge(with_token());
    for (app, prefix) in [(nested, "/internal"), (merged, "")] {
        let from = |path: &str, host| Request::get(path.to_owned()).header("host", host);
        assert_eq!(
            ask(app.clone(), from("/hello", "shop.example")).await.body,
            "hello"
        );
        let path = format!("{prefix}/debug/kinds");
        assert_eq!(ask(app.clone(), from(&path, "shop.example")).await.status, 421);
        assert_eq!(ask(app.clone(), from(&path, "localhost")).await.status, 401);
        let request = from(&path, "localhost").header("authorization", "Bearer s3cret");
        assert_eq!(ask(app.clone(), request).await.status, 200);
        assert_eq!(
            ask(app.clone(), from(&format!("{prefix}/livez"), "localhost"))
                .await
                .status,
            200
        );
        assert_eq!(
            ask(app.clone(), from("/elsewhere", "shop.example")).await.status,
            404
        );
    }
}

#[tokio::test]
async fn the_page_links_to_where_it_is_mounted() {
    let app = Router::new().nest("/internal", router());
    let answer = ask(app, Request::get("/internal").header("host", "localhost")).await;
    assert!(
        answer.body.contains(r#"href="/internal/debug/tasks""#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn readiness_says_why_not() {
    let readiness = Readiness::new();
    let app = server::router(&Settings::new().readiness(readiness.clone()));
    let reasons = async || {
        let answer = ask(app.clone(), Request::get("/readyz").header("host", "localhost")).await;
        assert_eq!(answer.status == 200, answer.body == "ok\n");
        // Supervisors of other tests give up meanwhile.
        let own = answer
            .body
            .lines()
            .filter(|line| *line != "ok" && !line.starts_with("supervisor "));
        own.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(reasons().await.is_empty());
    let draining = readiness.hold("it drains");
    let warming = readiness.hold("the cache is cold");
    assert_eq!(reasons().await, ["it drains", "the cache is cold"]);
    drop(draining);
    assert_eq!(reasons().await, ["the cache is cold"]);
    drop(warming);
    assert!(reasons().await.is_empty());
}
