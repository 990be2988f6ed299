//! `/`, and what is nowhere.

use axum::extract::{OriginalUri, RawQuery};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};

use super::query::Query;
use super::refusal::{Refusal, shown};

/// The page. Its links begin with where the router is mounted.
pub(super) async fn page(
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    Query::parse(query.as_deref(), &[])?;
    let page = PAGE.replace("{base}", &escape(uri.path().trim_end_matches('/')));
    Ok(([(CONTENT_TYPE, HTML)], page).into_response())
}

pub(super) async fn not_found(uri: Uri) -> Refusal {
    let path = shown(uri.path());
    Refusal::not_found(format!("nothing is at `{path}`: `/` links all there is"))
}

/// Text that can stand in HTML, between tags and in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PAGE: &str = include_str!("../web/index.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_html_knows_is_left() {
        assert_eq!(
            escape("</script>\"'&\u{e9}"),
            "&lt;/script&gt;&quot;&#39;&amp;\u{e9}"
        );
    }
}
