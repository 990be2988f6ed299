//! A checkpoint in memory.

use super::{Checkpoint, CheckpointError};

/// Keeps a value for as long as the process lives: for workers that are to go on after a restart of theirs, but begin
/// anew with the process; and for tests.
///
/// # Examples
///
/// ```
/// use lifespan::worker::{MemoryStore, Progress};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let progress = Progress::new(MemoryStore::default());
/// let (last, mut run) = progress.resume().await?;
/// assert_eq!(last, None);
/// run.commit("page 7").await?;
/// assert_eq!(progress.resume().await?.0, Some("page 7"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore<T> {
    last: Option<T>,
}

impl<T> Default for MemoryStore<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<T: Clone + Send> Checkpoint<T> for MemoryStore<T> {
    fn load(&mut self) -> Result<Option<T>, CheckpointError> {
        Ok(self.last.clone())
    }

    fn commit(&mut self, value: &T) -> Result<(), CheckpointError> {
        self.last = Some(value.clone());
        Ok(())
    }
}
