//! What a module's file says of its addresses: function names, and lines where there is debug information.
//!
//! The file is read, not mapped: should it be truncated meanwhile, a mapping would answer with `SIGBUS`. It is believed
//! only where it is the file that was loaded, which after a deployment another one may have replaced.

use super::modules::{Module, build_id};
use addr2line::Context;
use gimli::{DwarfSections, EndianReader, LittleEndian, SectionId};
use object::Endianness;
use object::elf;
use object::read::ReadCache;
use object::read::elf::{FileHeader, SectionHeader};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;

/// The symbols of one file.
pub(super) struct Binary {
    names: Names,
    lines: Option<Context<Reader>>,
    /// Of the file's sections that are held.
    bytes: usize,
}

type Reader = EndianReader<LittleEndian, Arc<[u8]>>;

/// What one file says of an address: a function, and where in its source.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    /// As it is in the file: mangled.
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

/// Why nothing is known of a module's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// No file, or none that can be read.
    File,
    /// Another file has its path now.
    Replaced,
    /// More than there is room for.
    Room,
    /// Not an ELF file, or a damaged one.
    Damaged,
}

impl Binary {
    /// Reads a module's symbols, of which at most `room` bytes are kept.
    ///
    /// Debug information that finds no room, or is compressed, is left out: names remain.
    pub(super) fn load(module: &Module, room: usize) -> Result<Self, Missing> {
        let (file, own) = open(&module.path).map_err(|_| Missing::File)?;
        let cache = ReadCache::new(&file);
        let damaged = |_| Missing::Damaged;
        let header = elf::FileHeader64::<Endianness>::parse(&cache).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        let sections = header.sections(endian, &cache).map_err(damaged)?;
        let all: Vec<Section> = sections
            .iter()
            .map(|section| Section {
                name: sections
                    .section_name(endian, section)
                    .unwrap_or_default()
                    .to_vec(),
                kind: section.sh_type(endian),
                offset: section.sh_offset(endian),
                size: section.sh_size(endian),
                link: section.sh_link(endian),
                packed: section.sh_flags(endian).contains(elf::SHF_COMPRESSED),
            })
            .collect();
        let room = &mut { room };
        if !own && !is_same(&file, module, &all) {
            return Err(Missing::Replaced);
        }
        let before = *room;
        let names = Names::read(&file, &all, room)?;
        let lines = lines(&file, &all, room);
        Ok(Self {
            names,
            lines,
            bytes: before - *room,
        })
    }

    /// Bytes of the file that are held. What is parsed of them at need comes on top, and is about as much again for a file
    /// of which every part is asked for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The functions at an address of the file, the innermost inlined one first.
    pub(super) fn places(&self, address: u64) -> Vec<Place> {
        let mut places = self
            .lines
            .as_ref()
            .and_then(|lines| inlined(lines, address))
            .unwrap_or_default();
        if places.is_empty() {
            places.push(Place {
                function: None,
                file: None,
                line: None,
            });
        }
        // The outermost is the one that has a symbol. It tells more than debug information of lines only, in which
        // functions have the last part of their name.
        if let Some(outermost) = places.last_mut() {
            outermost.function = self.names.find(address).or_else(|| outermost.function.take());
        }
        places
    }
}

fn inlined(lines: &Context<Reader>, address: u64) -> Option<Vec<Place>> {
    let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
    let mut places = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let name = frame
            .function
            .as_ref()
            .and_then(|function| function.raw_name().ok());
        let location = frame.location.as_ref();
        places.push(Place {
            function: name.map(|name| name.into_owned()),
            file: location.and_then(|location| location.file).map(str::to_owned),
            line: location.and_then(|location| location.line),
        });
        if places.len() >= MAX_INLINED {
            break;
        }
    }
    Some(places)
}

/// The most functions that are inlined into each other at one address.
const MAX_INLINED: usize = 64;

struct Section {
    name: Vec<u8>,
    kind: elf::SectionType,
    offset: u64,
    size: u64,
    link: u32,
    packed: bool,
}

impl Section {
    /// Reads it, where there is room.
    fn read(&self, file: &File, room: &mut usize) -> Result<Arc<[u8]>, Missing> {
        let size = usize::try_from(self.size).map_err(|_| Missing::Room)?;
        let left = room.checked_sub(size).ok_or(Missing::Room)?;
        // A size that the file does not have is no reason to ask for the memory.
        let end = self.offset.checked_add(self.size).ok_or(Missing::Damaged)?;
        if file.metadata().map_err(|_| Missing::File)?.len() < end {
            return Err(Missing::Damaged);
        }
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        let into = Arc::get_mut(&mut bytes).ok_or(Missing::Room)?;
        file.read_exact_at(into, self.offset).map_err(|_| Missing::File)?;
        *room = left;
        Ok(bytes)
    }
}

/// Opens what a path of the list of mappings leads to, and says whether that is the running program itself.
fn open(path: &str) -> io::Result<(File, bool)> {
    // Which can be had though its file was replaced or removed.
    let own = std::fs::read_link("/proc/self/exe").is_ok_and(|own| own.to_str() == Some(path));
    let path = if own { "/proc/self/exe" } else { path };
    // Should the path lead to a pipe by now, an open that waits would wait for ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok((file, own))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Whether a file is the one that was loaded: by what its linker called it, else by its inode, which no other file has
/// while it is mapped. Devices are not compared, since some file systems give a mapping another one than a file.
fn is_same(file: &File, module: &Module, sections: &[Section]) -> bool {
    let Some(loaded) = &module.build_id else {
        return file.metadata().is_ok_and(|now| now.ino() == module.inode);
    };
    sections
        .iter()
        .filter(|section| section.kind == elf::SHT_NOTE)
        .filter_map(|section| section.read(file, &mut { 4096 }).ok())
        .find_map(|notes| build_id(&notes))
        .is_some_and(|found| found == *loaded)
}

/// The names of functions, by address.
struct Names {
    /// By start.
    functions: Vec<Function>,
    text: Arc<[u8]>,
}

struct Function {
    start: u64,
    size: u32,
    name: u32,
}

impl Names {
    fn read(file: &File, sections: &[Section], room: &mut usize) -> Result<Self, Missing> {
        let table = |kind| sections.iter().find(|section| section.kind == kind);
        // What is exported is a part of what is there.
        let Some(table) = table(elf::SHT_SYMTAB).or_else(|| table(elf::SHT_DYNSYM)) else {
            return Ok(Self {
                functions: Vec::new(),
                text: Arc::new([]),
            });
        };
        let link = usize::try_from(table.link).map_err(|_| Missing::Damaged)?;
        let text = sections.get(link).ok_or(Missing::Damaged)?;
        // The table itself is let go of: half of it are no functions.
        let symbols = table.read(file, &mut { *room })?;
        let mut functions: Vec<Function> = symbols.chunks_exact(24).filter_map(Function::parse).collect();
        functions.shrink_to_fit();
        functions.sort_by_key(|function| function.start);
        let held = functions.len() * size_of::<Function>();
        *room = room.checked_sub(held).ok_or(Missing::Room)?;
        let text = text.read(file, room)?;
        Ok(Self { functions, text })
    }

    fn find(&self, address: u64) -> Option<String> {
        let after = self
            .functions
            .partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        // Functions written in assembly may have no size.
        if function.size != 0 && address - function.start >= u64::from(function.size) {
            return None;
        }
        let name = self.text.get(usize::try_from(function.name).ok()?..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&name[..end]).into_owned())
    }
}

impl Function {
    /// From an entry of a 64-bit symbol table.
    fn parse(entry: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        let (name, kind) = (word(0)?, elf::SymbolType(entry.get(4)? & 0xf));
        let defined = entry.get(6..8)? != [0, 0];
        let (start, size) = (long(8)?, long(16)?);
        let is_function = matches!(kind, elf::STT_FUNC | elf::STT_GNU_IFUNC);
        (is_function && defined && start != 0).then_some(Self {
            start,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            name,
        })
    }
}

/// Debug information; none where it has none, or none that can be used.
fn lines(file: &File, sections: &[Section], room: &mut usize) -> Option<Context<Reader>> {
    let find = |id: SectionId| {
        sections
            .iter()
            .find(|section| section.name == id.name().as_bytes())
    };
    // All or nothing: without one of its parts the rest is misread.
    let wanted = WANTED.iter().filter_map(|&id| find(id));
    let size = wanted
        .clone()
        .try_fold(0_u64, |sum, section| sum.checked_add(section.size))?;
    if size > *room as u64
        || wanted.clone().any(|section| section.packed)
        || find(SectionId::DebugInfo).is_none()
    {
        return None;
    }
    let sections = DwarfSections::load(|id| {
        let section = find(id).filter(|_| WANTED.contains(&id));
        section.map_or_else(|| Ok(Arc::from([])), |section| section.read(file, room))
    });
    let dwarf = sections
        .ok()?
        .borrow(|bytes: &Arc<[u8]>| EndianReader::new(Arc::clone(bytes), LittleEndian));
    Context::from_dwarf(dwarf).ok()
}

/// The parts of it that lead from an address to functions and lines.
const WANTED: &[SectionId] = &[
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

#[cfg(test)]
mod tests {
    use super::super::tests::library;
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// The library of these tests, read once.
    static LIBRARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::read(library(&folder, "binary")).unwrap()
    });

    /// What is found in a file of these bytes, at every address.
    fn read(bytes: &[u8], room: usize) -> Result<(Binary, Vec<Place>), Missing> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let now = file.as_file().metadata().unwrap();
        let module = Module {
            range: 0..0x8000,
            bias: 0,
            path: file.path().to_str().unwrap().into(),
            inode: now.ino(),
            build_id: None,
            lowest: 0,
            tables: None,
        };
        let binary = Binary::load(&module, room)?;
        let places = (0..0x8000)
            .step_by(4)
            .flat_map(|address| binary.places(address))
            .collect();
        Ok((binary, places))
    }

    fn has(places: &[Place], function: &str) -> bool {
        places.iter().any(|place| {
            place
                .function
                .as_deref()
                .is_some_and(|name| name.contains(function))
        })
    }

    #[test]
    fn without_room_for_debug_information_names_remain() {
        let (binary, places) = read(&LIBRARY, 1 << 20).unwrap();
        assert!(has(&places, "visit_me") && has(&places, "inlined"), "{places:#?}");
        assert!(places.iter().any(|place| place.line.is_some()));
        let (fewer, places) = read(&LIBRARY, binary.bytes() - 1).unwrap();
        assert!(
            has(&places, "visit_me") && !has(&places, "inlined"),
            "{places:#?}"
        );
        assert!(places.iter().all(|place| place.line.is_none()));
        assert!(fewer.bytes() < binary.bytes());
        assert_eq!(read(&LIBRARY, 100).err(), Some(Missing::Room));
    }

    #[test]
    fn what_is_no_library_is_damaged() {
        for bytes in [&[][..], b"#!/bin/sh\n", &LIBRARY[..100], &LIBRARY[..2000]] {
            assert_eq!(read(bytes, 1 << 20).err(), Some(Missing::Damaged));
        }
    }

    #[test]
    fn what_would_block_is_not_opened() {
        assert!(open("/dev/null").is_err(), "no file");
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(open(pipe.to_str().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_do_no_harm(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
            keep in prop_oneof![Just(None), any::<prop::sample::Index>().prop_map(Some)],
        ) {
            let mut bytes = LIBRARY.clone();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(keep) = keep {
                bytes.truncate(keep.index(bytes.len()));
            }
            // Whatever is found: nothing panics, and no more is held than is there.
            if let Ok((binary, _)) = read(&bytes, 1 << 20) {
                assert!(binary.bytes() <= bytes.len() * 2);
            }
        }
    }
}
