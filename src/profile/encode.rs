//! profile.proto, as `go tool pprof` reads it.
//!
//! Its traps: a function's `system_name` stays empty, since a name that stands in both is taken for C++ and loses all
//! that is between `<` and `>`; and where there is no mapping, or one that does not say that it is symbolised, the
//! tool looks for symbols of its own and complains.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::wire::Message;
use crate::stack::Frame;

/// What a value of a sample counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueType {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// What is said of a sample beside its stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label<'a> {
    /// A key and a text.
    Text(&'static str, &'a str),
    /// A key, a number and its unit.
    Number(&'static str, i64, &'static str),
}

/// A profile that is being written; samples are encoded as they come.
#[derive(Debug)]
pub(crate) struct Profile {
    strings: Strings,
    /// By name and file.
    functions: HashMap<(u64, u64), u64>,
    locations: HashMap<Location, u64>,
    /// Everything but the table of strings.
    body: Message,
}

impl Profile {
    /// An empty one. The first kind of value is the one that is shown unless another is asked for.
    pub(crate) fn new(values: &[ValueType]) -> Self {
        let mut profile = Self {
            strings: Strings::default(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            body: Message::default(),
        };
        for value in values {
            let message = profile.value_type(*value);
            profile.body.message(SAMPLE_TYPE, &message);
        }
        if let Some(first) = values.first() {
            let message = profile.value_type(*first);
            let name = profile.strings.index(first.name);
            profile.body.message(PERIOD_TYPE, &message).number(PERIOD, 1);
            profile.body.number(DEFAULT_SAMPLE_TYPE, name);
        }
        profile.mapping();
        profile
    }

    /// Adds a sample: frames with the leaf first, and a value of each kind.
    pub(crate) fn sample(&mut self, frames: &[Frame], values: &[i64], labels: &[Label<'_>]) {
        let mut sample = Message::default();
        let locations: Vec<u64> = places(frames).map(|place| self.location(place)).collect();
        sample.numbers(1, locations);
        sample.numbers(2, values.iter().map(|value| value.cast_unsigned()));
        for label in labels {
            let mut message = Message::default();
            match *label {
                Label::Text(key, text) => {
                    message.number(1, self.strings.index(key));
                    message.number(2, self.strings.index(text));
                }
                Label::Number(key, number, unit) => {
                    message.number(1, self.strings.index(key)).signed(3, number);
                    message.number(4, self.strings.index(unit));
                }
            }
            sample.message(3, &message);
        }
        self.body.message(SAMPLE, &sample);
    }

    /// Adds a remark, which `-comments` shows.
    pub(crate) fn comment(&mut self, text: &str) {
        let index = self.strings.index(text);
        self.body.numbers(COMMENT, [index]);
    }

    /// Ends it, compressed: a profile of that moment, that took so long.
    pub(crate) fn finish(self, at: SystemTime, lasted: Duration) -> Vec<u8> {
        let Self {
            strings, mut body, ..
        } = self;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or_default();
        body.number(TIME_NANOS, nanos(since));
        body.number(DURATION_NANOS, nanos(lasted));
        strings.write(&mut body);
        // Memory takes all that is written.
        compressed(body.as_bytes()).unwrap_or_default()
    }

    /// The program, of which all is known: that keeps the tool from looking for symbols.
    fn mapping(&mut self) {
        let path = std::env::current_exe().unwrap_or_default();
        // Its folder is nobody's business.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut mapping = Message::default();
        mapping.number(1, MAPPING_ID).number(5, self.strings.index(&name));
        for known in [7, 8, 9, 10] {
            mapping.number(known, 1);
        }
        self.body.message(MAPPING, &mapping);
    }

    fn value_type(&mut self, value: ValueType) -> Message {
        let mut message = Message::default();
        message.number(1, self.strings.index(value.name));
        message.number(2, self.strings.index(value.unit));
        message
    }

    /// The number of an address and its functions.
    fn location(&mut self, frames: &[Frame]) -> u64 {
        let lines = frames.iter().map(|frame| {
            let line = frame.line.unwrap_or_default();
            (self.function(frame), line)
        });
        let key = Location {
            lines: lines.collect(),
            address: frames.first().map_or(0, |frame| frame.address),
        };
        if let Some(id) = self.locations.get(&key) {
            return *id;
        }
        let id = next(self.locations.len());
        let mut message = Message::default();
        message.number(1, id).number(2, MAPPING_ID).number(3, key.address);
        for (function, line) in &key.lines {
            let mut encoded = Message::default();
            encoded.number(1, *function).number(2, (*line).into());
            message.message(4, &encoded);
        }
        self.body.message(LOCATION, &message);
        self.locations.insert(key, id);
        id
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let name = self.strings.index(&frame.function);
        let file = self.strings.index(frame.file.as_deref().unwrap_or_default());
        if let Some(id) = self.functions.get(&(name, file)) {
            return *id;
        }
        let id = next(self.functions.len());
        let mut message = Message::default();
        message.number(1, id).number(2, name).number(4, file);
        self.body.message(FUNCTION, &message);
        self.functions.insert((name, file), id);
        id
    }
}

/// What makes a location: an address, and its functions, the innermost first, each with a line.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Location {
    address: u64,
    lines: Vec<(u64, u32)>,
}

/// Frames by address: those that were inlined there come before the one that they were inlined into.
pub(super) fn places(frames: &[Frame]) -> impl Iterator<Item = &[Frame]> {
    frames.chunk_by(|inner, outer| inner.inlined && inner.address == outer.address)
}

/// Each string once; the first is empty.
#[derive(Debug)]
struct Strings {
    indices: HashMap<Box<str>, u64>,
    table: Message,
}

impl Default for Strings {
    fn default() -> Self {
        let mut strings = Self {
            indices: HashMap::new(),
            table: Message::default(),
        };
        strings.index("");
        strings
    }
}

impl Strings {
    fn index(&mut self, text: &str) -> u64 {
        if let Some(index) = self.indices.get(text) {
            return *index;
        }
        let index = u64::try_from(self.indices.len()).unwrap_or_default();
        self.table.bytes(STRING_TABLE, text.as_bytes());
        self.indices.insert(text.into(), index);
        index
    }

    fn write(&self, to: &mut Message) {
        to.append(&self.table);
    }
}

/// Ids begin with 1: 0 stands for none.
fn next(count: usize) -> u64 {
    u64::try_from(count).unwrap_or_default() + 1
}

fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

// Fields of the message `Profile`.
const SAMPLE_TYPE: u32 = 1;
const SAMPLE: u32 = 2;
const MAPPING: u32 = 3;
const LOCATION: u32 = 4;
const FUNCTION: u32 = 5;
const STRING_TABLE: u32 = 6;
const TIME_NANOS: u32 = 9;
const DURATION_NANOS: u32 = 10;
const PERIOD_TYPE: u32 = 11;
const PERIOD: u32 = 12;
const COMMENT: u32 = 13;
const DEFAULT_SAMPLE_TYPE: u32 = 14;

const MAPPING_ID: u64 = 1;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::super::wire::tests::{Value, fields};
    use super::*;

    const VALUES: [ValueType; 2] = [
        ValueType {
            name: "tasks",
            unit: "count",
        },
        ValueType {
            name: "age",
            unit: "seconds",
        },
    ];

    fn frame(address: u64, function: &str, inlined: bool) -> Frame {
        Frame {
            address,
            function: function.into(),
            file: Some("src/a.rs".into()),
            line: Some(7),
            inlined,
        }
    }

    /// The messages of one field of a message.
    fn all(message: &[u8], field: u32) -> Vec<Vec<u8>> {
        let wanted = fields(message)
            .into_iter()
            .filter(|(number, _)| *number == u64::from(field));
        let bytes = wanted.map(|(_, value)| match value {
            Value::Bytes(bytes) => bytes,
            Value::Number(number) => panic!("{field} is the number {number}"),
        });
        bytes.collect()
    }

    fn number(message: &[u8], field: u64) -> u64 {
        let found = fields(message).into_iter().find(|(number, _)| *number == field);
        match found {
            Some((_, Value::Number(number))) => number,
            Some(other) => panic!("{other:?}"),
            None => 0,
        }
    }

    fn packed(message: &[u8], field: u32) -> Vec<u64> {
        let mut found = Vec::new();
        for list in all(message, field) {
            let mut rest = &*list;
            while !rest.is_empty() {
                found.push(super::super::wire::tests::varint(&mut rest));
            }
        }
        found
    }

    fn unzip(bytes: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut raw).unwrap();
        raw
    }

    fn strings(profile: &[u8]) -> Vec<String> {
        let texts = all(profile, STRING_TABLE).into_iter();
        texts.map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut profile = Profile::new(&VALUES);
        let stack = [
            frame(16, "<Recv<T> as Future>::poll", true),
            frame(16, "app::serve::{closure#0}", false),
            frame(32, "app::run", false),
        ];
        profile.sample(
            &stack,
            &[3, -60],
            &[Label::Text("kind", "worker"), Label::Number("tid", 9, "id")],
        );
        profile.comment("two tasks were left out");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let raw = unzip(&profile.finish(at, Duration::from_millis(2)));
        let strings = strings(&raw);
        let text = |index: u64| &*strings[usize::try_from(index).unwrap()];
        let [sample] = &*all(&raw, SAMPLE) else { panic!() };
        assert_eq!(packed(sample, 2), [3, (-60_i64).cast_unsigned()]);
        let locations = all(&raw, LOCATION);
        assert_eq!(packed(sample, 1), [1, 2]);
        // The one that was inlined comes first.
        let lines = all(&locations[0], 4);
        let functions = all(&raw, FUNCTION);
        let names: Vec<&str> = lines
            .iter()
            .map(|line| {
                text(number(
                    &functions[usize::try_from(number(line, 1)).unwrap() - 1],
                    2,
                ))
            })
            .collect();
        assert_eq!(names, ["<Recv<T> as Future>::poll", "app::serve::{closure#0}"]);
        assert_eq!((number(&locations[0], 3), number(&lines[0], 2)), (16, 7));
        let labels = all(sample, 3);
        assert_eq!(
            (text(number(&labels[0], 1)), text(number(&labels[0], 2))),
            ("kind", "worker")
        );
        assert_eq!((text(number(&labels[1], 1)), number(&labels[1], 3)), ("tid", 9));
        assert_eq!(text(number(&labels[1], 4)), "id");
        assert_eq!(text(packed(&raw, COMMENT)[0]), "two tasks were left out");
        assert_eq!(text(number(&raw, DEFAULT_SAMPLE_TYPE.into())), "tasks");
        assert_eq!(number(&raw, TIME_NANOS.into()), 5_000_000_000);
        assert_eq!(number(&raw, DURATION_NANOS.into()), 2_000_000);
        let [mapping] = &*all(&raw, MAPPING) else { panic!() };
        assert!((7..=10).all(|known| number(mapping, known) == 1));
        assert!(!text(number(mapping, 5)).contains('/'));
        let [first, second] = &*all(&raw, SAMPLE_TYPE) else {
            panic!()
        };
        assert_eq!(
            (text(number(first, 1)), text(number(first, 2))),
            ("tasks", "count")
        );
        assert_eq!(
            (text(number(second, 1)), text(number(second, 2))),
            ("age", "seconds")
        );
    }

    proptest! {
        #[test]
        fn ids_are_unique_and_all_that_is_named_exists(
            stacks in prop::collection::vec(prop::collection::vec((0u64..4, "[a-c]{0,1}", any::<bool>()), 0..6), 0..20)
        ) {
            let mut profile = Profile::new(&VALUES);
            for stack in &stacks {
                let frames: Vec<Frame> = stack.iter().map(|(at, name, inlined)| frame(*at, name, *inlined)).collect();
                profile.sample(&frames, &[1, 1], &[Label::Text("kind", "a")]);
            }
            let raw = unzip(&profile.finish(SystemTime::UNIX_EPOCH, Duration::ZERO));
            let strings = strings(&raw);
            prop_assert_eq!(&*strings[0], "");
            prop_assert_eq!(strings.iter().collect::<HashSet<_>>().len(), strings.len());
            let ids = |field| -> Vec<u64> { all(&raw, field).iter().map(|message| number(message, 1)).collect() };
            let (functions, locations) = (ids(FUNCTION), ids(LOCATION));
            for ids in [&functions, &locations] {
                prop_assert!(ids.iter().all(|id| *id > 0));
                prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
            }
            for location in all(&raw, LOCATION) {
                prop_assert_eq!(number(&location, 2), MAPPING_ID);
                for line in all(&location, 4) {
                    prop_assert!(functions.contains(&number(&line, 1)));
                }
            }
            for function in all(&raw, FUNCTION) {
                prop_assert!(number(&function, 2) < strings.len() as u64);
                // See the top.
                prop_assert_eq!(number(&function, 3), 0);
            }
            let samples = all(&raw, SAMPLE);
            prop_assert_eq!(samples.len(), stacks.len());
            for (sample, stack) in samples.iter().zip(&stacks) {
                let at = packed(sample, 1);
                prop_assert!(at.iter().all(|id| locations.contains(id)));
                prop_assert!(at.len() <= stack.len() && at.is_empty() == stack.is_empty());
                prop_assert_eq!(packed(sample, 2).len(), VALUES.len());
            }
        }
    }
}
