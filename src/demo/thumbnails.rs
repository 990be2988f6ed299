//! Blocking jobs: pictures made small on tokio's pool for blocking code.

use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifespan::JoinSet;

use super::kinds;

/// Makes thumbnails, a few at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Thumbnails {
    jobs: Arc<Mutex<JoinSet<()>>>,
}

impl Thumbnails {
    /// Starts a job, if there is room for it: the pool itself would take any number. Nobody waits for it.
    pub(super) fn make(&self, order: u64) -> bool {
        let mut jobs = self.jobs();
        while jobs.try_join_next().is_some() {}
        let room = jobs.len() < ROOM;
        if room {
            jobs.spawn_blocking(&kinds::THUMBNAIL, move || {
                black_box(shrink(&picture(order)));
            });
        }
        room
    }

    fn jobs(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ROOM: usize = 8;
const SIDE: usize = 512;
const FACTOR: usize = 8;

/// A picture in shades of grey, line by line.
fn picture(order: u64) -> Vec<u8> {
    let shade = order.to_le_bytes()[0];
    (0..SIDE * SIDE)
        .map(|at| ((at % SIDE) ^ (at / SIDE)).to_le_bytes()[0].wrapping_add(shade))
        .collect()
}

/// Each square of pixels becomes one, their mean.
fn shrink(picture: &[u8]) -> Vec<u8> {
    let square = FACTOR * FACTOR;
    let mut sums = vec![0usize; picture.len() / square];
    for (at, pixel) in picture.iter().enumerate() {
        let (x, y) = (at % SIDE / FACTOR, at / SIDE / FACTOR);
        if let Some(sum) = sums.get_mut(y * (SIDE / FACTOR) + x) {
            *sum += usize::from(*pixel);
        }
    }
    sums.iter().map(|sum| (sum / square).to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grey_picture_stays_grey() {
        let small = shrink(&[77; SIDE * SIDE]);
        assert_eq!(small, [77; SIDE / FACTOR * (SIDE / FACTOR)]);
    }
}
