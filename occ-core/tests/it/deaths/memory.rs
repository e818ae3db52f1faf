//! The out-of-memory killer.

use super::*;

/// In a group that has not as much memory as it takes.
#[test]
fn one_that_the_out_of_memory_killer_has_killed_is_told_as_such() {
    fn takes(group: String, gate: String) {
        wait(gate);
        std::fs::write(group, std::process::id().to_string()).unwrap();
        let mut all = Vec::new();
        loop {
            all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
    isolated!(|| {
        let Some(group) = Cgroup::of_memory(24 << 20) else {
            return skipped("this user may not limit the memory of a control group of version 1");
        };
        isolated_row(|process| {
            let gate = Gate::new();
            let args = (group.entrance(), gate.address());
            let (_, monitor) = process.spawn_monitor(takes, args).unwrap();
            let open = gate.open();
            let down = down(process, monitor);
            drop(open);
            assert!(is_signal(&down.reason, libc::SIGKILL), "{down}");
            let verdict = down.report.verdict.as_ref().unwrap();
            assert_eq!(verdict.cause, Cause::OutOfMemory, "{down}");
            let log = occ_proc::KernelLog::open();
            let (confidence, because) = match &log {
                Ok(log) if log.has_our_numbers() => (Certain, "certain: kernel log"),
                Ok(_) => (Probable, "probable: kernel log, by name"),
                Err(_) => (Confidence::Guess, "guess: the machine counts such kills"),
            };
            assert_eq!(verdict.confidence, confidence, "{down}");
            let line = format!(") killed by the out-of-memory killer [{because}] after");
            assert!(down.to_string().contains(&line), "{down}");
            let peak = down.report.usage.as_ref().unwrap().peak_rss.unwrap();
            assert!(peak > 10 << 20, "{down}");

            // The control: one that is killed in a group with room is not called that.
            let down = end_after(process, ready_and_stay, |process, pid| {
                send(process, pid, Signal::KILL)
            });
            assert!(matches!(
                down.report.verdict.as_ref().unwrap().cause,
                Cause::SenderUnknown { .. }
            ));
        });
    });
}
