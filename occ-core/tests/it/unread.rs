//! Messages that a process had not received when it ended.

use std::fs::File;
use std::thread;

use occ_core::{Evidence, Fd, Pid, Process, SendError, System};
use occ_test_support::dead::{self, Watch};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, Signal, isolated};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::spares::{spares, with_spares};
use crate::{down, echo, me, ping, stay, system, value, wait, zygote};

/// What the report says of it.
fn unread(process: &mut Process, monitor: occ_core::MonitorRef) -> Option<u64> {
    let evidence = down(process, monitor).report.evidence;
    evidence.iter().find_map(|piece| match piece {
        Evidence::Unread { messages } => Some(*messages),
        _ => None,
    })
}

/// What is told of one that is killed now.
fn unread_of_killed(process: &mut Process, pid: Pid) -> Option<u64> {
    let monitor = process.monitor(pid).unwrap();
    process.kill(pid).unwrap();
    unread(process, monitor)
}

/// Receives one of the messages that are there by the time the gate opens, and ends in this way.
fn receives_one(way: String, gate: String, ready: String) -> anyhow::Result<()> {
    let first: u64 = me(Process::receive)?;
    assert_eq!(first, 0);
    Say::open(&ready).ready();
    wait(gate);
    match way.as_str() {
        "a value" => {}
        "an error" => anyhow::bail!("enough"),
        "a panic" => panic!("enough"),
        "an exit" => occ_core::exit(7_u8),
        "a bare exit" => occ_test_support::raw::exit_now(7),
        "a signal" => crate::raw::signal(std::process::id(), libc::SIGKILL),
        "nothing" => stay(),
        other => panic!("{other}"),
    }
    Ok(())
}

#[test]
fn what_a_process_had_not_received_is_told_however_it_ends() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for way in [
            "a value",
            "an error",
            "a panic",
            "an exit",
            "a bare exit",
            "a signal",
            "nothing",
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
            if way == "nothing" {
                process.kill(pid).unwrap();
            }
            assert_eq!(unread(process, monitor), Some(20), "{way}");
            drop(open);
        }
        system.stop();
    });
}

#[test]
fn one_that_has_received_all_is_told_without_and_one_that_never_looked_with_all() {
    fn answers_once() -> anyhow::Result<()> {
        let (from, number): (Pid, u64) = me(Process::receive)?;
        me(|me| me.send(from, &number))?;
        Ok(())
    }
    fn throws_all_away() -> anyhow::Result<()> {
        let (from, number): (Pid, u64) = me(Process::receive)?;
        assert_eq!(me(Process::flush)?, 3);
        me(|me| me.send(from, &number))?;
        stay();
        Ok(())
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(answers_once, ()).unwrap();
        ping(process, pid);
        assert_eq!(unread(process, monitor), None);
        let pid = process.spawn(echo, ()).unwrap();
        ping(process, pid);
        assert_eq!(unread_of_killed(process, pid), None);
        let pid = process.spawn(throws_all_away, ()).unwrap();
        for number in 0..3_u32 {
            process.send(pid, &number).unwrap();
        }
        ping(process, pid);
        assert_eq!(unread_of_killed(process, pid), None);
        let pid = process.spawn(stay, ()).unwrap();
        process.send(pid, &1_u64).unwrap();
        assert_eq!(unread_of_killed(process, pid), Some(1));
        let pid = process.spawn(stay, ()).unwrap();
        assert_eq!(unread_of_killed(process, pid), None);
        system.stop();
    });
}

/// Another process sends so many, and has ended.
fn another_sends_five(process: &mut Process, to: Pid) {
    fn sends(to: Pid) {
        for number in 0..5_u64 {
            me(|me| me.send(to, &number)).unwrap();
        }
    }
    let (_, sender) = process.spawn_monitor(sends, (to,)).unwrap();
    value::<()>(&down(process, sender).reason);
}

#[test]
fn messages_of_all_kinds_from_everybody_are_counted_and_no_others() {
    fn to_itself_and_no_more(ready: String) {
        for number in 0..2_u64 {
            me(|me| me.send(me.self_pid(), &number)).unwrap();
        }
        let child = me(|me| me.spawn(stay, ())).unwrap();
        me(|me| me.monitor(child)).unwrap();
        me(|me| me.kill(child)).unwrap();
        // The Down has come when this one has ended, whom it says nothing of.
        let (_, monitor) = me(|me| me.spawn_monitor(|| (), ())).unwrap();
        me(|me| down(me, monitor));
        Say::open(&ready).ready();
        stay();
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (ready, say) = Ready::new();
        let pid = process
            .spawn(to_itself_and_no_more, (say.address(),))
            .unwrap();
        ready.wait(LIMIT);
        assert_eq!(unread_of_killed(process, pid), Some(2));

        let pid = process.spawn(stay, ()).unwrap();
        process.send(pid, &1_u8).unwrap();
        // In parts, in a file in memory, and with a descriptor.
        let long = vec![7_u8; 100_000];
        process.send(pid, &long).unwrap();
        process.try_send(pid, &long).unwrap();
        let null = File::open("/dev/null").unwrap();
        process.send(pid, &Fd(null)).unwrap();
        another_sends_five(process, pid);
        let handle = process.handle().unwrap();
        thread::spawn(move || handle.send(pid, 8_u8).unwrap())
            .join()
            .unwrap();
        let mut more = 0;
        let full = loop {
            match process.try_send(pid, &1_u8) {
                Ok(()) => more += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, SendError::Full { .. }), "{full}");
        assert_eq!(unread_of_killed(process, pid), Some(10 + more));
        system.stop();
    });
}

#[test]
fn what_one_leaves_is_not_told_of_the_next() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        // More than places that rest.
        for number in 0..160 {
            let pid = process.spawn(stay, ()).unwrap();
            for message in 0..number % 4 {
                process.send(pid, &message).unwrap();
            }
            let told = (number % 4 > 0).then_some(number % 4);
            assert_eq!(unread_of_killed(process, pid), told);
        }
        system.stop();
    });
}

#[test]
fn messages_to_what_another_zygote_has_made_or_was_a_spare_are_counted_as_well() {
    fn left_by_one(system: &mut System) -> Option<u64> {
        let process = system.process();
        let pid = process.spawn(stay, ()).unwrap();
        another_sends_five(process, pid);
        unread_of_killed(process, pid)
    }
    isolated!(|| {
        let mut system = with_spares();
        spares(&mut system);
        assert_eq!(left_by_one(&mut system), Some(5));
        system.stop();
        let mut system = crate::system();
        let first = zygote(&system);
        Watch::of(first).signal(Signal::KILL);
        dead::gone(first, LIMIT);
        assert_eq!(left_by_one(&mut system), Some(5));
        system.stop();
    });
}

/// Where files may be no longer than this there is no such memory, and nobody is ended for it.
#[test]
fn where_they_cannot_be_counted_they_are_not() {
    isolated!(|| {
        let before = getrlimit(Resource::Fsize);
        let mut limit = before;
        limit.current = Some(4096);
        setrlimit(Resource::Fsize, limit).unwrap();
        let mut system = system();
        setrlimit(Resource::Fsize, before).unwrap();
        let process = system.process();
        let pid = process.spawn(stay, ()).unwrap();
        process.send(pid, &1_u8).unwrap();
        assert_eq!(unread_of_killed(process, pid), None);
        let pid = process.spawn(echo, ()).unwrap();
        ping(process, pid);
        system.stop();
    });
}
