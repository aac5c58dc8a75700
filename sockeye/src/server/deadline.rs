//! When what a server waits for has to be over, on tokio's clock.

use std::time::Duration;

use tokio::time::Instant;

use super::ServerOptions;

impl ServerOptions {
    /// When a handshake that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        far_from_now(self.shared.handshake_timeout)
    }
}

/// When so much time has passed, if any clock reaches that.
pub(super) fn far_from_now(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + FAR_FUTURE)
}

/// What stands for a time that no clock reaches: a timeout of [`Duration::MAX`] means none. 30 years.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
