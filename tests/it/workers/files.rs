//! Checkpoints in files.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use lifespan::worker::{Checkpoint, CheckpointError, FileStore, MAX_CHECKPOINT_BYTES, Position};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn load<T: Position>(store: &mut FileStore) -> Result<Option<T>, CheckpointError> {
    store.load()
}

#[test]
fn what_was_committed_is_there_after_a_reopening() {
    let folder = folder();
    let path = folder.path().join("offsets");
    let offsets: BTreeMap<String, u64> = [("orders/0".to_owned(), 7), ("orders/1".to_owned(), 9)].into();
    let mut store = FileStore::open(&path).unwrap();
    assert_eq!(load::<u64>(&mut store).unwrap(), None);
    store.commit(&offsets).unwrap();
    assert_eq!(load(&mut store).unwrap(), Some(offsets.clone()));
    drop(store);
    let mut store = FileStore::open(&path).unwrap();
    assert_eq!(load(&mut store).unwrap(), Some(offsets));
    store.commit(&vec![1u8; MAX_CHECKPOINT_BYTES]).unwrap();
    assert_eq!(load(&mut store).unwrap(), Some(vec![1u8; MAX_CHECKPOINT_BYTES]));
}

#[test]
fn a_path_in_the_current_folder_will_do() {
    // Nothing is written: it is the name that has no folder.
    let name = format!("lifespan-test-{}", std::process::id());
    let opened = FileStore::open(&name);
    fs::remove_file(format!("{name}.lock")).unwrap();
    assert_eq!(load::<u64>(&mut opened.unwrap()).unwrap(), None);
}

#[test]
fn one_store_at_a_time_has_a_path() {
    let folder = folder();
    let path = folder.path().join("offset");
    let store = FileStore::open(&path).unwrap();
    let refused = FileStore::open(&path).unwrap_err();
    assert!(matches!(refused, CheckpointError::InUse { .. }));
    assert_eq!(
        refused.to_string(),
        format!(
            "checkpoint {} is in use: end the process or the store that has it open",
            path.display()
        )
    );
    // Another path is another checkpoint.
    FileStore::open(folder.path().join("other")).unwrap();
    drop(store);
    FileStore::open(&path).unwrap();
}

#[test]
fn a_torn_or_foreign_file_is_an_error_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("offset");
    let mut store = FileStore::open(&path).unwrap();
    store.commit(&7u64).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut other_version = whole.clone();
    other_version[8] = 2;
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let cases: [(&[u8], &str); 7] = [
        (b"", "it is empty"),
        (&whole[..3], "it is cut off"),
        (&whole[..whole.len() - 1], "it is not as long as it says"),
        (&other_version, "it is of another version of the format"),
        (&flipped, "its checksum is wrong"),
        (
            b"{\"offset\": 7, \"by\": \"someone else\"}",
            "it is something else's file",
        ),
        (
            &[&*whole, &vec![0; MAX_CHECKPOINT_BYTES]].concat(),
            "it is not as long as it says",
        ),
    ];
    for (file, expected) in cases {
        fs::write(&path, file).unwrap();
        match load::<u64>(&mut store) {
            Err(CheckpointError::Damaged { why, .. }) => assert_eq!(why, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), file);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(load(&mut store).unwrap(), Some(7u64));
    // Eight bytes are no map.
    let other_type = load::<BTreeMap<String, u64>>(&mut store).unwrap_err();
    assert!(
        other_type.to_string().contains("its value is of another type"),
        "{other_type}"
    );
}

#[test]
fn what_a_killed_process_left_is_cleaned_up() {
    let folder = folder();
    let path = folder.path().join("offset");
    FileStore::open(&path).unwrap().commit(&7u64).unwrap();
    let left = folder.path().join("offset.tmp");
    fs::write(&left, "half of").unwrap();
    let mut store = FileStore::open(&path).unwrap();
    assert!(!left.exists());
    assert_eq!(load(&mut store).unwrap(), Some(7u64));
    // Nor is one followed elsewhere that somebody put there meanwhile.
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &left).unwrap();
    store.commit(&8u64).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(load(&mut store).unwrap(), Some(8u64));
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["offset", "offset.lock", "victim"]);
}

#[test]
fn a_commit_that_fails_leaves_what_was_there() {
    let folder = folder();
    let path = folder.path().join("offset");
    let mut store = FileStore::open(&path).unwrap();
    store.commit(&7u64).unwrap();
    let too_large = store.commit(&vec![0u8; MAX_CHECKPOINT_BYTES + 1]).unwrap_err();
    assert!(
        matches!(too_large, CheckpointError::TooLarge { bytes, .. } if bytes == MAX_CHECKPOINT_BYTES + 1)
    );
    // A folder where the temporary file is to be: refused, for root as well.
    let temporary = folder.path().join("offset.tmp");
    fs::create_dir(&temporary).unwrap();
    let refused = store.commit(&8u64).unwrap_err();
    assert!(matches!(refused, CheckpointError::Io { .. }), "{refused:?}");
    assert!(refused.source().is_some());
    assert_eq!(load(&mut store).unwrap(), Some(7u64));
    fs::remove_dir(&temporary).unwrap();
    store.commit(&9u64).unwrap();
    assert_eq!(load(&mut store).unwrap(), Some(9u64));
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = folder();
    let refused = FileStore::open(folder.path().join("missing/offset")).unwrap_err();
    assert!(matches!(refused, CheckpointError::Io { .. }), "{refused:?}");
    assert!(!folder.path().join("missing").exists());
}
