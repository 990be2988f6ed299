//! The bytes of a checkpoint's file.
//!
//! `lifespan`, the version of the format (4 bytes), the length of the value (4 bytes), a CRC-32 of all other bytes (4
//! bytes), the value. Numbers are little-endian.

/// The largest value that a [`FileStore`](super::FileStore) keeps, in bytes.
pub const MAX_CHECKPOINT_BYTES: usize = 1 << 20;

/// The longest file: what is longer is no checkpoint.
pub(super) const MOST_FILE: usize = HEADER + MAX_CHECKPOINT_BYTES;

const MAGIC: &[u8; 8] = b"lifespan";
const VERSION: u32 = 1;
const HEADER: usize = 20;

/// The file of a value; `None` where that is too large.
pub(super) fn frame(value: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(value.len()).ok()?;
    if value.len() > MAX_CHECKPOINT_BYTES {
        return None;
    }
    let start = [&MAGIC[..], &VERSION.to_le_bytes(), &length.to_le_bytes()].concat();
    let sum = crc32(start.iter().chain(value));
    Some([&start[..], &sum.to_le_bytes(), value].concat())
}

/// The value of a file, or what is wrong with it.
pub(super) fn unframe(file: &[u8]) -> Result<&[u8], &'static str> {
    if file.is_empty() {
        return Err("it is empty");
    }
    let (start, rest) = file.split_at_checked(HEADER - 4).ok_or("it is cut off")?;
    let (magic, numbers) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("it is something else's file");
    }
    let number = |at: usize| {
        let bytes = numbers.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes)
    };
    if number(0) != Some(VERSION) {
        return Err("it is of another version of the format");
    }
    let (sum, value) = rest.split_first_chunk().ok_or("it is cut off")?;
    let length = number(4).and_then(|length| usize::try_from(length).ok());
    if length != Some(value.len()) {
        return Err("it is not as long as it says");
    }
    if crc32(start.iter().chain(value)) != u32::from_le_bytes(*sum) {
        return Err("its checksum is wrong");
    }
    Ok(value)
}

/// The CRC-32 of zlib and PNG.
fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        (sum >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut sum = at as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789".iter()), 0xcbf4_3926);
    }

    #[test]
    fn a_file_is_as_it_has_always_been() {
        let file = frame(&7u64.to_le_bytes()).expect("small");
        let start = b"lifespan\x01\0\0\0\x08\0\0\0";
        assert_eq!(&file[..16], start);
        assert_eq!(&file[20..], 7u64.to_le_bytes());
        assert_eq!(
            file[16..20],
            crc32(start.iter().chain(&7u64.to_le_bytes())).to_le_bytes()
        );
    }

    #[test]
    fn the_largest_value_has_a_file_and_a_larger_one_none() {
        assert_eq!(
            frame(&vec![1; MAX_CHECKPOINT_BYTES]).map(|file| file.len()),
            Some(MOST_FILE)
        );
        assert!(frame(&vec![1; MAX_CHECKPOINT_BYTES + 1]).is_none());
    }

    proptest! {
        #[test]
        fn a_whole_file_is_read_and_no_other(
            value in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            flipped in 1u8..,
            more in prop::collection::vec(any::<u8>(), 1..32),
        ) {
            let file = frame(&value).expect("small");
            prop_assert_eq!(unframe(&file), Ok(&*value));
            prop_assert!(unframe(&file[..at.index(file.len())]).is_err());
            prop_assert!(unframe(&[&*file, &more].concat()).is_err());
            let mut damaged = file;
            let at = at.index(damaged.len());
            damaged[at] ^= flipped;
            prop_assert!(unframe(&damaged).is_err());
            prop_assert!(unframe(&more).is_err());
        }
    }
}
