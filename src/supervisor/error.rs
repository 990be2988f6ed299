//! What can go wrong with a supervisor: one error for each who asks.

use std::fmt;
use std::sync::Arc;

use super::spec::{AutoShutdown, ChildSpec, Restart};
use super::strategy::Strategy;

/// A supervisor or a child cannot be as it was specified. Correct it in the code.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children have this name.
    DuplicateName(Arc<str>),
    /// A permanent child never ends for good, and so cannot be significant.
    SignificantPermanent(Arc<str>),
    /// The supervisor never shuts down by itself, so that no child of it is significant.
    SignificantWithoutAutoShutdown(Arc<str>),
    /// A heartbeat, a start timeout or the supervisor's period is zero.
    ZeroDuration(&'static str),
    /// A dynamic supervisor starts with this child: add it once the supervisor runs.
    DynamicWithChildren(Arc<str>),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateName(name) => write!(f, "two children are named `{name}`: rename one"),
            Self::SignificantPermanent(name) => write!(
                f,
                "child `{name}` is significant and permanent: make it transient or temporary"
            ),
            Self::SignificantWithoutAutoShutdown(name) => write!(
                f,
                "child `{name}` is significant, and its supervisor never shuts down by itself: set auto_shutdown"
            ),
            Self::ZeroDuration(which) => write!(f, "the {which} is zero: give it some time"),
            Self::DynamicWithChildren(name) => write!(
                f,
                "child `{name}` was given to a dynamic supervisor: add it once that runs"
            ),
        }
    }
}

impl std::error::Error for SpecError {}

/// Why a supervisor did not start, or did not add or restart a child. What had been started was stopped again.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StartError {
    /// It is not valid as it was specified.
    Spec(SpecError),
    /// A child did not start.
    #[non_exhaustive]
    Child {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        cause: Arc<str>,
    },
    /// The scope was cancelled before all children had started, for this reason.
    Cancelled(Arc<str>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Child { child, cause } => write!(f, "child `{child}` did not start: {cause}"),
            Self::Cancelled(reason) => write!(f, "cancelled while it started: {reason}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spec(error) => Some(error),
            Self::Child { .. } | Self::Cancelled(_) => None,
        }
    }
}

impl From<SpecError> for StartError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

/// Why a running supervisor did not do what it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ControlError {
    /// It has no such child.
    NoSuchChild,
    /// The child runs: terminate it first.
    Running,
    /// The child will be started again by itself: terminate it first.
    Restarting,
    /// The child's former task does not end, though it was aborted.
    Stuck,
    /// A dynamic supervisor forgets a child that ends: add a new one.
    Dynamic,
    /// The child did not start.
    Start(StartError),
    /// The supervisor has ended, or is about to.
    Ended,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchChild => f.write_str("the supervisor has no such child"),
            Self::Running => f.write_str("the child runs: terminate it first"),
            Self::Restarting => f.write_str("the child is about to be restarted: terminate it first"),
            Self::Stuck => f.write_str("the child's former task does not end though it was aborted"),
            Self::Dynamic => f.write_str("a dynamic supervisor forgets children that end: add a new one"),
            Self::Start(error) => error.fmt(f),
            Self::Ended => f.write_str("the supervisor has ended"),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            _ => None,
        }
    }
}

/// Checks one child against its supervisor.
pub(super) fn check(spec: &ChildSpec, auto: AutoShutdown) -> Result<(), SpecError> {
    let name = || Arc::clone(&spec.name);
    if spec.significant && spec.restart == Restart::Permanent {
        return Err(SpecError::SignificantPermanent(name()));
    }
    if spec.significant && auto == AutoShutdown::Never {
        return Err(SpecError::SignificantWithoutAutoShutdown(name()));
    }
    if spec.heartbeat.is_some_and(|interval| interval.is_zero()) {
        return Err(SpecError::ZeroDuration("heartbeat"));
    }
    if spec.readiness.limit().is_some_and(|limit| limit.is_zero()) {
        return Err(SpecError::ZeroDuration("start timeout"));
    }
    Ok(())
}

/// Checks the children that a supervisor starts with.
pub(super) fn check_all(
    children: &[ChildSpec],
    strategy: Strategy,
    auto: AutoShutdown,
) -> Result<(), SpecError> {
    let mut names = std::collections::HashSet::new();
    for spec in children {
        if strategy == Strategy::Dynamic {
            return Err(SpecError::DynamicWithChildren(Arc::clone(&spec.name)));
        }
        if !names.insert(&spec.name) {
            return Err(SpecError::DuplicateName(Arc::clone(&spec.name)));
        }
        check(spec, auto)?;
    }
    Ok(())
}
