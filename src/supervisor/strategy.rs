//! Who stops and who starts when a child has failed: a pure decision.

/// Whom a failed child takes with it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Strategy {
    /// Nobody: it alone is started again.
    #[default]
    OneForOne,
    /// Everybody: all are stopped, in reverse order of their start, and started again in order.
    OneForAll,
    /// Those that were started after it: they are stopped, in reverse order, and started again in order behind it.
    RestForOne,
    /// Nobody, and there are no children but those that are added while it runs: as many as you like, of one name too.
    /// One that has ended for good is forgotten, and all stop at once. Erlang's `simple_one_for_one`.
    Dynamic,
}

impl Strategy {
    /// The name that views show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
            Self::Dynamic => "dynamic",
        }
    }
}

/// What the decision needs to know of a child.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Peer {
    /// Its place in the order of starts.
    pub(super) key: u64,
    /// It has a task.
    pub(super) runs: bool,
    /// It is started with its group: neither temporary, nor stopped for good.
    pub(super) returns: bool,
}

/// What is to be done, in these orders: all of the first, then all of the second.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    /// To be stopped: the last started first.
    pub(super) stop: Vec<u64>,
    /// To be started, the failed one among them.
    pub(super) start: Vec<u64>,
}

/// Decides for a child that has failed and is to be started again. `peers` are all children, in the order of their
/// starts.
pub(super) fn plan(strategy: Strategy, peers: impl Iterator<Item = Peer>, failed: u64) -> Plan {
    let taken = |key: u64| match strategy {
        Strategy::OneForOne | Strategy::Dynamic => key == failed,
        Strategy::OneForAll => true,
        Strategy::RestForOne => key >= failed,
    };
    let mut plan = Plan::default();
    for peer in peers.filter(|peer| taken(peer.key)) {
        if peer.runs {
            plan.stop.push(peer.key);
        }
        if peer.returns || peer.key == failed {
            plan.start.push(peer.key);
        }
    }
    plan.stop.reverse();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Strategy; 4] = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ];

    /// Every strategy, with every set of up to five children in every state, whichever of them failed.
    #[test]
    fn every_case() {
        for strategy in ALL {
            for children in 1..=5u32 {
                for states in 0..4u32.pow(children) {
                    for failed in 0..u64::from(children) {
                        check(strategy, children, states, failed);
                    }
                }
            }
        }
    }

    fn check(strategy: Strategy, children: u32, states: u32, failed: u64) {
        let peers: Vec<Peer> = (0..children)
            .map(|child| Peer {
                key: child.into(),
                runs: states >> (2 * child) & 1 == 1 && u64::from(child) != failed,
                returns: states >> (2 * child) & 2 == 2,
            })
            .collect();
        let plan = plan(strategy, peers.iter().copied(), failed);
        for peer in &peers {
            let taken = match strategy {
                Strategy::OneForOne | Strategy::Dynamic => peer.key == failed,
                Strategy::OneForAll => true,
                Strategy::RestForOne => peer.key >= failed,
            };
            let context = format!("{strategy:?} {peers:?} {failed}: {plan:?}");
            assert_eq!(plan.stop.contains(&peer.key), taken && peer.runs, "{context}");
            let starts = taken && (peer.returns || peer.key == failed);
            assert_eq!(plan.start.contains(&peer.key), starts, "{context}");
        }
        assert!(plan.start.is_sorted());
        assert!(plan.stop.iter().rev().is_sorted());
    }
}
