//! How far a worker has come, as bytes.

use std::collections::BTreeMap;

/// A value that a [`FileStore`](super::FileStore) can keep: an offset, a cursor that a server gave, or an offset for
/// each partition (`BTreeMap<String, u64>`).
///
/// What is written today is read by tomorrow's version of your program: to change the type, read both for a while.
///
/// # Examples
///
/// ```
/// use lifespan::worker::Position;
///
/// #[derive(Debug, PartialEq)]
/// struct Cursor { file: u32, line: u32 }
///
/// impl Position for Cursor {
///     fn encode(&self) -> Vec<u8> {
///         [self.file.to_le_bytes(), self.line.to_le_bytes()].concat()
///     }
///
///     fn decode(bytes: &[u8]) -> Option<Self> {
///         let (file, line) = bytes.split_at_checked(4)?;
///         let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
///         Some(Self { file: number(file)?, line: number(line)? })
///     }
/// }
///
/// let cursor = Cursor { file: 7, line: 1_000 };
/// assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
/// assert_eq!(Cursor::decode(b"no cursor"), None);
/// ```
pub trait Position: Sized {
    /// Its bytes, at most [`MAX_CHECKPOINT_BYTES`](super::MAX_CHECKPOINT_BYTES) of them.
    fn encode(&self) -> Vec<u8>;

    /// The value of those bytes; `None` where they are not one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Position for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_le_bytes().into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }
}

impl Position for Vec<u8> {
    fn encode(&self) -> Vec<u8> {
        self.clone()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.into())
    }
}

impl Position for String {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.into()).ok()
    }
}

impl Position for BTreeMap<String, u64> {
    /// Each key's length, the key, and the offset.
    fn encode(&self) -> Vec<u8> {
        let entry = |(key, offset): (&String, &u64)| {
            let length = key.len() as u64;
            [&length.to_le_bytes(), key.as_bytes(), &offset.to_le_bytes()].concat()
        };
        self.iter().flat_map(entry).collect()
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut map = Self::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk()?;
            let (key, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            let (offset, rest) = rest.split_first_chunk()?;
            map.insert(String::decode(key)?, u64::from_le_bytes(*offset));
            bytes = rest;
        }
        Some(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            offset in any::<u64>(), cursor in ".*", map in prop::collection::btree_map(".*", any::<u64>(), 0..8),
        ) {
            prop_assert_eq!(u64::decode(&offset.encode()), Some(offset));
            prop_assert_eq!(String::decode(&cursor.encode()), Some(cursor));
            prop_assert_eq!(BTreeMap::decode(&map.encode()), Some(map));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = BTreeMap::decode(&bytes);
            prop_assert_eq!(u64::decode(&bytes).is_some(), bytes.len() == 8);
        }
    }
}
