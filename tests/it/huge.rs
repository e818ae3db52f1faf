//! Messages of any size, in little more memory than their values take.

use occ_test_support::stress::times;
use occasional::{Bytes, Down, ExitReason, MonitorRef, Pid, receive, send, since, spawn_monitor};

/// What a process may take besides the value: a few parts, a piece that is being read, and itself.
const BESIDES: u64 = 64 << 20;

fn sends(to: Pid, size: usize) -> anyhow::Result<()> {
    // All of it is written: of memory that nobody has touched the kernel has none.
    Ok(send(to, Bytes(vec![7; size]))?)
}

fn receives(size: usize) -> anyhow::Result<()> {
    let value: Bytes = receive()?;
    assert_eq!(value.len(), size);
    assert!(
        value
            .chunks(4096)
            .all(|page| page[0] == 7 && page[page.len() - 1] == 7)
    );
    Ok(())
}

/// The most memory that the process has had at a time.
fn peak(watch: MonitorRef) -> anyhow::Result<u64> {
    let down: Down = since(watch).receive_where(|down: &Down| down.monitor == watch)?;
    assert!(
        matches!(down.reason, ExitReason::Value(_)),
        "{}",
        down.reason
    );
    let usage = down.report.usage.unwrap();
    Ok(usage.peak_rss.unwrap())
}

fn huge_message() -> anyhow::Result<()> {
    let size = times(1) << 30;
    let (receiver, received) = spawn_monitor(receives, (size,))?;
    let (_, sent) = spawn_monitor(sends, (receiver, size))?;
    for (who, watch) in [("sender", sent), ("receiver", received)] {
        let peak = peak(watch)?;
        // The control: it has had the value.
        assert!(peak > size as u64, "the {who}: {peak}");
        assert!(peak < size as u64 + BESIDES, "the {who}: {peak}");
    }
    Ok(())
}

#[test]
fn huge_message_is_bounded() {
    in_a_system!(huge_message);
}
