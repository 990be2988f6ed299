//! Programs that leak tasks which something could still wake: what others have had in production, rebuilt in tokio.
//!
//! `Tu` is Tu, Liu, Song, Zhang, *Understanding Real-World Concurrency Bugs in Go* (ASPLOS 2019); `GoBench` Yuan et al.,
//! *GoBench: A Benchmark Suite of Real-World Go Concurrency Bugs* (CGO 2021), by its bug's name; `LeakProf` Saioc et al.,
//! *Unveiling and Vanquishing Goroutine Leaks in Enterprise Microservices* (arXiv 2312.12002), by its pattern. In tokio a
//! peer that is dropped wakes who waits for it, so that in each of these it is kept by somebody who has forgotten it.

pub(super) mod channels;
pub(super) mod locks;
pub(super) mod loops;
pub(super) mod scopes;
