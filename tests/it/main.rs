//! Integration tests, linked as one binary.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
