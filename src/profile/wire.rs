//! The encoding of protocol buffers, as far as a profile needs it: numbers, bytes, and messages inside of messages.
//!
//! Default values are left out, as every encoder does.

/// One message as it is written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A number: `uint64`, `bool`, or the index of a string.
    pub(super) fn number(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
        self
    }

    /// An `int64`; negative ones take ten bytes.
    pub(super) fn signed(&mut self, field: u32, value: i64) -> &mut Self {
        self.number(field, value.cast_unsigned())
    }

    /// A message, or a text. It is written even where it is empty: it may stand in a list.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(u64::try_from(value.len()).unwrap_or_default());
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn message(&mut self, field: u32, value: &Self) -> &mut Self {
        self.bytes(field, &value.0)
    }

    /// A list of numbers, packed.
    pub(super) fn numbers(&mut self, field: u32, values: impl IntoIterator<Item = u64>) -> &mut Self {
        let mut packed = Self::default();
        for value in values {
            packed.varint(value);
        }
        if packed.0.is_empty() {
            return self;
        }
        self.message(field, &packed)
    }

    /// The fields of another after those of this one.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// What was written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// Reads what [`Message`] writes.
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field's number, and what is in it.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub(crate) enum Value {
        Number(u64),
        Bytes(Vec<u8>),
    }

    pub(crate) fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(value.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            found.push((key >> 3, value));
        }
        found
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let mut message = Message::default();
        message.number(1, 150).bytes(2, b"testing").number(3, 0);
        message.numbers(4, [3, 270, 86_942]).numbers(5, []);
        assert_eq!(
            message.as_bytes(),
            b"\x08\x96\x01\x12\x07testing\x22\x06\x03\x8e\x02\x9e\xa7\x05"
        );
        let mut negative = Message::default();
        negative.signed(1, -1);
        assert_eq!(fields(negative.as_bytes()), [(1, Value::Number(u64::MAX))]);
    }
}
