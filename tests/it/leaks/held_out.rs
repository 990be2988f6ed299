//! Programs that no rule was tuned with.

use std::sync::Arc;

use lifespan::leak::Verdict::{Orphaned, Overdue, Overstayed, Suspected};
use lifespan::{Reason, Scope};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep, timeout};

use super::healthy::{connections, healthy, of_day, requests};
use super::world::{Program, boxed, hours, millis, mins, secs};

pub(super) static LEAKING: &[Program] = &[
    Program {
        name: "commands of which a part was awaited",
        source: "GoBench cockroach/10790",
        hours: 4,
        leaks: &[("begin-cmd", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(12), || {
                        let (done, mut dones) = mpsc::channel(1);
                        let cancelled = w.one_in(15);
                        for _ in 0..3 {
                            let (done, takes) = (done.clone(), w.around(millis(60)));
                            w.spawn("begin-cmd", async move {
                                sleep(takes).await;
                                let _ = done.send(()).await;
                            });
                        }
                        let world = w.clone();
                        w.spawn("begin-cmds", async move {
                            drop(done);
                            if cancelled {
                                return world.keep(dones);
                            }
                            while dones.recv().await.is_some() {}
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "watchers that block while they are told",
        source: "GoBench kubernetes/1321",
        hours: 3,
        leaks: &[("distribute", Suspected)],
        run: |w| {
            boxed(async move {
                let (lock, (send, receive)) = (Arc::new(Mutex::new(())), mpsc::channel::<()>(200));
                w.keep(receive);
                w.clone()
                    .each(secs(15), || {
                        let (lock, send) = (lock.clone(), send.clone());
                        w.spawn("distribute", async move {
                            let _lock = lock.lock().await;
                            let _ = send.send(()).await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a leak of one in two hundred under a day's load",
        source: "LeakProf, timeout leak; load as in the measurements of our alert rules",
        hours: 16,
        leaks: &[("rpc", Suspected)],
        run: |w| {
            boxed(async move {
                let start = Instant::now();
                loop {
                    sleep(w.around(of_day(start, secs(2)))).await;
                    let (answer, answered) = oneshot::channel::<()>();
                    let takes = w.around(secs(1));
                    w.spawn("rpc", answered);
                    if w.one_in(200) {
                        w.keep(answer);
                    } else {
                        w.spawn("server", async move {
                            sleep(takes).await;
                            let _ = answer.send(());
                        });
                    }
                }
            })
        },
    },
    Program {
        name: "exporters that wait for the last reader",
        source: "GoBench moby/33293",
        hours: 5,
        leaks: &[("wait-exit", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(50), || {
                        let (exit, mut exits) = mpsc::channel::<u8>(1);
                        w.keep(exit.clone());
                        let (runs, fails) = (w.between(secs(5), mins(2)), w.one_in(5));
                        w.spawn("wait-exit", async move { exits.recv().await });
                        w.spawn("container", async move {
                            sleep(runs).await;
                            if !fails {
                                let _ = exit.send(0).await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "the tickers of clients that were dropped",
        source: "hyperliquid-dex/hyperliquid-rust-sdk issue 47",
        hours: 8,
        leaks: &[("ping", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(5), || {
                        w.spawn("ping", async move {
                            let mut tick = interval(secs(50));
                            loop {
                                tick.tick().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "event listeners of each reconnect",
        source: "aembke/fred.rs issue 375",
        hours: 6,
        leaks: &[("on-error", Suspected), ("on-reconnect", Suspected)],
        run: |w| {
            boxed(async move {
                let errors = tokio::sync::broadcast::channel::<u8>(8).0;
                w.keep(errors.clone());
                w.clone()
                    .each(mins(2), || {
                        let mut error = errors.subscribe();
                        w.spawn("on-error", async move { while error.recv().await.is_ok() {} });
                        let mut reconnect = errors.subscribe();
                        w.spawn(
                            "on-reconnect",
                            async move { while reconnect.recv().await.is_ok() {} },
                        );
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a client that a task of its own holds",
        source: "matrix-org/matrix-rust-sdk issue 6573",
        hours: 8,
        leaks: &[("catch-up", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(6), || {
                        let wanted = Arc::new(Notify::new());
                        let client = wanted.clone();
                        w.spawn("catch-up", async move {
                            let _client = client;
                            wanted.notified().await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "keep-alives that lost their stream",
        source: "GoBench grpc/1460",
        hours: 6,
        leaks: &[("keepalive", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(40), || {
                        let awaken = Arc::new(Notify::new());
                        let (dormant, lives) = (w.one_in(6), w.around(secs(70)));
                        w.keep(awaken.clone());
                        w.spawn("keepalive", async move {
                            let _ = timeout(lives, async {
                                loop {
                                    sleep(secs(20)).await;
                                }
                            })
                            .await;
                            if dormant {
                                awaken.notified().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "retries without an end",
        source: "GoBench grpc/862, with a jittered backoff",
        hours: 8,
        leaks: &[("publish", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(8), || {
                        let (poisoned, world) = (w.one_in(60), w.clone());
                        w.spawn("publish", async move {
                            sleep(millis(30)).await;
                            if poisoned {
                                loop {
                                    sleep(world.between(secs(5), secs(60))).await;
                                }
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "an incident that leaves its tasks behind",
        source: "GoBench moby/7559 (a port proxy that stops reading), for ten minutes",
        hours: 6,
        leaks: &[("proxy", Suspected)],
        run: |w| {
            boxed(async move {
                let start = Instant::now();
                w.clone()
                    .each(secs(5), || {
                        let stuck = (hours(1)..hours(1) + mins(10)).contains(&start.elapsed());
                        let (more, takes) = (Arc::new(Notify::new()), w.around(secs(2)));
                        w.keep(more.clone());
                        w.spawn("proxy", async move {
                            sleep(takes).await;
                            if stuck {
                                more.notified().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "workers that share a lost permit",
        source: "GoBench etcd/5509",
        hours: 3,
        leaks: &[("snapshot", Suspected)],
        run: |w| {
            boxed(async move {
                let slot = Arc::new(Semaphore::new(1));
                let mut number = 0;
                w.clone()
                    .each(secs(20), || {
                        number += 1;
                        let (slot, fails) = (slot.clone(), number == 180);
                        w.spawn("snapshot", async move {
                            let permit = slot.acquire().await.unwrap();
                            sleep(secs(1)).await;
                            if fails {
                                permit.forget();
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "an upload whose client has gone",
        source: "GoBench kubernetes/26980",
        hours: 1,
        leaks: &[("upload", Overstayed)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(25), || {
                        let request = Scope::new("upload");
                        let part = Arc::new(Notify::new());
                        w.keep(part.clone());
                        w.spawn_in(&request, "upload", async move { part.notified().await });
                        request.cancel(Reason::new("connection reset"));
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a join of which one half never comes",
        source: "GoBench kubernetes/30872",
        hours: 1,
        leaks: &[("federate", Orphaned)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(45), || {
                        w.spawn("federate", async move {
                            tokio::join!(sleep(secs(3)), std::future::pending::<()>());
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a compaction beyond its limit",
        source: "GoBench cockroach/24808, with the limit that was meant",
        hours: 1,
        leaks: &[("compact", Overdue)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(40), || {
                        let takes = if w.one_in(9) { hours(3) } else { w.around(secs(9)) };
                        w.spawn_limited("compact", mins(5), async move { sleep(takes).await });
                    })
                    .await;
            })
        },
    },
];

pub(super) static HEALTHY: &[Program] = &[
    healthy!("uploads of a minute to twenty", 8, |w| boxed(async move {
        w.each(secs(30), || {
            let takes = w.between(mins(1), mins(20));
            w.spawn("upload", async move { sleep(takes).await });
        })
        .await;
    })),
    healthy!("a morning that begins slowly", 10, |w| boxed(async move {
        let start = Instant::now();
        loop {
            let apart = secs(60).div_f64(1.0 + start.elapsed().as_secs_f64() / 1_800.0);
            sleep(w.around(apart)).await;
            let takes = w.around(mins(10));
            w.spawn("session", async move { sleep(takes).await });
        }
    })),
    healthy!("backoff up to ten minutes", 6, |w| boxed(async move {
        w.each(secs(6), || {
            let attempts = if w.one_in(20) { 8 } else { 0 };
            w.spawn("send", async move {
                let mut wait = secs(1);
                for _ in 0..attempts {
                    sleep(wait).await;
                    wait = (wait * 3).min(mins(10));
                }
            });
        })
        .await;
    })),
    healthy!("streams of twenty minutes", 6, |w| boxed(async move {
        connections(&w, "stream", secs(15), mins(20), secs(40)).await;
    })),
    healthy!(
        "idle connections that are closed after ten minutes",
        6,
        |w| boxed(async move {
            w.each(secs(10), || {
                let uses = w.around(secs(30));
                w.spawn("keep-alive", async move {
                    sleep(uses).await;
                    sleep(mins(10)).await;
                });
            })
            .await;
        })
    ),
    healthy!("a batch of an hour, each six hours", 20, |w| boxed(async move {
        loop {
            sleep(hours(5)).await;
            for _ in 0..120 {
                let takes = w.between(mins(30), mins(70));
                w.spawn("batch", async move { sleep(takes).await });
            }
        }
    })),
    healthy!("a cache that is refreshed by tickers", 6, |w| boxed(async move {
        for entry in 0..60u64 {
            w.spawn("refresh", async move {
                let mut tick = interval(secs(30 + entry));
                loop {
                    tick.tick().await;
                }
            });
        }
        requests(&w, "lookup", secs(2), millis(4)).await;
    })),
    healthy!("a rolling restart of slow workers", 9, |w| boxed(async move {
        loop {
            for _ in 0..12 {
                sleep(mins(4)).await;
                w.spawn("shard", async move { sleep(mins(47)).await });
            }
        }
    })),
    healthy!("an upstream that is down for twenty minutes", 5, |w| boxed(
        async move {
            let (start, back) = (Instant::now(), Arc::new(Notify::new()));
            let recovery = async {
                sleep(hours(2) + mins(20)).await;
                back.notify_waiters();
                std::future::pending::<()>().await;
            };
            let load = w.each(secs(3), || {
                let down = (hours(2)..hours(2) + mins(20)).contains(&start.elapsed());
                let (back, takes) = (back.clone(), w.around(secs(3)));
                w.spawn("query", async move {
                    if down {
                        back.notified().await;
                    }
                    sleep(takes).await;
                });
            });
            tokio::join!(recovery, load);
        }
    )),
    healthy!("lobbies that fill and start", 8, |w| boxed(async move {
        let mut lobby = watch::Sender::new(false);
        let mut players = 0;
        loop {
            sleep(w.around(secs(40))).await;
            let (mut start, plays) = (lobby.subscribe(), w.between(mins(5), mins(15)));
            w.spawn("player", async move {
                let _ = start.wait_for(|started| *started).await;
                sleep(plays).await;
            });
            players += 1;
            if players % 20 == 0 {
                lobby.send_replace(true);
                lobby = watch::Sender::new(false);
            }
        }
    })),
    healthy!("connections with traffic through a day", 26, |w| boxed(
        async move {
            let start = Instant::now();
            loop {
                sleep(w.around(of_day(start, secs(60)))).await;
                let (world, lives) = (w.clone(), w.around(hours(2)));
                w.spawn("mobile", async move {
                    let _ = timeout(lives, async {
                        loop {
                            sleep(world.around(mins(3))).await;
                        }
                    })
                    .await;
                });
            }
        }
    )),
    healthy!("scopes that are cancelled and heed it", 3, |w| boxed(
        async move {
            w.each(secs(8), || {
                let request = Scope::new("request").timeout(secs(60));
                let context = request.context();
                w.spawn_in(&request, "handler", async move { context.cancelled().await });
            })
            .await;
        }
    )),
];
