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
