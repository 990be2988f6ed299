//! An `Extra` that a reader holds while its record is released: freed once, and not under the reader.

#![expect(unsafe_code, reason = "a probe that tells when the `Extra` is freed")]

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use loom::cell::UnsafeCell;

use super::super::extra::{self, Extra, Facts};
use super::leaf::Locked;
use super::{World, check, check_bounded};

/// Reached by readers while they hold the `Extra`, and by its drop, through the waker in it.
struct Probe(UnsafeCell<u32>);

impl Probe {
    fn waker(self: &Arc<Self>) -> Waker {
        // SAFETY: the table takes a pointer to a probe, which outlives the waker.
        unsafe { Waker::new(Arc::as_ptr(self).cast(), &TABLE) }
    }

    fn read(&self) {
        self.0.with(|_| ());
    }

    fn freed(&self) -> u32 {
        // SAFETY: loom tells where this is not ordered.
        self.0.with(|freed| unsafe { *freed })
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(|data| RawWaker::new(data, &TABLE), free, |_| (), free);

unsafe fn free(data: *const ()) {
    // SAFETY: made by `Probe::waker`.
    let probe = unsafe { &*data.cast::<Probe>() };
    // SAFETY: loom tells where this is not ordered.
    probe.0.with_mut(|freed| unsafe { *freed += 1 });
}

// SAFETY: loom tells where accesses are not ordered.
unsafe impl Sync for Probe {}
// SAFETY: as above.
unsafe impl Send for Probe {}

fn extra(probe: &Arc<Probe>, name: &str) -> Box<Extra> {
    let extra = Extra::new(Facts {
        name: Some(name.into()),
        ..Facts::default()
    });
    assert!(extra.replace_waker(probe.waker()).is_none());
    Box::new(extra)
}

fn pin(world: &World, id: u64, probe: &Probe) -> Option<Box<str>> {
    let name = world.record.pin(id, |extra| {
        probe.read();
        extra.facts.name.clone()
    });
    name.flatten()
}

#[test]
fn a_reader_holds_it_while_the_record_is_released() {
    check(|| {
        let world = World::<Locked>::new();
        let probe = Arc::new(Probe(UnsafeCell::new(0)));
        world.begin(1);
        world.record.set_extra(extra(&probe, "one"));
        let (other, probed) = (Arc::clone(&world), Arc::clone(&probe));
        let reader = loom::thread::spawn(move || pin(&other, 1, &probed));
        world.end();
        extra::sweep_unlinked();
        let name = reader.join().unwrap();
        assert!(name.is_none_or(|name| &*name == "one"));
        extra::sweep_unlinked();
        assert_eq!(probe.freed(), 1);
        world.assert_quiet(1);
    });
}

#[test]
fn a_reader_finds_it_whole() {
    check(|| {
        let world = World::<Locked>::new();
        let probe = Arc::new(Probe(UnsafeCell::new(0)));
        world.begin(1);
        let (other, probed) = (Arc::clone(&world), Arc::clone(&probe));
        let reader = loom::thread::spawn(move || pin(&other, 1, &probed));
        // Stands for the facts that are written before it is set.
        probe.0.with_mut(|_| ());
        world.record.set_extra(extra(&probe, "one"));
        let name = reader.join().unwrap();
        assert!(name.is_none_or(|name| &*name == "one"));
        world.end();
        extra::sweep_unlinked();
        assert_eq!(probe.freed(), 1);
        world.assert_quiet(1);
    });
}

#[test]
fn a_reader_never_takes_the_next_tasks_for_it() {
    check_bounded(2, || {
        let world = World::<Locked>::new();
        let probe = Arc::new(Probe(UnsafeCell::new(0)));
        world.begin(1);
        world.record.set_extra(extra(&probe, "one"));
        let (other, probed) = (Arc::clone(&world), Arc::clone(&probe));
        let reader = loom::thread::spawn(move || pin(&other, 1, &probed));
        world.end();
        world.begin(2);
        world.record.set_extra(extra(&probe, "two"));
        let name = reader.join().unwrap();
        assert!(name.is_none_or(|name| &*name == "one"));
        world.end();
        extra::sweep_unlinked();
        assert_eq!(probe.freed(), 2);
        world.assert_quiet(2);
    });
}

#[test]
fn two_readers_hold_it() {
    check_bounded(2, || {
        let world = World::<Locked>::new();
        let probe = Arc::new(Probe(UnsafeCell::new(0)));
        world.begin(1);
        world.record.set_extra(extra(&probe, "one"));
        let readers = [(), ()].map(|()| {
            let (other, probed) = (Arc::clone(&world), Arc::clone(&probe));
            loom::thread::spawn(move || pin(&other, 1, &probed))
        });
        world.end();
        extra::sweep_unlinked();
        for reader in readers {
            let name = reader.join().unwrap();
            assert!(name.is_none_or(|name| &*name == "one"));
        }
        extra::sweep_unlinked();
        assert_eq!(probe.freed(), 1);
        world.assert_quiet(1);
    });
}
