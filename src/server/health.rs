//! `/livez` and `/readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Settings;
use super::refusal::{Refusal, TEXT};
use crate::shutdown::{self, Phase};
use crate::supervisor;

/// The process answers.
pub(super) async fn livez() -> Response {
    ok()
}

/// The service wants traffic; else 503, and each reason on a line.
pub(super) async fn readyz(State(settings): State<Arc<Settings>>) -> Response {
    let mut reasons = settings.readiness.reasons();
    if shutdown::phase() != Phase::Running {
        reasons.insert(0, "shutting down".to_owned());
    }
    let exhausted = supervisor::exhausted();
    reasons.extend(exhausted.iter().map(|path| format!("supervisor {path} gave up")));
    if reasons.is_empty() {
        return ok();
    }
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n")).into_response()
}

fn ok() -> Response {
    ([(CONTENT_TYPE, TEXT)], "ok\n").into_response()
}
