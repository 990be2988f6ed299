//! Text from the host, cleaned where it comes in.
//!
//! Each output escapes for its own context as well; this keeps what no context needs out of all of them: a
//! terminal's escape sequences, line breaks in a log, and characters that reorder what a person reads.

use std::borrow::Cow;

/// `text` cut to `most` bytes at a character's boundary, with control and bidirectional formatting
/// characters replaced by `_`.
pub(crate) fn clean(text: &str, most: usize) -> Cow<'_, str> {
    let text = cut(text, most);
    if text.chars().any(is_hostile) {
        // `_` is one byte and none of these is shorter, so that the result is not longer.
        Cow::Owned(
            text.chars()
                .map(|c| if is_hostile(c) { '_' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// As [`clean`], but keeps line breaks: for text that is shown as text, such as a panic's message.
pub(crate) fn clean_lines(text: &str, most: usize) -> String {
    let text = cut(text, most);
    text.chars()
        .map(|c| if c != '\n' && is_hostile(c) { '_' } else { c })
        .collect()
}

/// At most `most` bytes of it, whole characters. (`str::floor_char_boundary` is newer than our oldest compiler.)
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Bidirectional marks, embeddings, overrides and isolates; separators of lines and paragraphs.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_hostile_is_left_and_nothing_grows(text in ".*", most in 0usize..80) {
            let cleaned = clean(&text, most);
            prop_assert!(cleaned.len() <= most);
            prop_assert!(!cleaned.chars().any(is_hostile));
            prop_assert!(!clean_lines(&text, most).chars().any(|c| c != '\n' && is_hostile(c)));
        }
    }
}
