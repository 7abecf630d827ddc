//! Unmaps the program's code, most of which runs only at a start or a reload.
//!
//! The kernel maps sixteen pages of a program at each page that is missing. A start runs much code once, such as that which
//! reads a configuration, and a reload runs it again. All of it counts as memory of the process from then on: three
//! quarters of what an idle proxy seems to need. Code that is unmapped is still in the cache of files, and is mapped again,
//! in a microsecond or two, when it runs.

use std::{fs, ops::Range, ptr};

/// Unmaps the program's code, all of which stays in its file. Does nothing while a debugger is attached, whose breakpoints
/// are changes of the code in memory.
pub(super) fn unmap() {
    let Some(code) = fs::read_to_string("/proc/self/maps").ok().and_then(|maps| own_code(&maps))
    else {
        return;
    };
    if is_traced() {
        return;
    }
    #[expect(unsafe_code, reason = "no safe crate gives pages back")]
    // SAFETY: the range is one mapping of the program's file, which is private and can't be written. So every page of it
    // is as in the file, and the kernel reads it from there when it is used next, by this very code first of all.
    unsafe {
        libc::madvise(
            ptr::with_exposed_provenance_mut(code.start),
            code.len(),
            libc::MADV_DONTNEED,
        );
    }
}

/// Returns the mapping of this code from the lines of `/proc/self/maps` (proc_pid_maps(5)), if it is private, comes from a
/// file and can't be written.
fn own_code(maps: &str) -> Option<Range<usize>> {
    let here = own_code as *const () as usize;
    maps.lines().find_map(|line| {
        // The range, the rights, the offset, the device and the file's number.
        let mut columns = line.split_ascii_whitespace();
        let (start, end) = columns.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let range = address(start)?..address(end)?;
        let rights = columns.next()?;
        let is_of_file = columns.nth(2)? != "0";
        (range.contains(&here) && rights == "r-xp" && is_of_file).then_some(range)
    })
}

/// Returns whether a debugger is attached to this process (proc_pid_status(5)). True if that can't be known.
fn is_traced() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_none_or(|tracer| tracer.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_without_its_mapped_code() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let code = own_code(&maps).unwrap();
        assert!(code.contains(&(unmap as *const () as usize)));
        unmap();
        assert!(is_traced() || mapped(code.start) < code.len() / 2048);
        // Code that ran before runs again.
        assert_eq!(own_code(&maps), Some(code));
    }

    /// Returns how much of the mapping at `start` is in memory, in KiB.
    fn mapped(start: usize) -> usize {
        let all = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = all.lines().skip_while(|line| !line.starts_with(&format!("{start:x}-")));
        let size = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        size.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn only_private_code_of_a_file_counts() {
        let here = own_code as *const () as usize;
        let line = |rights, file| {
            format!(
                "1000-2000 r--p 0 08:01 7 /x\n{here:x}-{:x} {rights} 00001000 08:01 {file} /x y\n",
                here + 1
            )
        };
        assert_eq!(own_code(&line("r-xp", 7)), Some(here..here + 1));
        for other in [line("rwxp", 7), line("r-xs", 7), line("r-xp", 0), String::new(), "?".into()]
        {
            assert_eq!(own_code(&other), None, "{other}");
        }
    }
}
