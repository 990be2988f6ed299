//! Tasks that wait for each other, or for what was not given back.

use std::sync::Arc;

use lifespan::leak::Verdict::Suspected;
use tokio::sync::{Barrier, Mutex, RwLock, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::super::world::{Program, boxed, millis, secs};

pub(crate) static LEAKING: &[Program] = &[
    Program {
        name: "a lock held while sending to who waits for the lock",
        source: "GoBench kubernetes/10182",
        hours: 3,
        leaks: &[("sync-batch", Suspected)],
        run: |w| {
            boxed(async move {
                let (lock, (send, receive)) = (Arc::new(Mutex::new(())), mpsc::channel(1));
                let receive = Arc::new(Mutex::new(receive));
                let mut number = 0;
                w.clone()
                    .each(secs(10), || {
                        number += 1;
                        let (lock, send, receive) = (lock.clone(), send.clone(), receive.clone());
                        w.spawn("sync-batch", async move {
                            let _held = lock.lock().await;
                            sleep(millis(10)).await;
                            if number > 300 {
                                let _ = send.send(number).await;
                                let _ = send.send(number).await;
                            }
                            drop(receive);
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a lock taken twice",
        source: "GoBench cockroach/9935",
        hours: 3,
        leaks: &[("log-flush", Suspected)],
        run: |w| {
            boxed(async move {
                let logger = Arc::new(Mutex::new(0));
                let (mut number, kept) = (0, logger.clone());
                w.keep(kept);
                w.clone()
                    .each(secs(12), || {
                        number += 1;
                        let (logger, number) = (logger.clone(), number);
                        w.spawn("log-flush", async move {
                            let _held = logger.lock().await;
                            sleep(millis(5)).await;
                            if number == 250 {
                                let _again = logger.lock().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "permits that are not given back",
        source: "GoBench cockroach/584 (a missing unlock)",
        hours: 4,
        leaks: &[("gossip", Suspected)],
        run: |w| {
            boxed(async move {
                let slots = Arc::new(Semaphore::new(20));
                w.clone()
                    .each(secs(10), || {
                        let (slots, fails) = (slots.clone(), w.one_in(20));
                        w.spawn("gossip", async move {
                            let slot = slots.acquire().await.unwrap();
                            sleep(millis(200)).await;
                            if fails {
                                slot.forget();
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "two locks in two orders",
        source: "GoBench cockroach/7504",
        hours: 3,
        leaks: &[("lease", Suspected), ("release", Suspected)],
        run: |w| {
            boxed(async move {
                let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
                w.clone()
                    .each(secs(10), || {
                        let (first, second, wait) = (a.clone(), b.clone(), w.around(millis(40)));
                        w.spawn("lease", async move {
                            let _first = first.lock().await;
                            sleep(wait).await;
                            let _second = second.lock().await;
                        });
                        let (first, second, wait) = (b.clone(), a.clone(), w.around(millis(40)));
                        let later = w.around(secs(3));
                        w.spawn("release", async move {
                            sleep(later).await;
                            let _first = first.lock().await;
                            sleep(wait).await;
                            let _second = second.lock().await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a read lock within a read lock",
        source: "GoBench kubernetes/62464",
        hours: 3,
        leaks: &[("cpu-state", Suspected)],
        run: |w| {
            boxed(async move {
                let state = Arc::new(RwLock::new(0));
                w.clone()
                    .each(secs(5), || {
                        let (state, writes, wait) = (state.clone(), w.one_in(10), w.around(millis(900)));
                        w.spawn("cpu-state", async move {
                            if writes {
                                *state.write().await += 1;
                                return;
                            }
                            let _outer = state.read().await;
                            sleep(wait).await;
                            let _inner = state.read().await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "waiting for all in the loop that starts them",
        source: "GoBench moby/25384 (Tu, figure 5)",
        hours: 3,
        leaks: &[("restore-plugins", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(25), || {
                        let plugins = if w.one_in(5) { 2 } else { 1 };
                        let world = w.clone();
                        w.spawn("restore-plugins", async move {
                            let group = Arc::new(Barrier::new(plugins + 1));
                            world.keep(group.clone());
                            for _ in 0..plugins {
                                let member = group.clone();
                                world.spawn("restore-plugin", async move {
                                    sleep(millis(30)).await;
                                    let _ = timeout(secs(1), member.wait()).await;
                                });
                                group.wait().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
];
