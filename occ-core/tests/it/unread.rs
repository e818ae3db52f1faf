//! Messages that a process had not received when it ended.

use occ_core::{Evidence, Pid, Process};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated};

use crate::{down, echo, me, ping, stay, system, wait};

/// What the report says of it.
fn unread(process: &mut Process, monitor: occ_core::MonitorRef) -> Option<u64> {
    let evidence = down(process, monitor).report.evidence;
    evidence.iter().find_map(|piece| match piece {
        Evidence::Unread { messages } => Some(*messages),
        _ => None,
    })
}

/// Receives one of the messages that are there by the time the gate opens, and ends in this way.
fn receives_one(way: String, gate: String, ready: String) -> anyhow::Result<()> {
    let first: u64 = me(Process::receive)?;
    assert_eq!(first, 0);
    Say::open(&ready).ready();
    wait(gate);
    match way.as_str() {
        "a value" => Ok(()),
        "an error" => anyhow::bail!("enough"),
        "a panic" => panic!("enough"),
        "an exit" => occ_core::exit(7_u8),
        "a bare exit" => occ_test_support::raw::exit_now(7),
        other => panic!("{other}"),
    }
}

#[test]
fn what_a_process_had_not_received_is_told_if_it_ends_by_itself() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for (way, told) in [
            ("a value", Some(20)),
            ("an error", Some(20)),
            ("a panic", Some(20)),
            ("an exit", Some(20)),
            // Nobody of ours is asked there.
            ("a bare exit", None),
        ] {
            let (gate, (ready, say)) = (crate::Gate::new(), Ready::new());
            let args = (way.to_owned(), gate.address(), say.address());
            let (pid, monitor) = process.spawn_monitor(receives_one, args).unwrap();
            for number in 0..=20_u64 {
                process.send(pid, &number).unwrap();
            }
            ready.wait(LIMIT);
            drop(say);
            let open = gate.open();
            assert_eq!(unread(process, monitor), told, "{way}");
            drop(open);
        }
        system.stop();
    });
}

#[test]
fn one_that_has_received_all_or_never_looked_or_was_killed_is_told_without() {
    fn answers_once() -> anyhow::Result<()> {
        let (from, number): (Pid, u64) = me(Process::receive)?;
        me(|me| me.send(from, &number))?;
        Ok(())
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(answers_once, ()).unwrap();
        ping(process, pid);
        assert_eq!(unread(process, monitor), None);
        let (pid, monitor) = process.spawn_monitor(echo, ()).unwrap();
        ping(process, pid);
        process.kill(pid).unwrap();
        assert_eq!(unread(process, monitor), None);
        let (pid, monitor) = process.spawn_monitor(stay, ()).unwrap();
        process.send(pid, &1_u64).unwrap();
        process.kill(pid).unwrap();
        assert_eq!(unread(process, monitor), None);
        system.stop();
    });
}
