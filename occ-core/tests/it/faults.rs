//! What an attack on options, programs, spares and levels found: each is a fact that did not hold, or that did (`held`).

mod another_user;
mod asleep;
mod at_once;
mod at_the_limit;
mod chance;
mod full_table;
mod groups_within;
mod guard_killed;
mod held;
pub(crate) mod held_socket;
mod long_grace;
mod long_label;
mod no_program;
mod slow_program;
mod spare_killed;
mod stopped_guard;
mod stopped_zygote;
mod storms;

use std::time::Duration;

use occ_test_support::{LIMIT, within};

/// Longer than anything here takes, and shorter than what it would wait for if it were wrong.
const SOON: Duration = Duration::from_secs(8);

fn until(mut what: impl FnMut() -> bool) {
    within(LIMIT, || {
        while !what() {
            std::thread::yield_now();
        }
    });
}

fn comm(os_pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{os_pid}/comm")).unwrap_or_default()
}
