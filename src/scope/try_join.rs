//! Children that succeed together, or not at all.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

use tokio::task::{JoinError, JoinSet};

use super::Scope;
use super::context::Context;
use super::reason::Reason;
use crate::task::ByResult;
use crate::task::kind::KindId;
use crate::task::panic;

/// Why [`Scope::try_join`] gave no values.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinFailure<E> {
    /// A child returned this error, the first to do so.
    Failed(E),
    /// A child panicked, with this message.
    Panicked(String),
    /// A child was aborted: by a close of the scope, or since its runtime shuts down.
    Aborted,
}

impl<E: fmt::Display> fmt::Display for JoinFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "a child failed: {error}"),
            Self::Panicked(message) => write!(f, "a child panicked: {message}"),
            Self::Aborted => f.write_str("a child was aborted"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for JoinFailure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Panicked(_) | Self::Aborted => None,
        }
    }
}

/// Runs the children in a scope of their own, which is gone when all have ended.
pub(super) async fn try_join<F, Fut, T, E>(
    scope: Scope,
    kind: KindId,
    children: impl IntoIterator<Item = F>,
    site: &'static Location<'static>,
) -> Result<Vec<T>, JoinFailure<E>>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    // The set aborts what is left where this future is dropped.
    let (mut set, mut places) = (JoinSet::new(), HashMap::new());
    for (place, child) in children.into_iter().enumerate() {
        let future = child(Context::new(scope.node()));
        let (task, member) = scope.enter::<_, ByResult>(kind, future, site);
        #[cfg(tokio_unstable)]
        let _ours = crate::task::hooks::ours();
        let handle = set.spawn(task);
        places.insert(handle.id(), place);
        if let Some(member) = member {
            member.abort_with(handle);
        }
    }
    let mut values: Vec<Option<T>> = (0..places.len()).map(|_| None).collect();
    let mut failure = None;
    while let Some(ended) = set.join_next_with_id().await {
        let failed = match ended {
            Ok((id, Ok(value))) => {
                let place = places.get(&id).and_then(|place| values.get_mut(*place));
                if let Some(place) = place {
                    *place = Some(value);
                }
                continue;
            }
            Ok((_, Err(error))) => JoinFailure::Failed(error),
            Err(error) => of(error),
        };
        // Later ones are what became of the others.
        if failure.is_none() {
            failure = Some(failed);
            scope.cancel(Reason::sibling_failed());
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(values.into_iter().flatten().collect()),
    }
}

fn of<E>(error: JoinError) -> JoinFailure<E> {
    let Ok(payload) = error.try_into_panic() else {
        return JoinFailure::Aborted;
    };
    let message = message(&*payload);
    panic::contain(|| drop(payload));
    JoinFailure::Panicked(message)
}

fn message(payload: &(dyn Any + Send)) -> String {
    panic::told(payload).message
}
