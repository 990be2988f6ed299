//! Who may commit: a pure decision.
//!
//! A future that is dropped leaves its blocking job behind, which may come to the store after jobs that were begun
//! later. So runs and commits are numbered when they are begun, and what comes too late is turned away.

/// The latest run that has come to the store, and the latest commit of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fence {
    run: u64,
    commit: u64,
}

impl Fence {
    /// Lets a run in, unless a later one is; from then on no earlier one may commit.
    pub(super) fn resume(&mut self, run: u64) -> bool {
        let latest = run > self.run;
        if latest {
            *self = Self { run, commit: 0 };
        }
        latest
    }

    /// Lets a commit through, unless a later run is in, or a later commit of its run was made.
    pub(super) fn commit(&mut self, run: u64, commit: u64) -> bool {
        let latest = run == self.run && commit > self.commit;
        if latest {
            self.commit = commit;
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Jobs come to the store in any order: what is let through only goes forward.
        #[test]
        fn nothing_goes_back(jobs in prop::collection::vec((1u64..6, 0u64..6), 0..64)) {
            let mut fence = Fence::default();
            let mut latest = (0, 0);
            for (run, commit) in jobs {
                let passed = if commit == 0 { fence.resume(run) } else { fence.commit(run, commit) };
                // A run commits only once it is in, and is in but once.
                let expected = if commit == 0 { run > latest.0 } else { run == latest.0 && commit > latest.1 };
                prop_assert_eq!(passed, expected);
                if passed {
                    prop_assert!((run, commit) > latest);
                    latest = (run, commit);
                }
            }
        }
    }
}
