//! One word to all parts of the service: no more.

use tokio::sync::watch;

/// Says it. Dropping it says it too.
#[derive(Debug)]
pub(super) struct StopSender(watch::Sender<bool>);

/// Hears it.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

pub(super) fn channel() -> (StopSender, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), Stop(receiver))
}

impl StopSender {
    pub(super) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until it has been said.
    pub(super) async fn requested(&self) {
        // An error means that the sender is gone, which says the same.
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }
}
