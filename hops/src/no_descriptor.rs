//! The errors of a process that has no descriptor left.

/// The codes by which the system says that this process, or the system itself, has no descriptor left: `ENFILE` and `EMFILE`.
#[cfg(unix)]
pub const NO_DESCRIPTOR: [i32; 2] = [23, 24];
/// The code by which the system says that this process has no descriptor left: `WSAEMFILE`.
#[cfg(not(unix))]
pub const NO_DESCRIPTOR: [i32; 1] = [10_024];
