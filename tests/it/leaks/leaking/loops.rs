//! Tasks that were to end with something else, and were not told.

use std::sync::Arc;
use std::time::Duration;

use lifespan::leak::Verdict::Suspected;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{interval, sleep, timeout};

use super::super::world::{Program, World, boxed, millis, mins, secs};

pub(crate) static LEAKING: &[Program] = &[
    Program {
        name: "a dial that failed, and is tried again for ever",
        source: "GoBench grpc/862",
        hours: 6,
        leaks: &[("reset-transport", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(20), || {
                        let fails = w.one_in(10);
                        w.spawn("reset-transport", async move {
                            let mut backoff = secs(1);
                            sleep(millis(50)).await;
                            if fails {
                                loop {
                                    sleep(backoff).await;
                                    backoff = (backoff * 2).min(mins(2));
                                }
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a poller whose end nobody says",
        source: "GoBench kubernetes/70277",
        hours: 6,
        leaks: &[("poller", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(30), || {
                        let (end, mut ended) = watch::channel(false);
                        w.spawn("poller", async move {
                            let mut tick = interval(secs(5));
                            loop {
                                tokio::select! {
                                    _ = tick.tick() => {}
                                    _ = ended.changed() => return,
                                }
                            }
                        });
                        let (times_out, world) = (w.one_in(8), w.clone());
                        w.spawn("wait-for", async move {
                            sleep(secs(8)).await;
                            if times_out {
                                world.keep(end);
                            } else {
                                let _ = end.send(true);
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "started, and never stopped",
        source: "LeakProf, contract violation",
        hours: 6,
        leaks: &[("flusher", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(3), || {
                        w.spawn("flusher", async move {
                            let mut tick = interval(secs(10));
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
        name: "the heartbeat of a connection that is gone",
        source: "icewind1991/steam-vent issue 16",
        hours: 6,
        leaks: &[("heartbeat", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(4), || {
                        let lives = w.around(mins(10));
                        w.spawn("connection", async move { sleep(lives).await });
                        w.spawn("heartbeat", async move {
                            loop {
                                sleep(secs(30)).await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a manager that its own task keeps alive",
        source: "Polymarket/rs-clob-client-v2 issue 39",
        hours: 12,
        leaks: &[("reconnect", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(10), || {
                        let (state, mut changed) = watch::channel(0);
                        let manager = Arc::new(state);
                        let own = manager.clone();
                        let ping = w.between(secs(20), mins(2));
                        w.spawn("reconnect", async move {
                            let _own = own;
                            loop {
                                let _ = timeout(ping, changed.changed()).await;
                            }
                        });
                        drop(manager);
                    })
                    .await;
            })
        },
    },
    Program {
        name: "the half of a socket that select left behind",
        source: "mofa-org/mofa issue 964",
        hours: 10,
        leaks: &[("ws-send", Suspected)],
        run: |w| {
            boxed(async move {
                let (news, _) = broadcast::channel::<u8>(16);
                let tell = news.clone();
                w.spawn_long_lived("publisher", async move {
                    loop {
                        sleep(secs(30)).await;
                        let _ = tell.send(1);
                    }
                });
                w.clone()
                    .each(secs(20), || {
                        let mut told = news.subscribe();
                        let (lives, writes_fail) = (w.around(secs(60)), w.one_in(2));
                        let sender = w.spawn("ws-send", async move { while told.recv().await.is_ok() {} });
                        w.spawn("ws-receive", async move {
                            sleep(lives).await;
                            if writes_fail {
                                sender.abort();
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a sender that holds a clone of itself",
        source: "inkandswitch/subduction pull request 32",
        hours: 3,
        leaks: &[("run-sender", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(1), || {
                        let (send, mut receive) = mpsc::channel::<u8>(8);
                        let socket = send.clone();
                        w.spawn("run-sender", async move {
                            let _socket = socket;
                            while receive.recv().await.is_some() {}
                        });
                        drop(send);
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a server of each job, without a stop",
        source: "ROCm/spur issue 491",
        hours: 4,
        leaks: &[("pmi-server", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(mins(2), || {
                        let listener = Arc::new(Notify::new());
                        w.keep(listener.clone());
                        let runs = w.around(mins(1));
                        w.spawn("job", async move { sleep(runs).await });
                        w.spawn("pmi-server", async move {
                            loop {
                                listener.notified().await;
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a forwarder that only an event frees",
        source: "nearai/ironclaw pull request 8010, review",
        hours: 4,
        leaks: &[("forwarder", Suspected)],
        run: |w| {
            boxed(async move {
                let (hub, _) = broadcast::channel::<u8>(16);
                w.keep(hub.clone());
                w.clone()
                    .each(secs(40), || {
                        let mut live = hub.subscribe();
                        let (gone, disconnected) = oneshot::channel::<()>();
                        let (lives, idle) = (w.around(secs(20)), w.one_in(3));
                        w.spawn("forwarder", async move {
                            if idle {
                                let _ = live.recv().await;
                            } else {
                                let _ = disconnected.await;
                            }
                        });
                        w.spawn("browser", async move {
                            sleep(lives).await;
                            drop(gone);
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a request without a timeout",
        source: "mardiros/cabot issue 7",
        hours: 3,
        leaks: &[("fetch", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone().each(secs(2), || fetch(&w, 50)).await;
            })
        },
    },
];

/// Asks a server that now and then accepts, and says nothing more.
fn fetch(w: &World, one_in: u32) {
    let (answer, answered) = oneshot::channel::<u8>();
    let takes: Duration = w.around(millis(150));
    if w.one_in(one_in) {
        w.keep(answer);
    } else {
        w.spawn("upstream", async move {
            sleep(takes).await;
            let _ = answer.send(1);
        });
    }
    w.spawn("fetch", async move {
        let _ = answered.await;
    });
}
