//! What code is loaded: where each library stands, and the tables by which its frames are unwound.
//!
//! # Invariants
//!
//! 1. Nothing is read through a pointer, and no file is mapped: all comes from `/proc/self/mem` with `read`, which
//!    answers with an error where a library has gone meanwhile, or its file was truncated. A mapping would answer with
//!    `SIGBUS`.
//! 2. Tables are bytes of our own, at most [`MAX_TABLE_BYTES`] of them in all. They are from the loaded image and not from
//!    the file, which after a deployment is another.
//!
//! The list is `/proc/self/maps` and not `dl_iterate_phdr`: it takes no lock of the dynamic loader, in which a host's
//! `dlopen` would wait, and shows the vDSO as well.

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian, Pointer};
use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// One loaded library, or the program itself.
#[derive(Debug, Clone)]
pub(super) struct Module {
    /// Where it is mapped.
    pub(super) range: Range<u64>,
    /// What is added to an address in the file to find it in memory; wraps.
    pub(super) bias: u64,
    /// The path it was loaded from, which another file may have taken meanwhile.
    pub(super) path: Arc<str>,
    /// Which file that was, among those of its file system.
    pub(super) inode: u64,
    /// What its linker named it by.
    pub(super) build_id: Option<Box<[u8]>>,
    /// Where its lowest segment belongs, in the file's own addresses.
    pub(super) lowest: u64,
    /// `.eh_frame_hdr` and `.eh_frame`, with their addresses in the file's terms.
    pub(super) tables: Option<Tables>,
}

#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) header: Table,
    pub(super) frames: Table,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) at: u64,
    pub(super) bytes: Arc<[u8]>,
}

impl Tables {
    /// Nothing where the header leads out of the frames: the loader does not look, and gimli trusts it.
    pub(super) fn new(header: Table, frames: Table) -> Option<Self> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(header.at);
        let parsed = EhFrameHdr::new(&header.bytes, LittleEndian)
            .parse(&bases, 8)
            .ok()?;
        let within = frames.range();
        let all_within = parsed.table()?.iter(&bases).all(|entry| match entry {
            Ok((_, Pointer::Direct(frame))) => within.contains(&frame),
            _ => false,
        });
        all_within.then_some(Self { header, frames })
    }
}

impl Table {
    pub(super) fn range(&self) -> Range<u64> {
        self.at..self.at.saturating_add(self.bytes.len() as u64)
    }
}

/// What changed in a refresh.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) gone: Vec<Module>,
    pub(super) come: Vec<Module>,
}

/// The modules of this process, as they were at the last refresh.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// By address.
    known: Vec<Module>,
    /// How often a module has gone: what was said of an address before may no longer be true.
    departures: u64,
    /// Modules whose tables found no room, or could not be read.
    without: usize,
}

impl Modules {
    /// The one that an address is in.
    pub(super) fn find(&self, address: u64) -> Option<&Module> {
        let after = self.known.partition_point(|module| module.range.start <= address);
        let module = self.known.get(after.checked_sub(1)?)?;
        module.range.contains(&address).then_some(module)
    }

    /// Changes whenever a module has gone, and its addresses may be another's.
    pub(super) fn departures(&self) -> u64 {
        self.departures
    }

    /// How many have no tables to unwind with: their frames end a stack.
    pub(crate) fn without_tables(&self) -> usize {
        self.without
    }

    /// Bytes of tables held.
    pub(crate) fn bytes(&self) -> usize {
        self.known.iter().map(Module::bytes).sum()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.known = Vec::new();
        self.departures += 1;
    }

    /// Looks again. What stands where it stood is kept as it is.
    pub(super) fn refresh(&mut self) -> io::Result<Changes> {
        let mut text = Vec::new();
        File::open("/proc/self/maps")?
            .take(MAX_MAPS_BYTES)
            .read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let memory = File::open("/proc/self/mem")?;
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.known);
        let maps = Maps::parse(&text);
        let mut come = Vec::new();
        for image in &maps.images {
            let same = |module: &Module| {
                module.range.start == image.start
                    && module.inode == image.inode
                    && *module.path == *image.path
            };
            match before.iter().position(same) {
                Some(at) => self.known.push(before.swap_remove(at)),
                None => come.push(image),
            }
        }
        self.departures += u64::from(!before.is_empty());
        changes.gone = before;
        let mut room = MAX_TABLE_BYTES.saturating_sub(self.bytes());
        for image in come {
            let Some(module) = load(&memory, image, &maps.code, room) else {
                continue;
            };
            if self.known.len() >= MAX_MODULES {
                break;
            }
            room = room.saturating_sub(module.bytes());
            changes.come.push(module.clone());
            self.known.push(module);
        }
        self.known.sort_by_key(|module| module.range.start);
        self.without = self.known.iter().filter(|module| module.tables.is_none()).count();
        Ok(changes)
    }
}

impl Module {
    fn bytes(&self) -> usize {
        self.tables
            .as_ref()
            .map_or(0, |tables| tables.header.bytes.len() + tables.frames.bytes.len())
    }
}

/// The most that is read of the list of mappings.
const MAX_MAPS_BYTES: u64 = 16 << 20;

/// The most modules that are known at once.
const MAX_MODULES: usize = 1024;

/// The most bytes of unwind tables that are held.
const MAX_TABLE_BYTES: usize = 64 << 20;

/// What segments are aligned to at the least.
const PAGE: u64 = 4096;

/// By how much is read of a table whose end is not known.
const CHUNK: usize = 256 << 10;

/// What the text of `/proc/self/maps` says of code.
#[derive(Debug, Default, PartialEq)]
struct Maps<'a> {
    /// Where a file is mapped from its beginning, and anywhere with code in it.
    images: Vec<Image<'a>>,
    /// What can be executed.
    code: Vec<Range<u64>>,
}

#[derive(Debug, PartialEq)]
struct Image<'a> {
    start: u64,
    path: &'a str,
    inode: u64,
}

impl<'a> Maps<'a> {
    fn parse(text: &'a str) -> Self {
        let (mut maps, mut with_code) = (Self::default(), HashSet::new());
        for (range, is_code, offset, inode, path) in text.lines().filter_map(mapping) {
            if is_code {
                maps.code.push(range.clone());
                with_code.insert((inode, path));
            }
            if offset == 0 && (path.starts_with('/') || path == "[vdso]") {
                maps.images.push(Image {
                    start: range.start,
                    path,
                    inode,
                });
            }
        }
        maps.images
            .retain(|image| with_code.contains(&(image.inode, image.path)));
        maps
    }
}

type Mapping<'a> = (Range<u64>, bool, u64, u64, &'a str);

/// One line: `start-end perms offset major:minor inode path`.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ')?;
        rest = after.trim_start_matches(' ');
        Some(word)
    };
    let (start, end) = word()?.split_once('-')?;
    let perms = word()?;
    let offset = hex(word()?)?;
    word()?;
    let inode = word()?.parse().ok()?;
    // Paths may have blanks in them, and end in ` (deleted)`. Without a path, there is still a blank.
    let path = rest;
    let range = hex(start)?..hex(end)?;
    Some((range, perms.contains('x'), offset, inode, path))
}

/// Reads an image's headers and tables from memory; nothing where it is no ELF image with code, or gone.
fn load(memory: &File, image: &Image<'_>, code: &[Range<u64>], room: usize) -> Option<Module> {
    let mut head = [0; 4096];
    memory.read_exact_at(&mut head, image.start).ok()?;
    let header = elf::FileHeader64::<Endianness>::parse(&head[..]).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &head[..]).ok()?;
    let of_kind = |kind| {
        segments
            .iter()
            .filter(move |segment| segment.p_type(endian) == kind)
    };
    let range_of = |segment: &elf::ProgramHeader64<Endianness>| {
        let at = segment.p_vaddr(endian);
        at..at.saturating_add(segment.p_filesz(endian))
    };
    let lowest = of_kind(elf::PT_LOAD)
        .map(|segment| segment.p_vaddr(endian))
        .min()?
        & !(PAGE - 1);
    let highest = of_kind(elf::PT_LOAD)
        .map(|segment| segment.p_vaddr(endian).saturating_add(segment.p_memsz(endian)))
        .max()?;
    let range = image.start..image.start.checked_add(highest.checked_sub(lowest)?)?;
    let bias = image.start.wrapping_sub(lowest);
    // A file's first page is mapped again where its second segment begins in it, and where somebody reads it as data.
    // Only where its code is code is it loaded.
    let is_code = |address: &u64| code.iter().any(|code| code.contains(address));
    of_kind(elf::PT_LOAD)
        .filter(|segment| segment.p_flags(endian).contains(elf::PF_X))
        .map(|segment| segment.p_vaddr(endian).wrapping_add(bias))
        .find(is_code)?;
    let inside = |part: &Range<u64>| {
        let (start, end) = (part.start.wrapping_add(bias), part.end.wrapping_add(bias));
        start < end && range.start <= start && end <= range.end
    };
    let loaded = |kind| of_kind(kind).map(range_of).filter(inside);
    let read = |range: Range<u64>, room: usize| {
        let len = usize::try_from(range.end - range.start)
            .ok()
            .filter(|&len| len <= room)?;
        let mut bytes = vec![0; len];
        memory
            .read_exact_at(&mut bytes, range.start.wrapping_add(bias))
            .ok()?;
        Some(bytes)
    };
    let build_id = loaded(elf::PT_NOTE)
        .filter_map(|range| read(range, 4096))
        .find_map(|notes| build_id(&notes));
    let tables = loaded(elf::PT_GNU_EH_FRAME).next().and_then(|range| {
        let at = range.start;
        let header = read(range, room)?;
        let start = frames_start(&header, at)?;
        let segment = loaded(elf::PT_LOAD).find(|segment| segment.contains(&start))?;
        let room = room.checked_sub(header.len())?;
        let frames = frames(start..segment.end, room, |range| read(range, usize::MAX))?;
        Tables::new(
            Table {
                at,
                bytes: header.into(),
            },
            Table {
                at: start,
                bytes: frames.into(),
            },
        )
    });
    Some(Module {
        range,
        bias,
        path: image.path.into(),
        inode: image.inode,
        build_id,
        lowest,
        tables,
    })
}

/// Where `.eh_frame` begins, as its header says.
fn frames_start(header: &[u8], at: u64) -> Option<u64> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(at);
    let parsed = EhFrameHdr::new(header, LittleEndian).parse(&bases, 8).ok()?;
    match parsed.eh_frame_ptr() {
        Pointer::Direct(start) => Some(start),
        Pointer::Indirect(_) => None,
    }
}

/// Reads `.eh_frame`, whose end no segment tells: entry by entry, up to the one of length zero.
fn frames(within: Range<u64>, room: usize, read: impl Fn(Range<u64>) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let all = usize::try_from(within.end.checked_sub(within.start)?).ok()?;
    let (mut bytes, mut at) = (Vec::new(), 0_usize);
    loop {
        while bytes.len() < at.checked_add(4)?.min(all) {
            let from = within.start + bytes.len() as u64;
            let chunk = read(from..within.end.min(from + CHUNK as u64))?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > room.saturating_add(CHUNK) {
                return None;
            }
        }
        let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        // The long form is not in use; what it would begin is beyond any bound.
        let Some(length) = length.map(|length| u32::from_le_bytes(*length)) else {
            break;
        };
        if length == 0 {
            break;
        }
        at = at.checked_add(4)?.checked_add(usize::try_from(length).ok()?)?;
        if at >= all {
            at = all;
            break;
        }
    }
    bytes.truncate(at);
    (at <= room).then_some(bytes)
}

/// The GNU build id among the notes of a segment.
pub(super) fn build_id(notes: &[u8]) -> Option<Box<[u8]>> {
    let mut rest = notes;
    loop {
        let word = |at: usize| {
            let bytes = rest.get(at..at + 4)?.first_chunk::<4>()?;
            usize::try_from(u32::from_le_bytes(*bytes)).ok()
        };
        let (name, size, kind) = (word(0)?, word(4)?, word(8)?);
        let data = 12_usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = data.checked_add(size)?;
        let value = rest.get(data..end)?;
        if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
            return Some(value.into());
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_from_other_mappings() {
        let maps = "\
55d000-55e000 r--p 00000000 fe:01 42                         /usr/bin/a b
55e000-560000 r-xp 00001000 fe:01 42                         /usr/bin/a b
560000-561000 rw-p 00000000 00:00 0 
561000-570000 r--p 00000000 fe:01 43                         /var/lib/data
7f0000-7f1000 r--p 00000000 fe:01 44                         /usr/lib/libx.so (deleted)
7f1000-7f2000 r-xp 00000000 fe:01 44                         /usr/lib/libx.so (deleted)
7f3000-7f4000 rwxp 00000000 00:00 0 
7f5000-7f6000 r-xp 00000000 00:00 0                          [vdso]
no mapping at all
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0      [vsyscall]
";
        let found = Maps::parse(maps);
        let images: Vec<_> = found
            .images
            .iter()
            .map(|image| (image.start, image.path))
            .collect();
        assert_eq!(
            images,
            [
                (0x55_d000, "/usr/bin/a b"),
                (0x7f_0000, "/usr/lib/libx.so (deleted)"),
                // Not one: its code is elsewhere, as its headers tell.
                (0x7f_1000, "/usr/lib/libx.so (deleted)"),
                (0x7f_5000, "[vdso]"),
            ]
        );
        assert_eq!(found.images[0].inode, 42);
        assert_eq!(found.code.len(), 5);
    }

    #[test]
    fn a_table_ends_with_its_terminator_or_its_segment() {
        let entry = |length: u32| {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.resize(4 + length as usize, 7);
            bytes
        };
        let read_of = |bytes: Vec<u8>, room| {
            let end = bytes.len() as u64;
            frames(0..end, room, |range| {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                Some(bytes[range].to_vec())
            })
        };
        let two = [entry(12), entry(20)].concat();
        let ended = [two.clone(), vec![0; 4], vec![9; 100]].concat();
        assert_eq!(read_of(ended, 1000), Some(two.clone()));
        assert_eq!(read_of(two.clone(), 1000), Some(two.clone()));
        assert_eq!(read_of(two.clone(), 10), None, "there is no room");
        let long = [two.clone(), entry(1 << 20), vec![0; 4]].concat();
        assert_eq!(
            read_of(long.clone(), 2 << 20).map(|bytes| bytes.len()),
            Some(long.len() - 4)
        );
        // A length that leads out of it.
        let wild = [two, vec![0xff; 8]].concat();
        assert_eq!(read_of(wild.clone(), 1000), Some(wild));
        // It goes away while it is read.
        assert_eq!(frames(0..100, 1000, |_| None), None);
    }

    #[test]
    fn a_build_id_is_found_among_notes() {
        let note = |kind: u32, name: &[u8], value: &[u8]| {
            let mut bytes = Vec::new();
            for word in [
                u32::try_from(name.len()).unwrap(),
                u32::try_from(value.len()).unwrap(),
                kind,
            ] {
                bytes.extend(word.to_le_bytes());
            }
            for part in [name, value] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let notes = [
            note(1, b"GNU\0", &[1; 16]),
            note(3, b"odd\0\0", &[2; 5]),
            note(3, b"GNU\0", &[3; 20]),
        ];
        assert_eq!(build_id(&notes.concat()).as_deref(), Some(&[3; 20][..]));
        assert_eq!(build_id(&notes[..2].concat()), None);
        assert_eq!(build_id(&[0xff; 64]), None);
        let mut cut = notes.concat();
        cut.pop();
        assert_eq!(build_id(&cut), None);
    }
}
