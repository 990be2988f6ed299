//! Programs that leak nothing, and look as if they did.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use lifespan::Scope;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::world::{Program, World, boxed, hours, millis, mins, secs};

/// A program without leaks.
macro_rules! healthy {
    ($name:literal, $hours:literal, $run:expr) => {
        Program {
            name: $name,
            source: "a twin",
            hours: $hours,
            leaks: &[],
            run: $run,
        }
    };
}
pub(super) use healthy;

/// How far apart requests are over a day, ten times as many at noon as at midnight.
pub(super) fn of_day(start: Instant, at_noon: Duration) -> Duration {
    let day = start.elapsed().as_secs_f64() / 86_400.0;
    let load = 0.55 - 0.45 * (day * std::f64::consts::TAU).cos();
    at_noon.div_f64(load)
}

/// Requests of a kind, exponential in how far apart they are and how long they take.
pub(super) async fn requests(w: &World, kind: &'static str, apart: Duration, takes: Duration) {
    w.each(apart, || {
        let takes = w.around(takes);
        w.spawn(kind, async move { sleep(takes).await });
    })
    .await;
}

pub(super) static HEALTHY: &[Program] = &[
    healthy!("steady requests", 4, |w| boxed(async move {
        requests(&w, "request", secs(1), millis(200)).await;
    })),
    healthy!("steady requests that take minutes", 6, |w| boxed(async move {
        requests(&w, "import", secs(10), mins(3)).await;
    })),
    healthy!("requests that take an hour", 8, |w| boxed(async move {
        requests(&w, "render", secs(40), hours(1)).await;
    })),
    healthy!("a day and a night", 26, |w| boxed(async move {
        let start = Instant::now();
        loop {
            sleep(w.around(of_day(start, secs(4)))).await;
            let takes = w.around(mins(3));
            w.spawn("request", async move { sleep(takes).await });
        }
    })),
    healthy!("a day and a night of hours", 26, |w| boxed(async move {
        let start = Instant::now();
        loop {
            sleep(w.around(of_day(start, secs(20)))).await;
            let takes = w.around(hours(1));
            w.spawn("session", async move { sleep(takes).await });
        }
    })),
    healthy!("three times the load from one minute to the next", 6, |w| boxed(
        async move {
            let _ = timeout(hours(2), requests(&w, "request", secs(6), mins(2))).await;
            requests(&w, "request", secs(2), mins(2)).await;
        }
    )),
    healthy!("bursts at each hour", 6, |w| boxed(async move {
        loop {
            for _ in 0..400 {
                let takes = w.around(mins(2));
                w.spawn("hourly", async move { sleep(takes).await });
            }
            sleep(hours(1)).await;
        }
    })),
    healthy!("a dependency ten times as slow for hours", 7, |w| boxed(
        async move {
            let _ = timeout(hours(2), requests(&w, "call", secs(2), secs(10))).await;
            let _ = timeout(hours(3), requests(&w, "call", secs(2), secs(100))).await;
            requests(&w, "call", secs(2), secs(10)).await;
        }
    )),
    healthy!("a dependency that hangs, with timeouts", 5, |w| boxed(
        async move {
            let start = Instant::now();
            w.each(secs(2), || {
                let hangs = (hours(2)..hours(2) + mins(40)).contains(&start.elapsed());
                let takes = if hangs { hours(9) } else { w.around(millis(80)) };
                w.spawn("call", async move { timeout(secs(30), sleep(takes)).await });
            })
            .await;
        }
    )),
    healthy!("a pool that waits for work all night", 8, |w| boxed(async move {
        let (work, wanted) = async_queue();
        for _ in 0..32 {
            let wanted = wanted.clone();
            w.spawn("worker", async move {
                loop {
                    wanted.acquire().await.unwrap().forget();
                    sleep(millis(30)).await;
                }
            });
        }
        let _ = timeout(hours(1), w.each(secs(1), || work.add_permits(1))).await;
        sleep(hours(6)).await;
        w.each(secs(1), || work.add_permits(1)).await;
    })),
    healthy!("a pool that grows with the load and shrinks after", 8, |w| boxed(
        async move {
            let (work, wanted) = async_queue();
            for _ in 0..24 {
                let wanted = wanted.clone();
                w.spawn("elastic", async move { wanted.acquire().await.unwrap().forget() });
            }
            w.keep(work);
            w.each(secs(30), || {
                let idles = w.between(secs(20), mins(2));
                w.spawn("elastic", async move { sleep(idles).await });
            })
            .await;
        }
    )),
    healthy!("daemons", 8, |w| boxed(async move {
        for seconds in [1, 10, 60, 600, 3_600] {
            w.spawn("daemon", async move {
                let mut tick = interval(secs(seconds));
                loop {
                    tick.tick().await;
                }
            });
        }
        requests(&w, "request", secs(5), millis(200)).await;
    })),
    healthy!("connections for hours, with traffic", 12, |w| boxed(async move {
        connections(&w, "websocket", secs(60), hours(8), mins(2)).await;
    })),
    healthy!("connections until the next day, with pings", 12, |w| boxed(
        async move {
            w.each(secs(90), || {
                let world = w.clone();
                w.spawn("tcp", async move {
                    let _ = timeout(hours(24), async {
                        loop {
                            sleep(world.between(mins(1), mins(3))).await;
                        }
                    })
                    .await;
                });
                // Some go early, as some do anywhere.
                let early = w.around(mins(40));
                if w.one_in(12) {
                    w.spawn("tcp", async move { sleep(early).await });
                }
            })
            .await;
        }
    )),
    healthy!("health checks and websockets in one kind", 10, |w| boxed(
        async move {
            let sockets = connections(&w, "connection", mins(2), hours(3), mins(1));
            let checks = requests(&w, "connection", secs(5), millis(20));
            tokio::join!(sockets, checks);
        }
    )),
    healthy!("a few websockets among very many health checks", 6, |w| boxed(
        async move {
            let sockets = connections(&w, "connection", mins(5), hours(3), mins(1));
            let checks = requests(&w, "connection", millis(250), millis(2));
            tokio::join!(sockets, checks);
        }
    )),
    healthy!("a warm-up", 5, |w| boxed(async move {
        for shard in 0..300u64 {
            sleep(secs(2)).await;
            w.spawn(
                "load-shard",
                async move { sleep(mins(8) + secs(shard % 60)).await },
            );
        }
        requests(&w, "lookup", secs(2), millis(3)).await;
    })),
    healthy!("heavy tails", 10, |w| boxed(async move {
        w.each(secs(4), || {
            // Pareto, at least 20 s, mean 60 s.
            let takes = secs(20).mul_f64((1.0 - w.roll()).powf(-1.0 / 1.5));
            w.spawn("crawl", async move { sleep(takes.min(hours(20))).await });
        })
        .await;
    })),
    healthy!("one in 1,250 that takes an hour", 5, |w| boxed(async move {
        w.each(millis(300), || {
            let takes = if w.one_in(1_250) {
                w.between(mins(50), mins(70))
            } else {
                w.around(millis(5))
            };
            w.spawn("convert", async move { sleep(takes).await });
        })
        .await;
    })),
    healthy!("reminders in an hour", 7, |w| boxed(async move {
        w.each(secs(60), || {
            w.spawn("reminder", async move { sleep(mins(50)).await });
        })
        .await;
    })),
    healthy!("retries that wait half an hour", 7, |w| boxed(async move {
        w.each(secs(5), || {
            let (fails, takes) = (w.one_in(30), w.around(millis(400)));
            w.spawn("deliver", async move {
                sleep(takes).await;
                if fails {
                    sleep(mins(30)).await;
                }
            });
        })
        .await;
    })),
    healthy!("reports at night, among short ones", 26, |w| boxed(async move {
        let nightly = async {
            loop {
                sleep(hours(6)).await;
                for _ in 0..50 {
                    let takes = w.between(mins(20), mins(45));
                    w.spawn("report", async move { sleep(takes).await });
                }
            }
        };
        tokio::join!(nightly, requests(&w, "report", secs(10), secs(1)));
    })),
    healthy!("sessions that end when nobody used them", 8, |w| boxed(
        async move {
            w.each(secs(20), || {
                let (used, mut uses) = mpsc::channel::<()>(1);
                w.spawn("session", async move {
                    while let Ok(Some(())) = timeout(mins(30), uses.recv()).await {}
                });
                let world = w.clone();
                w.spawn("user", async move {
                    for _ in 0..4 {
                        sleep(world.around(mins(4))).await;
                        let _ = used.send(()).await;
                    }
                    world.keep(used);
                });
            })
            .await;
        }
    )),
    healthy!("an actor for each customer, made when first asked for", 12, |w| {
        boxed(async move {
            let mut customers: Vec<Option<mpsc::UnboundedSender<()>>> = (0..400).map(|_| None).collect();
            loop {
                sleep(w.around(secs(3))).await;
                // The first are asked for more often than the last.
                let one = w.below(400).min(w.below(400));
                let actor = customers[one].get_or_insert_with(|| {
                    let (send, mut receive) = mpsc::unbounded_channel();
                    w.spawn("customer", async move { while receive.recv().await.is_some() {} });
                    send
                });
                actor.send(()).unwrap();
            }
        })
    }),
    healthy!("long polls", 5, |w| boxed(async move {
        w.each(secs(1), || {
            let news = w.around(mins(2));
            w.spawn("poll", async move { timeout(secs(55), sleep(news)).await });
        })
        .await;
    })),
    healthy!("a semaphore that is always full", 6, |w| boxed(async move {
        let slots = Arc::new(Semaphore::new(4));
        w.each(secs(5), || {
            let (slots, takes) = (slots.clone(), w.around(secs(18)));
            w.spawn("upload", async move {
                let _slot = slots.acquire().await;
                sleep(takes).await;
            });
        })
        .await;
    })),
    healthy!("a consumer that stalls now and then", 8, |w| boxed(async move {
        let (send, mut receive) = mpsc::channel::<()>(10);
        w.spawn_long_lived("consumer", async move {
            let mut next_stall = Instant::now() + hours(1);
            while receive.recv().await.is_some() {
                if Instant::now() > next_stall {
                    sleep(mins(8)).await;
                    next_stall += hours(2);
                }
            }
        });
        w.each(secs(4), || {
            let send = send.clone();
            w.spawn("produce", async move { send.send(()).await });
        })
        .await;
    })),
    healthy!("guards that wait to be aborted", 4, |w| boxed(async move {
        for _ in 0..50 {
            w.spawn_long_lived("guard", pending::<()>());
        }
        requests(&w, "request", secs(5), millis(200)).await;
    })),
    healthy!("rows that are closed", 4, |w| boxed(async move {
        w.each(secs(3), || {
            let rows = CancellationToken::new();
            let (done, takes) = (rows.clone(), w.around(millis(20)));
            w.spawn("await-done", async move { done.cancelled().await });
            w.spawn("query", async move {
                sleep(takes).await;
                rows.cancel();
            });
        })
        .await;
    })),
    healthy!("subscriptions that end with their hub", 6, |w| boxed(
        async move {
            loop {
                let (hub, _) = broadcast::channel::<u8>(16);
                for _ in 0..100 {
                    let mut news = hub.subscribe();
                    w.spawn("subscriber", async move { while news.recv().await.is_ok() {} });
                }
                let _ = timeout(mins(50), w.each(secs(30), || drop(hub.send(1)))).await;
            }
        }
    )),
    healthy!("a deploy that resets all connections", 9, |w| boxed(async move {
        loop {
            let (reset, resets) = watch::channel(());
            let connect = w.each(secs(30), || {
                let mut reset = resets.clone();
                w.spawn("upstream-connection", async move {
                    let _ = timeout(hours(5), async {
                        while timeout(mins(2), reset.changed()).await.is_err() {}
                    })
                    .await;
                });
            });
            let _ = timeout(hours(2), connect).await;
            drop(reset);
        }
    })),
    healthy!("debounced saves", 5, |w| boxed(async move {
        let mut last: Option<tokio::task::JoinHandle<()>> = None;
        w.each(secs(3), || {
            if let Some(last) = last.take() {
                last.abort();
            }
            last = Some(w.spawn("save", async move { sleep(secs(5)).await }));
        })
        .await;
    })),
    healthy!("requests in scopes, closed in time", 4, |w| boxed(async move {
        w.each(secs(5), || {
            let (world, fails) = (w.clone(), w.one_in(5));
            w.spawn("accept", async move {
                let request = Scope::new("request").timeout(secs(20));
                let takes = if fails {
                    hours(1)
                } else {
                    world.around(millis(300))
                };
                world.spawn_in(&request, "handler", async move { sleep(takes).await });
                sleep(secs(1)).await;
                assert!(request.close(secs(1)).await.survivors().next().is_none());
            });
        })
        .await;
    })),
    healthy!("a leader and those who stand by", 6, |w| boxed(async move {
        let turn = Arc::new(Notify::new());
        for _ in 0..20 {
            let turn = turn.clone();
            w.spawn("stand-by", async move {
                turn.notified().await;
                sleep(mins(30)).await;
            });
        }
        w.each(mins(40), || turn.notify_one()).await;
    })),
    healthy!("jobs that say how long they take", 4, |w| boxed(async move {
        w.each(secs(10), || {
            let takes = w.between(secs(1), secs(50));
            w.spawn_limited("job", mins(1), async move { sleep(takes).await });
        })
        .await;
    })),
    healthy!("one answer that is waited for with a fallback", 4, |w| boxed(
        async move {
            let flips = AtomicBool::new(false);
            w.each(secs(4), || {
                let (answer, answered) = oneshot::channel::<()>();
                if flips.fetch_xor(true, SeqCst) {
                    w.keep(answer);
                }
                w.spawn("ask", async move { timeout(secs(10), answered).await });
            })
            .await;
        }
    )),
];

/// Work for a pool, and who waits for it.
fn async_queue() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let work = Arc::new(Semaphore::new(0));
    (work.clone(), work)
}

/// Connections that live so long on average, and have something to do so often.
pub(super) async fn connections(
    w: &World,
    kind: &'static str,
    apart: Duration,
    lives: Duration,
    traffic: Duration,
) {
    w.each(apart, || {
        let (world, lives) = (w.clone(), w.around(lives));
        w.spawn(kind, async move {
            let _ = timeout(lives, async {
                loop {
                    sleep(world.around(traffic)).await;
                }
            })
            .await;
        });
    })
    .await;
}
