//! Copies of real stacks, unwound and named.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#![expect(unsafe_code, reason = "stacks are copied")]

use super::copy::{Registers, copy};
use super::frame::{End, Frame, MAX_FRAMES};
use super::symbol::MAX_ADDRESSES;
use super::symbol::Symbols;
use super::unwind::Unwinder;
use std::ffi::{CString, c_void};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use tempfile::TempDir;

/// A copy of a stack, as a probe would take it.
struct Taken {
    registers: Registers,
    words: Vec<u64>,
    cut: bool,
}

/// Copies the stack from here to `top`.
#[inline(never)]
fn take(top: u64, capacity: usize) -> Taken {
    let registers = Registers::here();
    let mut tape = vec![MaybeUninit::uninit(); capacity];
    // SAFETY: callers give the `sp` of a function that is still running.
    let copied = unsafe { copy(&registers, top, &mut tape) };
    tape.truncate(copied.words);
    // SAFETY: so many words were written.
    let words = tape.iter().map(|word| unsafe { word.assume_init() }).collect();
    Taken {
        registers,
        words,
        cut: copied.cut,
    }
}

/// Unwinds and names it.
fn named(taken: &Taken) -> (Vec<Frame>, End) {
    // One for all tests: to read the debug information of a test binary takes a second.
    static SHARED: LazyLock<Mutex<(Unwinder, Symbols)>> =
        LazyLock::new(|| Mutex::new((Unwinder::new(), Symbols::new())));
    let mut shared = SHARED.lock().unwrap();
    let (unwinder, symbols) = &mut *shared;
    unwinder.refresh().unwrap();
    let mut addresses = Vec::new();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    let frames = addresses
        .iter()
        .flat_map(|&address| symbols.resolve(unwinder.modules(), address).to_vec())
        .collect();
    (frames, end)
}

#[inline(never)]
fn recurse(depth: usize, top: u64, capacity: usize) -> Taken {
    let taken = if depth == 0 {
        take(top, capacity)
    } else {
        recurse(depth - 1, top, capacity)
    };
    // Not a tail call.
    black_box(depth);
    taken
}

fn count(frames: &[Frame], function: &str) -> usize {
    frames
        .iter()
        .filter(|frame| frame.function.ends_with(function))
        .count()
}

#[test]
fn a_recursion_is_unwound_and_named() {
    let top = Registers::here().sp;
    let taken = recurse(49, top, 16 << 10);
    assert!(!taken.cut);
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Whole, "{frames:#?}");
    assert_eq!(count(&frames, "stack::tests::recurse"), 50, "{frames:#?}");
    assert_eq!(count(&frames, "stack::tests::take"), 1, "{frames:#?}");
    // The function of `top` is the last one.
    let last = frames.last().unwrap();
    assert!(
        last.function.ends_with("a_recursion_is_unwound_and_named"),
        "{last:?}"
    );
    assert!(
        last.file.as_ref().unwrap().ends_with("src/stack/tests.rs"),
        "{last:?}"
    );
    assert!(last.line.is_some(), "{last:?}");
}

#[test]
fn a_stack_that_does_not_fit_is_cut_and_says_so() {
    let top = Registers::here().sp;
    let whole = recurse(49, top, 16 << 10);
    let taken = recurse(49, top, whole.words.len() / 2);
    assert!(taken.cut);
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Cut);
    let recursions = count(&frames, "stack::tests::recurse");
    assert!((10..50).contains(&recursions), "{recursions}");
}

#[test]
fn a_stack_that_is_too_deep_ends_and_says_so() {
    let top = Registers::here().sp;
    let taken = recurse(2 * MAX_FRAMES, top, 1 << 20);
    let mut unwinder = Unwinder::new();
    unwinder.refresh().unwrap();
    let mut addresses = Vec::new();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    assert_eq!((end, addresses.len()), (End::Deep, MAX_FRAMES));
}

#[test]
fn a_thread_is_unwound_to_its_root() {
    let taken = std::thread::spawn(|| take(top_of_thread(), 1 << 20))
        .join()
        .unwrap();
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Whole);
    assert_eq!(
        count(&frames, "a_thread_is_unwound_to_its_root::{closure#0}")
            + count(&frames, "a_thread_is_unwound_to_its_root::{{closure}}"),
        1,
        "{frames:#?}"
    );
    let all = format!("{frames:?}");
    assert!(
        all.contains("std::sys::thread::") || all.contains("std::sys::pal::"),
        "{frames:#?}"
    );
}

/// The end of this thread's stack.
fn top_of_thread() -> u64 {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: has no conditions.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: fills them in.
    let got = unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) };
    assert_eq!(got, 0);
    let (mut lowest, mut size) = (std::ptr::null_mut::<c_void>(), 0);
    // SAFETY: they were filled in.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size) };
    // SAFETY: they were filled in, and are not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    lowest as u64 + size as u64
}

#[test]
fn the_frames_are_those_of_std() {
    #[inline(never)]
    fn both(top: u64) -> (Taken, String) {
        (
            take(top, 16 << 10),
            std::backtrace::Backtrace::force_capture().to_string(),
        )
    }
    #[inline(always)]
    fn inlined(top: u64) -> (Taken, String) {
        let both = [top].map(both);
        black_box(&both);
        both.into_iter().next().unwrap()
    }
    let (taken, text) = inlined(Registers::here().sp);
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Whole);
    let ours: Vec<&str> = frames
        .iter()
        .map(|frame| &*frame.function)
        .skip_while(|name| !name.ends_with("both"))
        .collect();
    // Lines `  12: name`, each with one `at file:line:column` behind it.
    let theirs: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start().split_once(": "))
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .map(|(_, name)| name)
        .skip_while(|name| !name.ends_with("both"))
        .take(ours.len())
        .collect();
    assert_eq!(ours, theirs);
    assert!(ours.len() > 3, "{ours:#?}");
    let inlined = frames.iter().find(|frame| frame.function.ends_with("::inlined"));
    assert!(inlined.is_some_and(|frame| frame.inlined), "{frames:#?}");
    assert!(!frames.last().unwrap().inlined);
}

#[test]
fn await_points_have_the_names_of_their_functions() {
    async fn leaf<T: Default>(top: u64) -> (Taken, T) {
        std::future::poll_fn(|_| Poll::Ready((take(top, 16 << 10), T::default()))).await
    }
    async fn middle(top: u64) -> Taken {
        leaf::<Vec<u8>>(top).await.0
    }
    let top = Registers::here().sp;
    let root = pin!(async move { middle(top).await });
    let Poll::Ready(taken) = black_box(root).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it does not wait");
    };
    let (frames, end) = named(&taken);
    assert_eq!(end, End::Whole);
    // The outermost of each, since names of closures begin with those of what they stand in.
    let at = |name: &str| frames.iter().rposition(|frame| frame.function.contains(name));
    let places = [
        at("tests::take"),
        at("PollFn"),
        at("::leaf::"),
        at("::middle::"),
        at("await_points_have_the_names_of_their_functions::{"),
        at("await_points_have_the_names_of_their_functions"),
    ];
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted_by(|a, b| a < b),
        "{places:?} {frames:#?}"
    );
}

/// Builds a small library with debug information: `visit_me` calls a function that is inlined, and that what it is given.
pub(super) fn library(folder: &TempDir, name: &str) -> PathBuf {
    let (source, to) = (
        folder.path().join("lib.rs"),
        folder.path().join(format!("lib{name}.so")),
    );
    let text = "#![no_std]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
#[inline(always)]
fn inlined(f: extern \"C\" fn(u64) -> u64, with: u64) -> u64 { f(with) + 1 }
#[unsafe(no_mangle)]
pub extern \"C\" fn visit_me(f: extern \"C\" fn(u64) -> u64, with: u64) -> u64 { inlined(f, with) + 1 }
";
    std::fs::write(&source, text).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args([
            "--edition=2024",
            "--crate-type=cdylib",
            "-Copt-level=1",
            "-Cdebuginfo=2",
            "-Cpanic=abort",
        ])
        .args(["--crate-name", name, "-Clink-arg=-Wl,--build-id", "-o"])
        .args([&to, &source])
        .status()
        .unwrap();
    assert!(built.success());
    to
}

/// A library that is loaded.
struct Loaded(*mut c_void);

impl Loaded {
    fn open(path: &Path) -> Self {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the library of these tests has no initialiser that does anything.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        Self(handle)
    }

    /// Takes a stack with the library's function in it.
    #[inline(never)]
    fn visit(&self) -> Taken {
        struct Visit {
            top: u64,
            taken: Option<Taken>,
        }
        extern "C" fn taking(visit: u64) -> u64 {
            let visit = std::ptr::with_exposed_provenance_mut::<Visit>(usize::try_from(visit).unwrap());
            // SAFETY: the one below, which nobody else has.
            let visit = unsafe { &mut *visit };
            visit.taken = Some(take(visit.top, 16 << 10));
            1
        }
        let mut visit = Visit {
            top: Registers::here().sp,
            taken: None,
        };
        let argument = (&raw mut visit).expose_provenance() as u64;
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(self.0, c"visit_me".as_ptr()) };
        assert!(!found.is_null());
        // SAFETY: the library has it with this type.
        let visit_me: extern "C" fn(extern "C" fn(u64) -> u64, u64) -> u64 =
            unsafe { std::mem::transmute(found) };
        assert_eq!(visit_me(taking, argument), 3);
        visit.taken.unwrap()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: closed once.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

#[test]
fn libraries_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(&folder, "coming");
    let (mut unwinder, mut symbols) = (Unwinder::new(), Symbols::new());
    unwinder.refresh().unwrap();

    let library = Loaded::open(&path);
    let taken = library.visit();
    let mut addresses = Vec::new();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    assert_eq!(end, End::Broken, "it is not known yet");
    let before = addresses.len();
    addresses.clear();
    unwinder.refresh().unwrap();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    assert_eq!(end, End::Whole);
    assert!(before < addresses.len());
    let visited = addresses[before];
    let frames = symbols.resolve(unwinder.modules(), visited);
    let names: Vec<_> = frames
        .iter()
        .map(|frame| (&*frame.function, frame.line, frame.inlined))
        .collect();
    assert_eq!(
        names,
        [("coming::inlined", Some(5), true), ("visit_me", Some(7), false)]
    );

    // What stays is found where it was.
    unwinder.refresh().unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &frames,
        &symbols.resolve(unwinder.modules(), visited)
    ));

    drop(library);
    unwinder.refresh().unwrap();
    let frames = symbols.resolve(unwinder.modules(), visited);
    assert_eq!(&*frames[0].function, format!("{visited:#x}"), "it has gone");
    addresses.clear();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    assert_eq!((end, addresses.len()), (End::Broken, before));
}

#[test]
fn a_file_that_took_anothers_place_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (library(&folder, "old"), library(&folder, "new"));
    let library = Loaded::open(&old);
    let (mut unwinder, mut symbols) = (Unwinder::new(), Symbols::new());
    unwinder.refresh().unwrap();
    let taken = library.visit();
    let mut addresses = Vec::new();
    let end = unwinder.unwind(&taken.registers, &taken.words, taken.cut, &mut addresses);
    assert_eq!(end, End::Whole);
    let within = |symbols: &mut Symbols, unwinder: &Unwinder, name: &str| {
        addresses.iter().any(|&address| {
            let frames = symbols.resolve(unwinder.modules(), address);
            frames.iter().any(|frame| frame.function.starts_with(name))
        })
    };
    assert!(
        within(&mut Symbols::new(), &unwinder, "visit_me"),
        "the negative control"
    );
    // First as it is between two refreshes, then as the list of mappings has it: deleted.
    std::fs::rename(&new, &old).unwrap();
    for _ in 0..2 {
        assert!(!within(&mut symbols, &unwinder, "visit_me"));
        assert!(within(&mut symbols, &unwinder, "libold.so"));
        unwinder.refresh().unwrap();
    }
}

#[test]
fn a_file_that_is_truncated_under_its_mapping_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(&folder, "short");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // Loaded by hand: the loader would touch it again.
    // SAFETY: a new mapping.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    let address = at as u64 + 0x40;
    let known = |unwinder: &Unwinder| unwinder.modules().find(address).is_some();
    let (mut before, mut after) = (Unwinder::new(), Unwinder::new());
    before.refresh().unwrap();
    assert!(known(&before), "the negative control");
    file.set_len(0).unwrap();
    before.refresh().unwrap();
    after.refresh().unwrap();
    assert!(known(&before) && !known(&after));
    let frames = Symbols::new().resolve(before.modules(), address);
    assert!(frames[0].function.starts_with("libshort.so"), "{frames:?}");
    // SAFETY: nobody uses it.
    assert_eq!(unsafe { libc::munmap(at, len) }, 0);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut unwinder = Unwinder::new();
    unwinder.refresh().unwrap();
    let mut symbols = Symbols::new();
    let code = take as fn(u64, usize) -> Taken as usize as u64;
    let first = symbols.resolve(unwinder.modules(), code);
    for at in 1..3 * MAX_ADDRESSES as u64 {
        symbols.resolve(unwinder.modules(), code + at);
        if at % 1024 == 0 {
            // In use, and so remembered.
            assert!(std::sync::Arc::ptr_eq(
                &first,
                &symbols.resolve(unwinder.modules(), code)
            ));
        }
    }
    assert!(symbols.remembered() <= MAX_ADDRESSES, "{symbols:?}");
    symbols.rest();
    assert!(symbols.bytes() < 16 << 20, "{symbols:?}");
    let counts = symbols.counts();
    let all = counts.cached + counts.lines + counts.names + counts.unknown;
    assert_eq!(
        all,
        3 * MAX_ADDRESSES as u64 + 3 * MAX_ADDRESSES as u64 / 1024 - 1
    );
}
