//! Programs that leak tasks of which it can be told exactly: nothing can wake them, their scope has ended, or they are
//! older than they were declared to be at most.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use lifespan::leak::Verdict::{Orphaned, Overdue, Overstayed};
use lifespan::{Reason, Scope};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{interval, sleep};

use super::super::world::{Program, boxed, millis, mins, secs};

pub(crate) static LEAKING: &[Program] = &[
    Program {
        name: "a handler that does not look at its deadline",
        source: "Tu, section 5.1: the context is passed on, and not looked at",
        hours: 1,
        leaks: &[("db-query", Overstayed)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(10), || {
                        let request = Scope::new("request").timeout(secs(30));
                        let takes = if w.one_in(10) {
                            mins(1_000)
                        } else {
                            w.around(millis(200))
                        };
                        w.spawn_in(&request, "db-query", async move { sleep(takes).await });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a client that went away",
        source: "GoBench grpc/3017",
        hours: 1,
        leaks: &[("render", Overstayed)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(20), || {
                        let request = Scope::new("render");
                        w.spawn_in(&request, "render", async move {
                            let mut tick = interval(secs(5));
                            loop {
                                tick.tick().await;
                            }
                        });
                        request.cancel(Reason::new("client went away"));
                    })
                    .await;
            })
        },
    },
    Program {
        name: "retries that do not end with their request",
        source: "GoBench istio/17860",
        hours: 1,
        leaks: &[("retry", Overstayed)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(15), || {
                        let request = Scope::new("epoch").timeout(secs(5));
                        let fails = w.one_in(8);
                        w.spawn_in(&request, "retry", async move {
                            let mut backoff = millis(100);
                            sleep(backoff).await;
                            if fails {
                                loop {
                                    sleep(backoff).await;
                                    backoff = (backoff * 2).min(secs(30));
                                }
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a request that waits for a lock for ever",
        source: "GoBench moby/17176",
        hours: 1,
        leaks: &[("devices", Overstayed)],
        run: |w| {
            boxed(async move {
                let devices = Arc::new(Mutex::new(()));
                let held = devices.clone().lock_owned().await;
                w.keep(held);
                w.clone()
                    .each(secs(30), || {
                        let request = Scope::new("remove").timeout(secs(10));
                        let devices = devices.clone();
                        w.spawn_in(&request, "devices", async move {
                            let _devices = devices.lock().await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a send to a channel that is not there",
        source: "GoBench cockroach/25456: a nil channel blocks for ever",
        hours: 1,
        leaks: &[("quiesce", Orphaned)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(30), || {
                        let stopper: Option<mpsc::Receiver<()>> = None;
                        w.spawn("quiesce", async move {
                            match stopper {
                                Some(mut stop) => drop(stop.recv().await),
                                None => pending().await,
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "an empty select",
        source: "LeakProf, empty select",
        hours: 1,
        leaks: &[("block-forever", Orphaned)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(1), || {
                        w.spawn("block-forever", async move {
                            tokio::select! {
                                () = pending() => {}
                                () = poll_fn(|_| Poll::Pending) => {}
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a callback that lost its waker",
        source: "tokio's documentation of `Future::poll`: only the waker of the last poll is to be woken",
        hours: 1,
        leaks: &[("callback", Orphaned)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(1), || {
                        let lost = w.one_in(3);
                        w.spawn("callback", async move {
                            let mut polled = false;
                            poll_fn(|cx| {
                                if std::mem::replace(&mut polled, true) {
                                    return Poll::Ready(());
                                }
                                if !lost {
                                    cx.waker().wake_by_ref();
                                }
                                Poll::Pending
                            })
                            .await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a report that takes longer than promised",
        source: "GoBench kubernetes/38669, with the limit that was meant",
        hours: 1,
        leaks: &[("report", Overdue)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(30), || {
                        let takes = if w.one_in(10) {
                            mins(100)
                        } else {
                            w.around(secs(2))
                        };
                        w.spawn_limited("report", mins(1), async move { sleep(takes).await });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a sync that loops on an error",
        source: "GoBench istio/18454, with the limit that was meant",
        hours: 1,
        leaks: &[("sync", Overdue)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(1), || {
                        let fails = w.one_in(4);
                        w.spawn_limited("sync", mins(2), async move {
                            sleep(secs(1)).await;
                            if fails {
                                loop {
                                    sleep(secs(3)).await;
                                }
                            }
                        });
                    })
                    .await;
            })
        },
    },
];
