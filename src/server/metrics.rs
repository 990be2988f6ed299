//! `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
#[cfg(feature = "prometheus")]
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Settings;
use super::refusal::Refusal;

/// Takes any query, since a scrape job may have parameters of its own.
pub(super) async fn metrics(State(settings): State<Arc<Settings>>) -> Result<Response, Refusal> {
    let text = render(settings.metrics_kinds)?;
    Ok(([(CONTENT_TYPE, EXPOSITION)], text).into_response())
}

#[cfg(feature = "prometheus")]
fn render(kinds: usize) -> Result<String, Refusal> {
    crate::export::prometheus::render(kinds)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

#[cfg(not(feature = "prometheus"))]
fn render(_kinds: usize) -> Result<String, Refusal> {
    Err(Refusal::not_implemented(
        "this build has no metrics: it was built without the feature `prometheus`",
    ))
}

const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
