//! How the outcome of a task that has returned is told.

use super::Outcome;

/// How the outcome of a task that has returned is told from what it returned.
pub trait Classify<T>: sealed::Sealed {
    #[doc(hidden)]
    fn outcome(output: &T) -> Outcome;
}

/// Every task that returns has completed.
#[derive(Debug)]
#[non_exhaustive]
pub struct AnyOutput;

impl<T> Classify<T> for AnyOutput {
    fn outcome(_: &T) -> Outcome {
        Outcome::Completed
    }
}

/// A task that returns an `Err` has failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ByResult;

impl<T, E> Classify<Result<T, E>> for ByResult {
    fn outcome(output: &Result<T, E>) -> Outcome {
        if output.is_ok() {
            Outcome::Completed
        } else {
            Outcome::Failed
        }
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
    impl Sealed for super::AnyOutput {}
    impl Sealed for super::ByResult {}
}
