//! The operating system: signals, the supervisor, memory and the limit of open files.

pub mod memory;
pub mod open_files;
pub mod shutdown;
pub mod supervisor;
