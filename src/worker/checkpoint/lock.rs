//! One holder of a path, in this process and in others.

#![cfg_attr(
    unix,
    expect(
        unsafe_code,
        reason = "a call of the system; std's is newer than our oldest compiler"
    )
)]

use std::fs::File;
use std::io;
use std::path::Path;

/// Takes the lock of that file, which is made where it is not there; `None` where somebody has it. The system gives it
/// back when the file is closed: also when the process is killed.
#[cfg(unix)]
pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    // SAFETY: a descriptor that is open as long as `file` is.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Some(file));
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(None)
    } else {
        Err(error)
    }
}

#[cfg(not(unix))]
pub(super) fn take(_: &Path) -> io::Result<Option<File>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "checkpoints in files need a unix system",
    ))
}
