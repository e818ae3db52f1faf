//! At the limits of the machine: a named error, and everything else goes on.

use occ_core::{ExitReason, OsPid, Pid, Process, SendError, SpawnError, SystemError};
use occ_test_support::cgroup::Cgroup;
use occ_test_support::fds::without_room;
use occ_test_support::{LIMIT, isolated, within};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::hostile::open_files;
use crate::{
    Gate, assert_works, echo, me, ping, raw, reason, signal, stay, system, value, wait, zygote,
};

/// The host has few descriptors, so the coordinator has as few; the rest of the system needs none of them.
#[test]
fn a_system_is_full_by_the_limit_on_open_files_and_has_room_again_after_an_end() {
    isolated!(|| {
        let limit = Rlimit {
            current: Some(64),
            maximum: Some(64),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut system = system();
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        ping(process, witness);
        let mut crowd = Vec::new();
        let full = loop {
            match process.spawn_monitor(stay, ()) {
                Ok(spawned) => crowd.push(spawned),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(full, SpawnError::TooManyProcesses { limit: 48 }),
            "{full:?}"
        );
        assert_eq!(crowd.len(), 47);
        for _ in 0..3 {
            assert!(process.spawn(stay, ()).is_err());
            ping(process, witness);
            assert_eq!(process.processes().unwrap().len(), 49);
        }
        let (pid, monitor) = crowd.remove(0);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        let (pid, monitor) = process.spawn_monitor(echo, ()).unwrap();
        ping(process, pid);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        assert_works(process);
        system.stop();
    });
}

/// Lets a process open no more files, or so many more.
fn leave(os_pid: OsPid, more: usize) {
    let limit = Rlimit {
        current: Some((open_files(os_pid) + more) as u64),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    set_limit(os_pid, limit);
}

fn set_limit(os_pid: OsPid, limit: Rlimit) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(os_pid.get()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

fn long_value(gate: String) -> String {
    wait(gate);
    "v".repeat(1 << 20)
}

fn error_in_words(error: SpawnError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Sends to `to`, and says what came of it.
fn send_to(to: Pid) -> String {
    match me(|me| me.send(to, &(me.self_pid(), 7_u64))) {
        Ok(()) => format!("{}", me(Process::receive::<u64>).unwrap()),
        Err(error) => format!("{error:#}"),
    }
}

/// A name is cut at a kilobyte, so a hundred make a list that is too long for a datagram.
fn long_name<T: 'static>() {
    assert!(std::any::type_name::<T>().len() > 1024);
    raw::stay()
}

#[test]
fn a_coordinator_without_descriptors_says_so_to_all_who_wait_and_recovers() {
    type D<T> = (T, T, T, T, T, T, T, T, T, T);
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        ping(process, witness);
        for _ in 0..100 {
            process.spawn(long_name::<D<D<D<u64>>>>, ()).unwrap();
        }
        for more in 0..4 {
            let gate = Gate::new();
            let (_, last_words) = process
                .spawn_monitor(long_value, (gate.address(),))
                .unwrap();
            let (sender, sent) = process
                .spawn_monitor(
                    |gate: String, to: Pid| {
                        wait(gate);
                        send_to(to)
                    },
                    (gate.address(), witness),
                )
                .unwrap();
            leave(coordinator, more);

            // Whoever asks is told.
            within(LIMIT, || {
                let long = "x".repeat(1 << 20);
                for error in [
                    process.spawn(stay, ()).err(),
                    process.spawn(|text: String| drop(text), (long,)).err(),
                ] {
                    match error.map(error_in_words) {
                        Some(text) => assert!(text.contains("Too many open files"), "{text}"),
                        None => assert!(more > 0),
                    }
                }
                match process.processes() {
                    Ok(list) => assert!(list.len() > 100 && more > 0),
                    Err(SystemError::Io { op, source }) => {
                        assert_eq!(op, "memfd_create");
                        assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
                    }
                    Err(error) => panic!("{error}"),
                }
                ping(process, witness);
            });

            // Whoever ends is told of, if not with all that it said.
            let _open = gate.open();
            match reason(process, sent) {
                ExitReason::Value(value) => {
                    let said = value.get::<String>().unwrap();
                    assert!(said == "7" || said.contains("no file descriptor"), "{said}");
                }
                other => panic!("{sender} {other}"),
            }
            match reason(process, last_words) {
                ExitReason::Value(value) => {
                    assert_eq!(value.get::<String>().unwrap().len(), 1 << 20);
                }
                ExitReason::Error(lost) => {
                    assert!(
                        lost.to_string().contains("could not be handed over"),
                        "{lost}"
                    );
                }
                other => panic!("it {other}"),
            }

            // And when there is room again, it is as if nothing had been.
            set_limit(coordinator, getrlimit(Resource::Nofile));
            assert_works(process);
            let (_, sent) = process.spawn_monitor(send_to, (witness,)).unwrap();
            assert_eq!(value::<String>(&reason(process, sent)), "7");
            assert!(process.processes().unwrap().len() > 100);
        }
        system.stop();
    });
}

/// A zygote that cannot be made is an error, with its cause.
#[test]
fn without_a_descriptor_for_a_new_zygote_a_spawn_is_an_error_and_the_next_works() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let zygote = zygote(&system);
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        ping(process, witness);
        let before = open_files(coordinator);
        occ_test_support::dead::Watch::of(zygote).signal(rustix::process::Signal::KILL);
        occ_test_support::dead::gone(zygote, LIMIT);
        // The coordinator has noticed, and has closed its socket.
        within(LIMIT, || while open_files(coordinator) == before {});
        // Its own pair fits, and a zygote's does not.
        leave(coordinator, 2);
        let error = within(LIMIT, || process.spawn(stay, ()).unwrap_err());
        let text = error_in_words(error);
        assert!(text.contains("Too many open files"), "{text}");
        ping(process, witness);
        set_limit(coordinator, getrlimit(Resource::Nofile));
        assert_works(process);
        system.stop();
    });
}

#[test]
fn a_fork_that_the_kernel_refuses_is_an_error_without_a_down_and_the_rest_goes_on() {
    isolated!(|| {
        let Some(cgroup) = Cgroup::of_pids() else {
            occ_test_support::skipped("no pids cgroup can be made in /sys/fs/cgroup/pids");
            return;
        };
        let mut system = system();
        let zygote = zygote(&system);
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        ping(process, witness);
        cgroup.set("cgroup.procs", &zygote.to_string());
        cgroup.set("pids.max", "3");
        let crowd: Vec<_> = (0..2)
            .map(|_| process.spawn_monitor(stay, ()).unwrap())
            .collect();
        for _ in 0..3 {
            let error = within(LIMIT, || process.spawn_monitor(stay, ()).unwrap_err());
            let SpawnError::Fork(source) = &error else {
                panic!("{error:?}")
            };
            assert_eq!(source.raw_os_error(), Some(libc::EAGAIN));
            ping(process, witness);
            assert_eq!(process.processes().unwrap().len(), 4);
        }
        for (pid, monitor) in crowd {
            process.kill(pid).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        }
        assert_works(process);
        assert!(process.inbox().unwrap().is_empty());
        system.stop();
    });
}

/// The limit that processes get is the host's, not the coordinator's.
#[test]
fn a_process_has_the_hosts_limit_on_open_files() {
    fn limit() -> (Option<u64>, Option<u64>) {
        let limit = getrlimit(Resource::Nofile);
        (limit.current, limit.maximum)
    }
    isolated!(|| {
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(100),
                maximum: hard,
            },
        )
        .unwrap();
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(limit, ()).unwrap();
        assert_eq!(
            value::<(Option<u64>, Option<u64>)>(&reason(process, monitor)),
            (Some(100), hard)
        );
        system.stop();
    });
}

/// What could not be connected for want of a descriptor can be connected later.
#[test]
fn a_sender_without_descriptors_gets_an_error_and_can_send_later() {
    fn sender(to: Pid, has_looked: bool) -> bool {
        if has_looked {
            me(|me| me.inbox().unwrap().flush()).unwrap();
        }
        let failed = without_room(|| me(|me| me.send(to, &(me.self_pid(), 7_u64))));
        let named = matches!(failed, Err(SendError::TooManyPeers { .. }));
        // Whoever receives next is told that something was lost, too.
        me(|me| me.inbox().unwrap().flush()).ok();
        me(|me| ping(me, to));
        named
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        for has_looked in [false, true] {
            let args = (witness, has_looked);
            let (_, monitor) = process.spawn_monitor(sender, args).unwrap();
            assert!(value::<bool>(&reason(process, monitor)), "{has_looked}");
        }
        ping(process, witness);
        system.stop();
    });
}

/// The answer needs a descriptor where it is long, and so does a value that somebody ended with.
#[test]
fn one_without_descriptors_is_told_what_it_could_not_be_given() {
    type D<T> = (T, T, T, T, T, T, T, T, T, T);
    fn asker() -> (bool, bool, bool) {
        let gate = Gate::new();
        let (_, monitor) = me(|me| me.spawn_monitor(long_value, (gate.address(),))).unwrap();
        for _ in 0..100 {
            me(|me| me.spawn(long_name::<D<D<D<u64>>>>, ())).unwrap();
        }
        let (list, value, nothing) = without_room(|| {
            let list = me(|me| me.processes());
            let _open = gate.open();
            let value = me(|me| reason(me, monitor));
            // Nothing else was lost.
            (list, value, me(|me| me.inbox().unwrap().is_empty()))
        });
        let lost = matches!(&value, ExitReason::Error(lost)
            if lost.to_string().contains("could not be handed over"));
        (matches!(list, Err(SystemError::Io { .. })), lost, nothing)
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(asker, ()).unwrap();
        let told = within(LIMIT, || reason(process, monitor));
        assert_eq!(value::<(bool, bool, bool)>(&told), (true, true, true));
        system.stop();
    });
}
