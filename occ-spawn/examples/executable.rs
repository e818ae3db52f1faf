//! Runs an executable as a process, and tells how it ended: the first argument is the program, the others are its own.

use std::io::Write;

use occ_spawn::{Options, Spawner};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().unwrap_or_else(|| "true".into());
    let spawner = Spawner::new()?;
    let options = Options::new().args(args).foreground(true);
    let mut child = spawner.spawn_exe(&options, &program)?;
    writeln!(std::io::stdout(), "{}", child.wait()?.report)?;
    Ok(())
}
