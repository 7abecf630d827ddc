//! Each test here is named for a bug that was found once.
