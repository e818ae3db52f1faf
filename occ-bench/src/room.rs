//! Room for many processes: descriptors of the coordinator, and memory.

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::machine::Memory;

/// Descriptors that a coordinator wants besides the one for each process: 128 that it keeps for itself, its own, and those
/// of processes that a command has besides.
pub(crate) const SPARE: u64 = 200;

/// KiB that a process may take here before it is clear that it is not what is measured that fails.
const KIB_EACH: u64 = 200;

/// Fails if so many processes have no room here.
///
/// The coordinator raises its soft limit on open files to the hard one, so that is the one that counts.
pub(crate) fn check(processes: usize) -> anyhow::Result<()> {
    let needed = processes as u64 + SPARE;
    if let Some(hard) = getrlimit(Resource::Nofile).maximum {
        ensure!(
            hard >= needed,
            "{processes} processes need a hard limit on open files of {needed} (`ulimit -Hn`), and it is {hard}"
        );
    }
    let (needed, available) = (processes as u64 * KIB_EACH, Memory::now()?.available);
    ensure!(
        available >= needed,
        "{processes} processes need some {} MiB of memory, and {} are available",
        needed / 1024,
        available / 1024
    );
    Ok(())
}

/// Lets this process have so many files open besides the few that every process has, as a program must that wants as many
/// connections.
pub(crate) fn raise_open_files(count: u64) -> anyhow::Result<()> {
    let needed = count + SPARE;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|hard| hard >= needed),
        "{count} connections need a hard limit on open files of {needed} (`ulimit -Hn`), and it is {:?}",
        limit.maximum
    );
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit)
        .with_context(|| format!("setrlimit(RLIMIT_NOFILE) to {needed}"))
}

/// Sets both limits on open files, for this process and what it starts: `limit`, or the hard one if that is lower.
pub(crate) fn limit_open_files(limit: u64) -> anyhow::Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limit = limit.min(hard);
    let both = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    setrlimit(Resource::Nofile, both)
        .with_context(|| format!("setrlimit(RLIMIT_NOFILE) to {limit}"))?;
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_said_where_there_is_no_room() {
        check(1).unwrap();
        let error = check(1 << 40).unwrap_err().to_string();
        assert!(error.contains("need"), "{error}");
        let error = raise_open_files(1 << 40).unwrap_err().to_string();
        assert!(error.contains("need"), "{error}");
    }
}
