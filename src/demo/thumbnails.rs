//! Blocking jobs: pictures made small on tokio's pool for blocking code.

use std::hint::black_box;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::kinds;

/// Makes thumbnails, a few at a time.
#[derive(Clone, Debug)]
pub(super) struct Thumbnails {
    // The pool itself takes any number of jobs.
    room: Arc<Semaphore>,
}

impl Thumbnails {
    pub(super) fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }

    /// Starts a job, if there is room for it; nobody waits for it.
    pub(super) fn make(&self, order: u64) -> bool {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return false;
        };
        lifespan::spawn_blocking(&kinds::THUMBNAIL, move || {
            black_box(shrink(&picture(order)));
            drop(room);
        });
        true
    }

    /// Waits until no job is under way.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(ROOM).unwrap_or(u32::MAX);
        let _ = self.room.acquire_many(all).await;
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
