//! Runs a shell script as a process of a system, with options, and tells how it ended and what it complained of.
//!
//! ```text
//! cargo run --example run_and_tell -- 'echo no >&2; sleep 1; exit 3'
//! ```

use std::io::Write;
use std::time::Duration;

use occasional::{Builder, Down, receive};

fn run(script: String) -> anyhow::Result<()> {
    let builder = Builder::new()
        .label("script")
        .args(["-c", &script])
        .capture_stderr()
        .grace(Duration::from_secs(5));
    let (pid, monitor) = builder.spawn_exe_monitor("sh")?;
    let down: Down = receive()?;
    anyhow::ensure!(down.pid == pid && down.monitor == monitor);

    let mut out = std::io::stdout();
    writeln!(out, "{down}")?;
    for line in down.report.stderr.iter().flat_map(|tail| tail.lines()) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn main() -> Result<(), occasional::RunError> {
    let script = std::env::args().nth(1);
    occasional::run(run, (script.unwrap_or_else(|| "exit 0".to_owned()),))
}
