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
    /// Which file that was: device (major, minor) and inode.
    pub(super) file: (u64, u64, u64),
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
        let images = images(&text);
        self.known.reserve_exact(images.len());
        let mut come = Vec::new();
        for image in images {
            let same = |module: &Module| {
                module.range == image.range && module.file == image.file && *module.path == *image.path
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
            let Some(module) = load(&memory, &image, room) else {
                continue;
            };
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

/// By how much is read of a table whose end is not known.
const CHUNK: usize = 256 << 10;

/// A file that is mapped with code in it.
#[derive(Debug, PartialEq)]
struct Image<'a> {
    range: Range<u64>,
    path: &'a str,
    file: (u64, u64, u64),
    code: bool,
}

/// The images in the text of `/proc/self/maps`.
fn images(maps: &str) -> Vec<Image<'_>> {
    let mut images: Vec<Image<'_>> = Vec::new();
    for mapping in maps.lines().filter_map(mapping) {
        let (range, code, offset, file, path) = mapping;
        match images.last_mut() {
            Some(last) if offset != 0 && last.path == path && last.file == file => {
                last.range.end = range.end;
                last.code |= code;
            }
            // Only where the file begins is there a header to read.
            _ if offset == 0 => images.push(Image {
                range,
                path,
                file,
                code,
            }),
            _ => {}
        }
    }
    images.retain(|image| image.code);
    images.truncate(MAX_MODULES);
    images
}

type Mapping<'a> = (Range<u64>, bool, u64, (u64, u64, u64), &'a str);

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
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?.parse().ok()?;
    // Paths may have blanks in them, and end in ` (deleted)`.
    let path = rest;
    if !path.starts_with('/') && path != "[vdso]" {
        return None;
    }
    let range = hex(start)?..hex(end)?;
    Some((
        range,
        perms.contains('x'),
        offset,
        (hex(major)?, hex(minor)?, inode),
        path,
    ))
}

/// Reads an image's headers and tables from memory; nothing where it is no ELF image, or gone.
fn load(memory: &File, image: &Image<'_>, room: usize) -> Option<Module> {
    let size = image.range.end.checked_sub(image.range.start)?;
    let mut head = vec![0; usize::try_from(size.min(4096)).ok()?];
    memory.read_exact_at(&mut head, image.range.start).ok()?;
    let header = elf::FileHeader64::<Endianness>::parse(&*head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &*head).ok()?;
    let loaded = |kind| {
        segments
            .iter()
            .filter(move |segment| segment.p_type(endian) == kind)
            .map(move |segment| {
                let at = segment.p_vaddr(endian);
                at..at.saturating_add(segment.p_filesz(endian))
            })
    };
    let lowest = loaded(elf::PT_LOAD).map(|segment| segment.start).min()? & !0xfff;
    let bias = image.range.start.wrapping_sub(lowest);
    let inside = |range: &Range<u64>| {
        let (start, end) = (range.start.wrapping_add(bias), range.end.wrapping_add(bias));
        start < end && image.range.start <= start && end <= image.range.end
    };
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
        .filter(inside)
        .filter_map(|range| read(range, 4096))
        .find_map(|notes| build_id(&notes));
    let tables = loaded(elf::PT_GNU_EH_FRAME).find(inside).and_then(|range| {
        let at = range.start;
        let header = read(range, room)?;
        let start = frames_start(&header, at)?;
        let segment = loaded(elf::PT_LOAD).find(|segment| segment.contains(&start) && inside(segment))?;
        let room = room.checked_sub(header.len())?;
        let frames = frames(start..segment.end, room, |range| read(range, usize::MAX))?;
        Some(Tables {
            header: Table {
                at,
                bytes: header.into(),
            },
            frames: Table {
                at: start,
                bytes: frames.into(),
            },
        })
    });
    Some(Module {
        range: image.range.clone(),
        bias,
        path: image.path.into(),
        file: image.file,
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
