//! The operating system: signals, the supervisor, memory, threads, and the limits on files.

pub(crate) mod early_timer;
pub(crate) mod file_lock;
pub(crate) mod file_size;
pub(crate) mod memory;
pub(crate) mod open_files;
pub(crate) mod own_lack;
#[cfg(target_os = "linux")]
pub(crate) mod process_name;
pub(crate) mod regular_file;
pub(crate) mod replace_file;
pub(crate) mod runtime;
pub(crate) mod shutdown;
pub(crate) mod supervisor;
pub(crate) mod threads;
pub(crate) mod workers;
