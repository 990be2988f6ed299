//! What the kernel says of this process, through the `prometheus` crate.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

/// All `process_*` families. CPU time is in whole seconds, as that crate counts it.
pub(super) fn families() -> Vec<MetricFamily> {
    static PROCESS: LazyLock<ProcessCollector> = LazyLock::new(ProcessCollector::for_self);
    PROCESS.collect()
}
