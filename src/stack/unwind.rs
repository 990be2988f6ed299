//! From a copy of a stack to addresses.

use super::copy::Registers;
use super::frame::{End, MAX_FRAMES};
use super::modules::{Module, Modules};
#[cfg(target_arch = "aarch64")]
use framehop::aarch64::PtrAuthMask;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, UnwindRegsNative, Unwinder as _,
    UnwinderNative,
};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Unwinds copies of stacks, on the agent's thread.
///
/// It reads the copy and the tables of its [`Modules`], and nothing else of the process: whatever the bytes are, it
/// cannot fault. A stack ends after [`MAX_FRAMES`].
pub(crate) struct Unwinder {
    modules: Modules,
    inner: UnwinderNative<Arc<[u8]>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    counts: Counts,
}

/// How many stacks ended how. Their sum is the number of stacks that were unwound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) whole: u64,
    pub(crate) cut: u64,
    pub(crate) deep: u64,
    pub(crate) broken: u64,
}

impl Unwinder {
    /// Knows no module yet: [`refresh`](Self::refresh) looks.
    pub(crate) fn new() -> Self {
        Self {
            modules: Modules::default(),
            inner: UnwinderNative::new(),
            cache: CacheNative::new(),
            counts: Counts::default(),
        }
    }

    /// Looks which modules are loaded; before each batch of stacks, since libraries come and go.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read: not mounted, or not ours to read.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        let changes = self.modules.refresh()?;
        for module in &changes.gone {
            self.inner.remove_module(module.range.start);
        }
        for module in changes.come {
            self.inner.add_module(tables(module));
        }
        Ok(())
    }

    /// Lets go of the modules and their tables, which the next [`refresh`](Self::refresh) reads again. For when nobody
    /// has asked for a while.
    pub(crate) fn rest(&mut self) {
        self.modules.clear();
        self.inner = UnwinderNative::new();
    }

    /// Those of the last [`refresh`](Self::refresh).
    pub(crate) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Of all stacks so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Appends the addresses of a stack's frames, the innermost first: each is within the instruction that runs or calls,
    /// as [`Symbols`](super::Symbols) wants it. `words` and `cut` are those of [`copy`](super::copy::copy).
    ///
    /// An address in no module ends the stack, since nothing tells it from any other number.
    pub(crate) fn unwind(
        &mut self,
        registers: &Registers,
        words: &[u64],
        cut: bool,
        addresses: &mut Vec<u64>,
    ) -> End {
        // framehop is not ours: should it panic, one stack is lost and not the agent.
        let end = catch_unwind(AssertUnwindSafe(|| self.frames(registers, words, cut, addresses)))
            .unwrap_or_else(|_| {
                self.cache = CacheNative::new();
                End::Broken
            });
        let count = match end {
            End::Whole => &mut self.counts.whole,
            End::Cut => &mut self.counts.cut,
            End::Deep => &mut self.counts.deep,
            End::Broken => &mut self.counts.broken,
        };
        *count += 1;
        end
    }

    fn frames(&mut self, registers: &Registers, words: &[u64], cut: bool, addresses: &mut Vec<u64>) -> End {
        // Whether what was missing lies above the copy, and so only there.
        let mut above = false;
        let mut read = |address: u64| {
            let at = address.checked_sub(registers.sp).ok_or(())?;
            let word = word_at(words, at);
            above |= word.is_none();
            word.ok_or(())
        };
        let mut frames = self
            .inner
            .iter_frames(registers.ip, initial(registers), &mut self.cache, &mut read);
        for _ in 0..MAX_FRAMES {
            let frame = match frames.next() {
                Ok(Some(frame)) => frame.address_for_lookup(),
                Ok(None) => return End::Whole,
                Err(_) if above && cut => return End::Cut,
                Err(_) if above => return End::Whole,
                Err(_) => return End::Broken,
            };
            if self.modules.find(frame).is_none() {
                return End::Broken;
            }
            addresses.push(frame);
        }
        End::Deep
    }
}

impl fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwinder")
            .field("modules", &self.modules)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// The eight bytes at an offset, which need not be one of words.
fn word_at(words: &[u64], offset: u64) -> Option<u64> {
    let at = usize::try_from(offset / 8).ok()?;
    let low = *words.get(at)?;
    let bits = u32::try_from(offset % 8).ok()? * 8;
    if bits == 0 {
        return Some(low);
    }
    let high = *words.get(at.checked_add(1)?)?;
    Some(low >> bits | high << (64 - bits))
}

#[cfg(target_arch = "x86_64")]
fn initial(registers: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(registers.ip, registers.sp, registers.fp)
}

#[cfg(target_arch = "aarch64")]
fn initial(registers: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new_with_ptr_auth_mask(CODE, registers.lr, registers.sp, registers.fp)
}

/// Of a return address that the processor signed: user space has 48 bits on Linux, unless it asks for more.
#[cfg(target_arch = "aarch64")]
const CODE: PtrAuthMask = PtrAuthMask(u64::MAX >> 16);

fn tables(module: Module) -> framehop::Module<Arc<[u8]>> {
    let Module {
        range,
        path,
        lowest,
        tables,
        ..
    } = module;
    let mut sections = ExplicitModuleSectionInfo {
        base_svma: lowest,
        ..Default::default()
    };
    if let Some(tables) = tables {
        sections.eh_frame_hdr_svma = Some(tables.header.range());
        sections.eh_frame_hdr = Some(tables.header.bytes);
        sections.eh_frame_svma = Some(tables.frames.range());
        sections.eh_frame = Some(tables.frames.bytes);
    }
    let start = range.start;
    framehop::Module::new(path.as_ref().to_owned(), range, start, sections)
}

#[cfg(test)]
mod tests {
    use super::super::modules::{Table, Tables};
    use super::*;
    use proptest::prelude::*;
    use std::sync::{LazyLock, Mutex, MutexGuard};

    /// One that knows all modules, to throw stacks at.
    fn shared() -> MutexGuard<'static, Unwinder> {
        static SHARED: LazyLock<Mutex<Unwinder>> = LazyLock::new(|| Mutex::new(unwinder()));
        SHARED.lock().unwrap()
    }

    fn unwinder() -> Unwinder {
        let mut unwinder = Unwinder::new();
        unwinder.refresh().unwrap();
        unwinder
    }

    /// Numbers that are addresses of code, of the copy, or neither.
    fn words(sp: u64) -> impl Strategy<Value = u64> {
        let code = code();
        prop_oneof![
            any::<u64>(),
            (0..4096_u64).prop_map(move |by| sp.wrapping_add(by)),
            (0..1_u64 << 20).prop_map(move |by| code.wrapping_add(by).wrapping_sub(1 << 19)),
        ]
    }

    fn code() -> u64 {
        code as fn() -> u64 as usize as u64
    }

    fn check(unwinder: &mut Unwinder, registers: &Registers, words: &[u64], cut: bool) {
        let mut addresses = Vec::new();
        // Not `unwind`, which contains a panic.
        unwinder.frames(registers, words, cut, &mut addresses);
        assert!(addresses.len() <= MAX_FRAMES);
    }

    const SP: u64 = 0x7fff_0000_1000;

    proptest! {
        #[test]
        fn bytes_that_are_no_stack_do_no_harm(
            stacks in proptest::collection::vec(
                (words(SP), words(SP), words(SP), proptest::collection::vec(words(SP), 0..128)),
                16,
            ),
            sp in prop_oneof![Just(SP), any::<u64>(), Just(u64::MAX - 16)],
            cut in any::<bool>(),
        ) {
            let mut unwinder = shared();
            for (ip, fp, lr, words) in stacks {
                check(&mut unwinder, &Registers { ip, sp, fp, lr }, &words, cut);
            }
        }

        #[test]
        fn damaged_tables_do_no_harm(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..400),
            header in any::<bool>(),
            stacks in proptest::collection::vec(
                (words(SP), proptest::collection::vec(words(SP), 0..64)),
                16,
            ),
        ) {
            let mut unwinder = shared();
            let Module { range, bias, path, inode, lowest, tables, .. } = unwinder.modules.find(code()).unwrap().clone();
            let Tables { header: index, frames } = tables.unwrap();
            let damaged = |table: &Table| {
                let mut bytes = table.bytes.to_vec();
                for (at, value) in &damage {
                    bytes[at.index(table.bytes.len())] = *value;
                }
                Table { at: table.at, bytes: bytes.into() }
            };
            let tables = if header {
                Tables::new(damaged(&index), frames)
            } else {
                Tables::new(index, damaged(&frames))
            };
            unwinder.inner.remove_module(range.start);
            unwinder.inner.add_module(super::tables(Module { range, bias, path, inode, build_id: None, lowest, tables }));
            for (ip, words) in stacks {
                check(&mut unwinder, &Registers { ip, sp: SP, fp: SP, lr: ip }, &words, false);
            }
        }
    }

    #[test]
    fn tables_whose_index_leads_out_of_them_are_refused() {
        let tables = shared().modules.find(code()).unwrap().tables.clone().unwrap();
        let Tables { header, frames } = tables.clone();
        assert!(Tables::new(header, frames).is_some());
        let Tables { mut header, frames } = tables;
        // Its entries are relative to where it stands.
        header.at += 1 << 24;
        assert!(Tables::new(header, frames).is_none());
    }

    #[test]
    fn each_stack_is_counted_once() {
        let mut unwinder = unwinder();
        let registers = Registers {
            ip: 1,
            sp: SP,
            ..Registers::default()
        };
        let mut addresses = Vec::new();
        for _ in 0..3 {
            let end = unwinder.unwind(&registers, &[0; 8], false, &mut addresses);
            assert_eq!(end, End::Broken);
        }
        assert!(addresses.is_empty());
        assert_eq!(
            unwinder.counts(),
            Counts {
                broken: 3,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn tables_are_let_go_of_and_read_again() {
        let mut unwinder = unwinder();
        assert!(unwinder.modules().bytes() > 0);
        unwinder.rest();
        assert_eq!(unwinder.modules().bytes(), 0);
        assert!(unwinder.modules().find(code()).is_none());
        unwinder.refresh().unwrap();
        assert!(unwinder.modules().find(code()).is_some());
    }

    #[test]
    fn words_are_read_at_any_offset() {
        let words = [0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09];
        assert_eq!(word_at(&words, 0), Some(words[0]));
        assert_eq!(word_at(&words, 8), Some(words[1]));
        assert_eq!(word_at(&words, 3), Some(0x0b0a_0908_0706_0504));
        for beyond in [9, 15, 16, 1 << 40, u64::MAX] {
            assert_eq!(word_at(&words, beyond), None);
        }
    }
}
