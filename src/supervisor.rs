//! Tells the supervisor how far the process is: systemd, where it started this one and asked for that
//! (`Type=notify-reload`); nobody elsewhere.

/// Clients can come.
pub fn ready() {
    #[cfg(target_os = "linux")]
    systemd::tell(&[sd_notify::NotifyState::Ready]);
}

/// The configuration is loaded anew; [`ready`] follows, whatever comes of it.
pub fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        systemd::tell(&[sd_notify::NotifyState::Reloading, now]);
    }
}

/// Nothing new begins, and the process ends when what is open has.
pub fn stopping() {
    #[cfg(target_os = "linux")]
    systemd::tell(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(target_os = "linux")]
mod systemd {
    use sd_notify::NotifyState;
    use tracing::warn;

    pub(super) fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            warn!(%error, "the supervisor can't be told how far this is");
        }
    }
}
