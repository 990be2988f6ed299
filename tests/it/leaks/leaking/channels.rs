//! Tasks that wait for a channel whose other end is kept by somebody who has forgotten it.

use std::sync::Arc;

use lifespan::leak::Verdict::Suspected;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::world::{Program, boxed, hours, millis, secs};

pub(crate) static LEAKING: &[Program] = &[
    Program {
        name: "a result that comes after the timeout",
        source: "GoBench kubernetes/5316 (Tu, figure 1)",
        hours: 3,
        leaks: &[("handler", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(4), || {
                        let (result, mut results) = mpsc::channel(1);
                        let slow = w.one_in(20);
                        let (took, world) = (w.around(millis(80)), w.clone());
                        w.spawn("handler", async move {
                            // A first part of the result, and the rest.
                            let _ = result.send("head").await;
                            sleep(if slow { secs(40) } else { took }).await;
                            let _ = result.send("body").await;
                        });
                        w.spawn("finish-request", async move {
                            if slow {
                                return world.keep(results);
                            }
                            let read = async { while results.recv().await.is_some() {} };
                            let _ = timeout(secs(30), read).await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "an error that nobody reads",
        source: "GoBench moby/4395",
        hours: 3,
        leaks: &[("hook", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(5), || {
                        let (error, mut errors) = mpsc::channel(1);
                        let takes = w.around(millis(300));
                        w.spawn("hook", async move {
                            sleep(takes).await;
                            let _ = error.send(1).await;
                            let _ = error.send(2).await;
                        });
                        if w.one_in(12) {
                            w.keep(errors);
                        } else {
                            w.spawn("reader", async move { while errors.recv().await.is_some() {} });
                        }
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a probe whose parent has left",
        source: "GoBench moby/33781",
        hours: 4,
        leaks: &[("probe", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(30), || {
                        let (result, mut results) = mpsc::channel::<u8>(1);
                        result.try_send(0).unwrap();
                        let stopped = w.one_in(6);
                        w.spawn("probe", async move {
                            sleep(secs(2)).await;
                            let _ = result.send(1).await;
                        });
                        let world = w.clone();
                        w.spawn("monitor", async move {
                            if stopped {
                                world.keep(results);
                                return;
                            }
                            while results.recv().await.is_some() {}
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "rows that are not closed",
        source: "GoBench cockroach/13755",
        hours: 3,
        leaks: &[("await-done", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(3), || {
                        let rows = CancellationToken::new();
                        let done = rows.clone();
                        w.spawn("await-done", async move { done.cancelled().await });
                        let (forgets, takes) = (w.one_in(15), w.around(millis(20)));
                        w.spawn("query", async move {
                            sleep(takes).await;
                            if !forgets {
                                rows.cancel();
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a transaction neither committed nor rolled back",
        source: "GoBench cockroach/13197",
        hours: 4,
        leaks: &[("tx", Suspected)],
        run: |w| {
            boxed(async move {
                let open = Arc::new(Mutex::new(Vec::new()));
                w.clone()
                    .each(secs(10), || {
                        let (end, ended) = oneshot::channel::<()>();
                        w.spawn("tx", async move {
                            let _ = ended.await;
                        });
                        let (forgets, takes, open) = (w.one_in(8), w.around(secs(1)), open.clone());
                        w.spawn("session", async move {
                            sleep(takes).await;
                            if forgets {
                                open.lock().await.push(end);
                            } else {
                                let _ = end.send(());
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "producers that outlive their consumer",
        source: "GoBench cockroach/18101",
        hours: 4,
        leaks: &[("split-producer", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(60), || {
                        let (send, mut receive) = mpsc::channel(4);
                        for _ in 0..4 {
                            let (send, takes) = (send.clone(), w.around(millis(50)));
                            w.spawn("split-producer", async move {
                                for split in 0..10 {
                                    sleep(takes).await;
                                    if send.send(split).await.is_err() {
                                        return;
                                    }
                                }
                            });
                        }
                        let (cancelled, world) = (w.one_in(5), w.clone());
                        w.spawn("restore", async move {
                            drop(send);
                            while receive.recv().await.is_some() {
                                if cancelled {
                                    return world.keep(receive);
                                }
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a stream that is never closed",
        source: "GoBench grpc/1275",
        hours: 3,
        leaks: &[("stream-reader", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(6), || {
                        let (send, mut receive) = mpsc::unbounded_channel();
                        w.spawn(
                            "stream-reader",
                            async move { while receive.recv().await.is_some() {} },
                        );
                        let (fails, messages, world) = (w.one_in(10), w.between(secs(1), secs(5)), w.clone());
                        w.spawn("stream-writer", async move {
                            let _ = send.send("header");
                            sleep(messages).await;
                            let _ = send.send("trailer");
                            if fails {
                                world.keep(send);
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a reflector stopped with its results unread",
        source: "GoBench kubernetes/25331",
        hours: 5,
        leaks: &[("watch-chan", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(45), || {
                        let (result, mut results) = mpsc::channel(2);
                        let lives = w.between(secs(5), secs(25));
                        w.spawn("watch-chan", async move {
                            let mut tick = interval(secs(1));
                            loop {
                                tick.tick().await;
                                if result.send("event").await.is_err() {
                                    return;
                                }
                            }
                        });
                        let (stops, world) = (w.one_in(6), w.clone());
                        w.spawn("reflector", async move {
                            let read = async { while results.recv().await.is_some() {} };
                            let _ = timeout(lives, read).await;
                            if stops {
                                world.keep(results);
                            }
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "asking a node that has stopped",
        source: "GoBench etcd/6857",
        hours: 3,
        leaks: &[("status", Suspected)],
        run: |w| {
            boxed(async move {
                let (ask, mut asked) = mpsc::channel::<oneshot::Sender<u8>>(1_000);
                let world = w.clone();
                w.spawn("node", async move {
                    let serve = async {
                        while let Some(answer) = asked.recv().await {
                            let _ = answer.send(1);
                        }
                    };
                    let _ = timeout(hours(1), serve).await;
                    world.keep(asked);
                });
                w.clone()
                    .each(secs(15), || {
                        let ask = ask.clone();
                        w.spawn("status", async move {
                            let (answer, answered) = oneshot::channel();
                            let _ = ask.send(answer).await;
                            let _ = answered.await;
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "a loop over a channel that is not closed",
        source: "LeakProf, channel iteration; seanmonstar/warp issue 405",
        hours: 3,
        leaks: &[("session", Suspected)],
        run: |w| {
            boxed(async move {
                let clients = Arc::new(std::sync::Mutex::new(Vec::new()));
                w.clone()
                    .each(secs(20), || {
                        let (send, mut receive) = mpsc::unbounded_channel::<u8>();
                        // One clone too many, in the table of clients.
                        if w.one_in(4) {
                            clients.lock().unwrap().push(send.clone());
                        }
                        w.spawn("session", async move { while receive.recv().await.is_some() {} });
                        let lives = w.around(secs(10));
                        w.spawn("client", async move {
                            sleep(lives).await;
                            let _ = send.send(1);
                        });
                    })
                    .await;
            })
        },
    },
    Program {
        name: "many send, one is heard",
        source: "LeakProf, NCast",
        hours: 3,
        leaks: &[("hedge", Suspected)],
        run: |w| {
            boxed(async move {
                w.clone()
                    .each(secs(30), || {
                        let (answer, mut answers) = mpsc::channel(1);
                        let hedged = w.one_in(4);
                        for _ in 0..if hedged { 3 } else { 1 } {
                            let (answer, takes) = (answer.clone(), w.around(millis(100)));
                            w.spawn("hedge", async move {
                                sleep(takes).await;
                                let _ = answer.send(takes).await;
                            });
                        }
                        let world = w.clone();
                        w.spawn("ask", async move {
                            let _ = answers.recv().await;
                            if hedged {
                                world.keep(answers);
                            }
                        });
                    })
                    .await;
            })
        },
    },
];
