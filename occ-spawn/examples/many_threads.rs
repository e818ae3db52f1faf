//! A large program with many threads spawns as cheaply, and as safely, as a small one.

use std::time::Instant;

use occ_spawn::{ExitReason, Spawner};

const THREADS: u64 = 8;
const PROCESSES: u64 = 50;

fn square(n: u64) -> u64 {
    n * n
}

#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> anyhow::Result<()> {
    // A fork of this would copy the tables of a quarter of a million pages, and any lock that is held.
    let ballast = vec![1_u8; 1 << 30];
    let spawner = Spawner::new()?;

    let begin = Instant::now();
    let sum = std::thread::scope(|scope| -> anyhow::Result<u64> {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| squares(&spawner)))
            .collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().expect("no panic")?;
        }
        Ok(sum)
    })?;
    let took = begin.elapsed();

    assert_eq!(sum, THREADS * (1..=PROCESSES).map(square).sum::<u64>());
    let each = took / u32::try_from(THREADS * PROCESSES)?;
    println!(
        "{} processes from {THREADS} threads, {each:?} each",
        THREADS * PROCESSES
    );
    drop(ballast);
    Ok(())
}

fn squares(spawner: &Spawner) -> anyhow::Result<u64> {
    let mut sum = 0;
    for n in 1..=PROCESSES {
        match spawner.spawn(square, (n,))?.wait()?.reason {
            ExitReason::Value(value) => sum += value.get::<u64>()?,
            other => anyhow::bail!("a process {other}"),
        }
    }
    Ok(sum)
}
