//! Making processes: either there is one, or an error says that there is none.

use occ_core::{OsPid, Pid, Process, SpawnError};
use occ_test_support::{LIMIT, isolated, stress, within};

use crate::{assert_works, down, echo, me, ping, raw, reason, signal, stay, system, value};

fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// OC-5, OC-8, OC-10.
#[test]
fn a_function_runs_as_a_process_and_its_value_is_told() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(add, (1, 2)).unwrap();
        let down = down(process, monitor);
        assert_eq!((down.pid, value::<u64>(&down.reason)), (pid, 3));
        let (started, ended) = (down.report.started.unwrap(), down.report.ended.unwrap());
        assert!(started.wall <= ended.wall && started.boot < ended.boot);
        let usage = down.report.usage.unwrap();
        assert!(usage.peak_rss.unwrap() > 0 && usage.minor_faults > 0);
        assert!(usage.io.is_ok());
        assert!(usage.switches.unwrap().voluntary < 1000);
        system.stop();
    });
}

/// The whole record: what the kernel called it is what it called itself. SP-17 between processes of a system.
#[test]
fn the_report_names_the_os_pid() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(std::process::id, ()).unwrap();
        let down = down(process, monitor);
        assert_eq!(
            down.report.os_pid.unwrap().get(),
            value::<u32>(&down.reason)
        );
        system.stop();
    });
}

#[test]
fn what_is_sent_the_instant_spawn_returns_arrives() {
    fn first() -> u64 {
        me(Process::receive).unwrap()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for n in 0..stress::times(500) as u64 {
            let (pid, monitor) = process.spawn_monitor(first, ()).unwrap();
            process.send(pid, &n).unwrap();
            assert_eq!(value::<u64>(&reason(process, monitor)), n);
        }
        system.stop();
    });
}

#[test]
fn arguments_of_any_length_arrive() {
    fn len(text: String) -> usize {
        text.len()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for length in [0, 1, 40_000, 48 * 1024, 70_000, 10 << 20] {
            let (_, monitor) = process.spawn_monitor(len, ("x".repeat(length),)).unwrap();
            assert_eq!(value::<usize>(&reason(process, monitor)), length);
        }
        system.stop();
    });
}

/// A request is one datagram, however long the name of what is to be run.
#[test]
fn a_function_with_a_long_name_is_spawned_and_listed() {
    type D<T> = (T, T, T, T, T, T, T, T, T, T);
    fn long<T: Default + 'static>() -> usize {
        std::any::type_name::<T>().len()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process
            .spawn_monitor(stay_long::<D<D<D<u64>>>>, ())
            .unwrap();
        let list = process.processes().unwrap();
        let name = &list
            .iter()
            .find(|process| process.pid == pid)
            .unwrap()
            .function;
        assert!(name.len() <= 1024, "{}", name.len());
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);

        let (_, monitor) = process
            .spawn_monitor(long::<D<D<D<D<D<u64>>>>>>, ())
            .unwrap();
        assert!(value::<usize>(&reason(process, monitor)) > 100_000);
        system.stop();
    });
}

fn stay_long<T: 'static>() {
    assert!(std::any::type_name::<T>().len() > 1024);
    raw::stay()
}

#[test]
fn a_process_spawns_and_is_named_alike_everywhere() {
    fn parent() -> Vec<Pid> {
        let (child, monitor) = me(|me| me.spawn_monitor(child, (me.self_pid(),))).unwrap();
        let mut pids = vec![me(|me| me.self_pid()), child];
        let (parent, child): (Pid, Pid) = me(Process::receive).unwrap();
        pids.extend([parent, child]);
        let _ = me(|me| reason(me, monitor));
        pids
    }
    fn child(parent: Pid) {
        me(|me| me.send(parent, &(parent, me.self_pid()))).unwrap();
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(parent, ()).unwrap();
        let pids = value::<Vec<Pid>>(&reason(process, monitor));
        assert_eq!(pids[..2], pids[2..]);
        assert_eq!(pids[0], pid);
        system.stop();
    });
}

/// OC-4: the coordinator answers.
#[test]
fn processes_are_listed_in_the_order_of_their_making() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let mut pids = vec![process.self_pid()];
        pids.extend((0..5).map(|_| process.spawn(stay, ()).unwrap()));
        let list = process.processes().unwrap();
        assert_eq!(
            list.iter().map(|process| process.pid).collect::<Vec<_>>(),
            pids
        );
        for listed in &list {
            assert_eq!(process.os_pid(listed.pid).unwrap(), listed.os_pid.unwrap());
        }
        assert_eq!(list[0].os_pid.unwrap().get(), std::process::id());
        assert!(list[1].function.ends_with("stay"), "{}", list[1].function);
        system.stop();
    });
}

/// A list too long for a datagram comes in a memory file.
#[test]
fn a_long_list_of_processes_is_answered() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        // Each name is cut at a kilobyte.
        type D<T> = (T, T, T, T, T, T, T, T, T, T);
        for _ in 0..100 {
            process.spawn(stay_long::<D<D<D<u64>>>>, ()).unwrap();
        }
        assert_eq!(process.processes().unwrap().len(), 101);
        system.stop();
    });
}

/// Two at once, from two processes, over and over: every one is made, and none twice.
#[test]
fn two_that_spawn_at_once_get_what_they_asked_for() {
    fn spawner(n: u64) -> u64 {
        let mut sum = 0;
        for i in 0..n {
            let (_, monitor) = me(|me| me.spawn_monitor(add, (i, 1))).unwrap();
            sum += value::<u64>(&me(|me| reason(me, monitor)));
        }
        sum
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let n = stress::times(50) as u64;
        let both: Vec<_> = (0..2)
            .map(|_| process.spawn_monitor(spawner, (n,)).unwrap().1)
            .collect();
        for monitor in both {
            assert_eq!(value::<u64>(&reason(process, monitor)), n * (n + 1) / 2);
        }
        system.stop();
    });
}

#[test]
fn a_process_that_closes_everything_lives_on_and_its_end_is_told() {
    fn close_all_and_wait(gate: String) {
        let mut gate = std::fs::File::open(gate).unwrap();
        // The gate stays: it is what this waits for.
        let fd = std::os::fd::AsRawFd::as_raw_fd(&gate);
        (0..fd).for_each(raw::close);
        let _ = std::io::Read::read(&mut gate, &mut [0]);
        raw::exit_now(7);
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = crate::Gate::new();
        let (pid, monitor) = process
            .spawn_monitor(close_all_and_wait, (gate.address(),))
            .unwrap();
        // It does not listen, and is alive, which one that is dying is not: so that is what is told.
        within(LIMIT, || {
            loop {
                match process.send(pid, &1_u8) {
                    Ok(()) => {}
                    Err(occ_core::SendError::NoInbox { to }) => break assert_eq!(to, pid),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert_works(process);
        assert!(process.os_pid(pid).is_ok());
        let _open = gate.open();
        assert_eq!(crate::code(&reason(process, monitor)), 7);
        assert!(matches!(
            process.send(pid, &1_u8),
            Err(occ_core::SendError::NoProcess { .. })
        ));
        system.stop();
    });
}

#[test]
fn a_spawn_after_the_end_of_the_system_is_an_error() {
    isolated!(|| {
        let mut system = system();
        let mut process = system.take_process().unwrap();
        ping_one(&mut process);
        system.stop();
        let error = within(LIMIT, || process.spawn(echo, ()).unwrap_err());
        assert!(matches!(error, SpawnError::SystemDown), "{error}");
    });
}

fn ping_one(process: &mut Process) {
    let pid = process.spawn(echo, ()).unwrap();
    ping(process, pid);
}

/// SQ-3
#[test]
fn a_process_is_in_the_group_of_its_host_until_it_ends() {
    isolated!(|| {
        let group = occ_proc::Stat::of(OsPid::own()).unwrap().group;
        let members = || occ_proc::group_members(group).unwrap();
        let before = members();
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(stay, ()).unwrap();
        let os_pid = process.os_pid(pid).unwrap();
        assert!(members().contains(&OsPid::own()) && members().contains(&os_pid));
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        assert!(members().contains(&OsPid::own()) && !members().contains(&os_pid));
        system.stop();
        // Whoever else is in the group may come and go.
        let left = members();
        assert!(before.contains(&OsPid::own()) && left.contains(&OsPid::own()));
    });
}
