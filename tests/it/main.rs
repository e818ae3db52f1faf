//! What the facade promises, between real processes.
//!
//! The functions that run as processes are plain functions of these modules. They assert as tests do: what goes
//! wrong in one is its exit reason, which whoever runs or watches it sees.
#![cfg(test)]
#![expect(
    clippy::exit,
    reason = "a process that ends without a word is among what is tested"
)]

/// Runs a closure within a time limit in a process of its own, of which nothing may be left.
macro_rules! bounded {
    ($body:expr) => {
        occ_test_support::isolated!(|| occ_test_support::within(crate::hang(), $body))
    };
}

/// As `bounded!`, a function as process zero of a system.
macro_rules! in_a_system {
    ($function:expr) => {
        bounded!(|| occasional::run($function, ()).unwrap())
    };
}

mod gate;
mod sys;

mod abnormal_exits;
mod compile_errors;
mod connections;
mod down;
mod exit_codes;
mod exit_reasons;
mod exit_values;
mod forks;
mod gone;
mod hosts;
mod huge;
mod inbox;
mod killed;
mod leaving;
mod life;
mod limits;
mod matchers;
mod messages;
mod monitors;
mod nesting;
mod parallel;
mod programs;
mod requests;
mod room;
mod run;
mod run_error;
mod signals;
mod terminal;
mod threads;
mod typed;

/// What takes longer than this has hung: hundreds of processes come and go in some of these tests, also on a machine
/// that is busy with other things.
fn hang() -> std::time::Duration {
    occ_test_support::LIMIT * u32::try_from(occ_test_support::stress::times(8)).unwrap()
}
