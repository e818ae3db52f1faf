//! How much memory a process has had.

/// The most that the process `pid` has had at once, in bytes: its `VmHWM` (proc_pid_status(5)).
///
/// # Panics
///
/// If there is no such process, or it has ended.
#[must_use]
pub fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.expect("a process that has memory") * 1024
}
