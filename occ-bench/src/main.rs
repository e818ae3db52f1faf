//! Benchmarks: each figure beside the bare system calls for the same work, and beside its peers.
//!
//! ```text
//! cargo run --release -p occ-bench -- [NAME…] [--json] [--quick]
//! cargo run --release -p occ-bench -- COMMAND NUMBER…
//! ```
//!
//! A row has one name, one figure and one unit. `raw` is the bare system calls for the same work; `ratio` is ours ÷
//! raw. Both are measured in one run, at one placement, in rounds that take turns, and each is the median of its rounds: the
//! machine may be busy, and what it is busy with then falls on both. Absolute figures are worth little, ratios much.
//!
//! What is measured is the facade, as a user would use it, in processes of a system. The raw limits are measured in
//! processes of the same system, so that they are as small as ours: what a fork costs depends on who forks.
//!
//! - [`rows`] is the list of rows, with what each is to reach.
//! - [`spawning`], [`spares`], [`killing`], [`connect`], [`round_trip`], [`selective`], [`one_way`], [`fan_in`] and [`fairness`]
//!   measure.
//! - [`commands`] is what takes a number and fails: [`hold`], [`teardown`], [`chaos`], [`backtrace`], [`mesh`], [`torture`] and
//!   [`fuzz`]. [`room`] says beforehand what they need, [`left`] afterwards what they left, [`machine`] what the kernel counts.
//! - [`raw`], [`raw_connect`] and [`raw_idle`] have the bare limits, [`peers`] the competition.
//! - [`piece`] is a message of which each byte counts, [`sequence`] says which of them came. [`random`] has the numbers for a seed.
//! - [`meter`], [`place`], [`clock`], [`bytes`] and [`stats`] are what they share; [`report`] prints.
//! - [`sys`] has the unsafe code.

mod backtrace;
mod bytes;
mod chaos;
mod cli;
mod clock;
mod commands;
mod connect;
mod fairness;
mod fan_in;
mod fuzz;
mod hold;
mod killing;
mod left;
mod machine;
mod mesh;
mod meter;
mod one_way;
mod peers;
mod piece;
mod place;
mod random;
mod raw;
mod raw_connect;
mod raw_idle;
mod report;
mod room;
mod round_trip;
mod rows;
mod selective;
mod sequence;
mod spares;
mod spawning;
mod stats;
mod sys;
mod teardown;
mod torture;

fn main() -> std::process::ExitCode {
    // A process that procspawn makes runs `main` again, and goes no further than this line.
    peers::start_procspawn();
    cli::main()
}
