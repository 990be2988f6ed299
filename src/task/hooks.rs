//! What tokio itself says of tasks that are not ours (only with `tokio_unstable`).
