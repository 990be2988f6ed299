//! Stacks: copied where they are, unwound and named elsewhere.
//!
//! What is asked for its stack copies a few registers and the bytes of it ([`copy`]), and goes on. The agent's thread
//! unwinds the copy ([`Unwinder`]) and names each address once ([`Symbols`]). Ordinary builds will do: no frame pointers,
//! no flags. Lines and inlined functions, and so most async functions of a release build, need debug information:
//! `debug = "limited"` is enough. With `"line-tables-only"`, inlined functions have the last part of their name only
//! (`{async_fn#0}`), and a line.
//!
//! ```ignore
//! // In the host's thread: up to the frame of `poll`, which is the last that is seen.
//! let top = Registers::here().sp;                    // in `poll`
//! let registers = Registers::here();                 // in a function that `poll` has called
//! // SAFETY: the frames between the two are live.
//! let copied = unsafe { copy::copy(&registers, top, &mut tape) };
//! // On the agent's thread, with the words that were copied.
//! let (mut unwinder, mut symbols) = (Unwinder::new(), Symbols::new());
//! unwinder.refresh()?;                               // before each batch
//! let mut addresses = Vec::new();
//! let end = unwinder.unwind(&registers, words, copied.cut, &mut addresses);
//! for &address in &addresses {
//!     for frame in symbols.resolve(unwinder.modules(), address).iter() {
//!         println!("{} {:?}:{:?}", frame.function, frame.file, frame.line);
//!     }
//! }
//! symbols.rest();                                    // when nobody has asked for a while
//! ```

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod binary;
pub(crate) mod copy;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod elsewhere;
mod frame;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod modules;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod symbol;
#[cfg(test)]
mod tests;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod unwind;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) use elsewhere::{Modules, Symbols, Unwinder};
pub(crate) use frame::{End, Frame, Frames, MAX_FRAMES};
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use modules::Modules;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use symbol::Symbols;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use unwind::Unwinder;

/// Whether stacks can be unwound here, and if not, why.
pub(crate) fn supported() -> Result<(), &'static str> {
    if cfg!(not(target_os = "linux")) {
        Err("stacks are unwound on Linux only")
    } else if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
        Err("stacks are unwound on x86_64 and aarch64 only")
    } else {
        Ok(())
    }
}
