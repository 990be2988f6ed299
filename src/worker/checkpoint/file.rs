//! A checkpoint in a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use super::position::Position;
use super::{Checkpoint, format, lock};

/// Keeps a value in a file, so that it outlives the process and the machine's power.
///
/// A commit writes a new file beside the old one, waits until it is on the disk, renames it over the old one, and waits
/// until that is on the disk as well. So whenever the process or the machine stops, the file is the old one or the new
/// one, and whole. A file that is not (since something else wrote it) is an error and never an empty checkpoint: its
/// format has a version and a checksum. Only where there is no file has nothing been committed.
///
/// Beside `path` stand `path.lock`, which stays, and during a commit `path.tmp`; what a killed process left of that is
/// removed by the next [`open`](Self::open). On a network's file system the lock may hold on one machine only.
///
/// Its calls block: for the time in which the disk takes two writes. Use it through [`Progress`](super::Progress) in
/// async code.
///
/// # Examples
///
/// ```
/// use lifespan::worker::{Checkpoint, CheckpointError, FileStore};
///
/// # let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("orders.offset");
/// let mut store = FileStore::open(&path)?;
/// assert_eq!(Checkpoint::<u64>::load(&mut store)?, None);
/// store.commit(&41_u64)?;
/// store.commit(&42_u64)?;
/// assert!(matches!(FileStore::open(&path), Err(CheckpointError::InUse { .. })));
/// drop(store);
/// assert_eq!(FileStore::open(&path)?.load()?, Some(42_u64));
/// # Ok::<(), CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    temporary: PathBuf,
    folder: File,
    folder_path: PathBuf,
    /// Held until the store is dropped.
    _lock: File,
}

impl FileStore {
    /// Opens the checkpoint at that path for this store alone. Its folder must be there; the file is made by the first
    /// commit.
    ///
    /// # Errors
    ///
    /// [`InUse`](CheckpointError::InUse) where another process or store has it open, and what the system says: also
    /// where that is not a unix.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let beside = |extension: &str| {
            let mut name = path.clone().into_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        let (lock_path, temporary) = (beside(".lock"), beside(".tmp"));
        let lock = lock::take(&lock_path).map_err(|error| CheckpointError::io("lock", &lock_path, error))?;
        let Some(lock) = lock else {
            return Err(CheckpointError::InUse { path });
        };
        let folder_path = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder =
            File::open(&folder_path).map_err(|error| CheckpointError::io("open", &folder_path, error))?;
        let store = Self {
            path,
            temporary,
            folder,
            folder_path,
            _lock: lock,
        };
        store.remove_temporary()?;
        // Whoever was killed may have renamed and not waited: what a load finds from now on is there to stay.
        store.sync_folder()?;
        Ok(store)
    }

    fn remove_temporary(&self) -> Result<(), CheckpointError> {
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CheckpointError::io("remove", &self.temporary, error))
            }
            _ => Ok(()),
        }
    }

    fn sync_folder(&self) -> Result<(), CheckpointError> {
        let synced = self.folder.sync_all();
        synced.map_err(|error| CheckpointError::io("sync", &self.folder_path, error))
    }

    fn read(&self) -> Result<Option<Vec<u8>>, CheckpointError> {
        let failed = |error| CheckpointError::io("read", &self.path, error);
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        // One byte more than a checkpoint has: enough to see that it is none.
        let most = format::MOST_FILE as u64 + 1;
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    fn replace(&self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.remove_temporary()?;
        let written = write_new(&self.temporary, bytes);
        if let Err(error) = written {
            // The next commit or open removes it, where this does not.
            let _ = fs::remove_file(&self.temporary);
            return Err(CheckpointError::io("write", &self.temporary, error));
        }
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.map_err(|error| CheckpointError::io("replace", &self.path, error))?;
        self.sync_folder()
    }
}

impl<T: Position> Checkpoint<T> for FileStore {
    fn load(&mut self) -> Result<Option<T>, CheckpointError> {
        let Some(bytes) = self.read()? else {
            return Ok(None);
        };
        let value =
            format::unframe(&bytes).and_then(|value| T::decode(value).ok_or("its value is of another type"));
        let path = self.path.clone();
        value
            .map(Some)
            .map_err(|why| CheckpointError::Damaged { path, why })
    }

    fn commit(&mut self, value: &T) -> Result<(), CheckpointError> {
        let value = value.encode();
        let bytes = value.len();
        let file = format::frame(&value).ok_or(CheckpointError::TooLarge { bytes })?;
        self.replace(&file)
    }
}

/// Writes a file that was not there, and waits until it is on the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
