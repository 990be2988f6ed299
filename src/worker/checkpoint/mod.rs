//! Where a worker that is started again goes on.
//!
//! A worker that reads a stream commits how far it has come: an offset, or any other small value (a [`Position`]). Its
//! next run, after a restart or in a new process, resumes behind what was committed last.
//!
//! * [`Progress`] is the handle that runs of a worker share. It commits off the worker's thread, and lets only the latest
//!   run commit, so that what an aborted one has left underway cannot turn the stream back.
//! * [`Checkpoint`] is where the value is kept: a [`FileStore`], a [`MemoryStore`], or a store of yours, such as a row in
//!   the database that the results go to.
//!
//! # What exactly once means
//!
//! No committed offset is lost, and none is processed again. What was processed and not committed when the process died
//! is processed once more: so either its effect is committed in one transaction with the offset (a store of yours), or it
//! can be repeated without harm.
//!
//! # Examples
//!
//! ```
//! use lifespan::worker::{FileStore, Progress};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.offset");
//! let progress = Progress::<u64>::new(FileStore::open(&path)?); // once, outside of what is restarted
//!
//! for _run in 0..2 {
//!     let (last, mut run) = progress.resume().await?;
//!     let first = last.map_or(0, |last| last + 1);
//!     for offset in first..first + 10 {
//!         /* process it */
//!         run.commit(offset).await?;
//!     }
//! }
//! let (last, _run) = progress.resume().await?;
//! assert_eq!(last, Some(19));
//! # Ok(()) }
//! ```

mod error;
mod fence;
mod file;
mod format;
mod lock;
mod memory;
mod position;
mod progress;

pub use error::CheckpointError;
pub use file::FileStore;
pub use format::MAX_CHECKPOINT_BYTES;
pub use memory::MemoryStore;
pub use position::Position;
pub use progress::{Progress, Run};

/// A place in which one value is kept.
///
/// Both calls may block: through [`Progress`] they run on tokio's pool for blocking code, one at a time.
pub trait Checkpoint<T>: Send {
    /// What was committed last; `None` only where nothing ever was.
    ///
    /// # Errors
    ///
    /// Where that cannot be told.
    fn load(&mut self) -> Result<Option<T>, CheckpointError>;

    /// Replaces what was committed before. When it has returned the value is there to stay; until then, and after an
    /// error, a load finds either this value or the one before, and nothing else.
    ///
    /// # Errors
    ///
    /// Where the value is not known to be kept.
    fn commit(&mut self, value: &T) -> Result<(), CheckpointError>;
}
