//! Families of samples, in the types of the `prometheus` crate.
//!
//! Only what its two models have in common is called: an application that switches the crate's `protobuf` on
//! changes the model for us as well.

use prometheus::proto;

use super::catalogue::{Metric, Type};
use crate::task::Histogram;

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Family {
    metric: &'static Metric,
    samples: Vec<proto::Metric>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self {
            metric,
            samples: Vec::new(),
        }
    }

    /// The same, with one sample that has no labels.
    pub(super) fn single(metric: &'static Metric, value: f64) -> Self {
        let mut family = Self::new(metric);
        family.add(&[], value);
        family
    }

    /// Adds a sample of a counter or a gauge; its labels' values in the order of the catalogue.
    pub(super) fn add(&mut self, labels: &[&str], value: f64) {
        let mut sample = self.sample(labels);
        if self.metric.kind == Type::Counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        self.samples.push(sample);
    }

    /// Adds a sample of a counter or a gauge that counts things.
    pub(super) fn count(&mut self, labels: &[&str], value: u64) {
        self.add(labels, float(value));
    }

    pub(super) fn histogram(&mut self, labels: &[&str], durations: &Histogram) {
        let mut histogram = proto::Histogram::default();
        let buckets = durations.cumulative().map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.sum());
        let mut sample = self.sample(labels);
        sample.set_histogram(histogram);
        self.samples.push(sample);
    }

    pub(super) fn summary(&mut self, count: u64, sum: f64) {
        let mut summary = proto::Summary::default();
        summary.set_sample_count(count);
        summary.set_sample_sum(sum);
        let mut sample = self.sample(&[]);
        sample.set_summary(summary);
        self.samples.push(sample);
    }

    /// The family; `None` where it has no sample, since the encoder takes that for a mistake.
    pub(super) fn finish(self) -> Option<proto::MetricFamily> {
        if self.samples.is_empty() {
            return None;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(match self.metric.kind {
            Type::Counter => proto::MetricType::COUNTER,
            Type::Gauge => proto::MetricType::GAUGE,
            Type::Histogram => proto::MetricType::HISTOGRAM,
            Type::Summary => proto::MetricType::SUMMARY,
        });
        family.set_metric(self.samples);
        Some(family)
    }

    fn sample(&self, values: &[&str]) -> proto::Metric {
        debug_assert_eq!(self.metric.labels.len(), values.len(), "{}", self.metric.name);
        let pairs = self.metric.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut sample = proto::Metric::default();
        sample.set_label(pairs.collect());
        sample
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are floats; exact up to 2^53, which no count here reaches"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}
