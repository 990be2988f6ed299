//! What a stack consists of, once it is unwound and named.

use std::sync::Arc;

/// One function at an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) struct Frame {
    /// The address that was asked for.
    pub(crate) address: u64,
    /// Demangled, without the hash; `module+0x1234` where no name is known.
    pub(crate) function: Arc<str>,
    /// The path of its source, as the compiler was given it; `None` without debug information.
    pub(crate) file: Option<Arc<str>>,
    /// `None` without debug information.
    pub(crate) line: Option<u32>,
    /// Whether the compiler put it into the function that follows.
    pub(crate) inlined: bool,
}

/// The functions at one address: those that were inlined, from the innermost on, and the one that they were inlined
/// into.
pub(crate) type Frames = Arc<[Frame]>;

/// How the frames of a stack end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At the root of the thread, or at the `top` up to which it was copied: nothing is missing.
    Whole,
    /// With the copy, which was cut: outer frames are missing.
    Cut,
    /// After [`MAX_FRAMES`]: outer frames are missing.
    Deep,
    /// At a frame that could not be unwound: code without tables, or bytes that are no stack.
    Broken,
}

/// The most frames of a stack.
pub(crate) const MAX_FRAMES: usize = 256;
