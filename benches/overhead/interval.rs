//! The median of paired differences, and how sure it is.

/// A figure with the bounds between which it lies with 95 % confidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

const RESAMPLES: usize = 2_000;

impl Interval {
    /// The percentile bootstrap of the median: 2,000 resamples, with a generator of fixed seed, so that the same
    /// samples give the same interval. No distribution is assumed: rounds that were preempted are far out, and on
    /// one side.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let mut resample: Vec<f64> = samples
                    .iter()
                    .map(|_| samples[pick(&mut seed, samples.len())])
                    .collect();
                median(&mut resample)
            })
            .collect();
        let median = median(&mut samples.to_vec());
        medians.sort_by(f64::total_cmp);
        Self {
            low: medians[RESAMPLES / 40],
            median,
            high: medians[RESAMPLES - 1 - RESAMPLES / 40],
        }
    }
}

pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 {
        samples[middle]
    } else {
        f64::midpoint(samples[middle - 1], samples[middle])
    }
}

/// A number below `bound`, by xorshift.
fn pick(seed: &mut u64, bound: usize) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 33).unwrap_or_default() % bound
}
