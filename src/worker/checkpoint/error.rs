//! What can go wrong with a checkpoint.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint was not loaded or committed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Another process has the file open, or another store of this one: end that first.
    #[non_exhaustive]
    InUse {
        /// The file of the checkpoint.
        path: PathBuf,
    },
    /// The file is not a checkpoint, or not a whole one: restore it, or delete it to begin anew.
    #[non_exhaustive]
    Damaged {
        /// The file of the checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The value has more than [`MAX_CHECKPOINT_BYTES`](super::MAX_CHECKPOINT_BYTES): commit a smaller one.
    #[non_exhaustive]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// The system refused: see the source.
    #[non_exhaustive]
    Io {
        /// What it was to do.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A later run has resumed since: end this one.
    Superseded,
    /// It is not known whether it was done: the store panicked, or the runtime is shutting down. Resume anew.
    Unknown,
    /// A store of your own failed.
    Store(Box<dyn Error + Send + Sync>),
}

impl CheckpointError {
    /// The error of a store of your own.
    pub fn store(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Store(error.into())
    }

    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => write!(
                f,
                "checkpoint {} is in use: end the process or the store that has it open",
                path.display()
            ),
            Self::Damaged { path, why } => write!(
                f,
                "checkpoint {} is damaged, {why}: restore it, or delete it to begin anew",
                path.display()
            ),
            Self::TooLarge { bytes } => write!(
                f,
                "a checkpoint of {bytes} bytes is too large: at most {}",
                super::MAX_CHECKPOINT_BYTES
            ),
            Self::Io { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Self::Superseded => f.write_str("a later run has resumed from this checkpoint: end this one"),
            Self::Unknown => f.write_str("not known whether the checkpoint was committed: resume anew"),
            Self::Store(error) => write!(f, "the store failed: {error}"),
        }
    }
}

impl Error for CheckpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Store(error) => Some(&**error),
            Self::InUse { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::Superseded
            | Self::Unknown => None,
        }
    }
}
