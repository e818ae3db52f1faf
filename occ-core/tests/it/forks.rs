//! Forks of a process are no processes of the system: nothing that they say counts, and they say nothing.

use occ_core::protocol::Request;
use occ_core::{Process, SendError, SpawnError, StartError, System, SystemError, current};
use occ_sck::{Deadline, Packet};
use occ_spawn::entry::kind;
use occ_test_support::{
    LIMIT,
    alive::alive,
    dead, isolated,
    ready::{Ready, Say},
    within,
};
use rustix::process::Signal;

use crate::{a_spawn, assert_works, code, me, raw, reason, say, stay, system, value};

/// What a fork of a process says in its name.
fn speak() {
    let control = raw::control();
    let own = me(|me| me.self_pid());
    // One that is refused leaves no trace; one that is heard does.
    say(&control, &a_spawn(1, None, None));
    say(&control, &Request::Kill { id: 1, pid: own });
    say(&control, &Request::Processes { id: 1 });
    for kind in [
        kind::HELLO,
        kind::PANIC,
        kind::ERROR,
        kind::FORK_FAILED,
        // The last, because of several reports the last is kept; and this one goes with what the kernel will say.
        kind::VALUE,
    ] {
        let forged = Packet::of(kind, &"forged".to_owned()).unwrap();
        forged.send_part(0, &control, &[], Deadline::Never).unwrap();
    }
}

#[test]
fn what_a_fork_says_on_the_control_socket_of_its_parent_is_not_heard() {
    fn parent(how: i32) -> (usize, bool) {
        let Some(fork) = raw::fork() else {
            speak();
            raw::exit_now(0)
        };
        assert_eq!(raw::wait_for(fork), 0);
        let list = me(|me| me.processes()).unwrap();
        // Nothing was answered that this did not ask.
        if how == 1 {
            raw::exit_now(0)
        }
        (list.len(), true)
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(parent, (0,)).unwrap();
        assert_eq!(value::<(usize, bool)>(&reason(process, monitor)), (2, true));
        // Where the process itself says nothing, the kernel's word is all there is.
        let (_, monitor) = process.spawn_monitor(parent, (1,)).unwrap();
        assert_eq!(code(&reason(process, monitor)), 0);
        assert_works(process);
        system.stop();
    });
}

/// The control: the same, said by the process itself, is heard.
#[test]
fn what_a_process_says_on_its_control_socket_is_heard() {
    fn itself() {
        speak();
        raw::stay()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(itself, ()).unwrap();
        assert_eq!(crate::signal(&reason(process, monitor)), libc::SIGKILL);
        system.stop();
    });
}

/// Every call in a fork, as a name for what came of it.
fn calls(process: &mut Process) -> Vec<bool> {
    let own = process.self_pid();
    vec![
        matches!(process.spawn(stay, ()), Err(SpawnError::Forked)),
        matches!(process.monitor(own), Err(SystemError::Forked)),
        matches!(process.processes(), Err(SystemError::Forked)),
        matches!(process.kill(own), Err(SystemError::Forked)),
        matches!(process.os_pid(own), Err(SystemError::Forked)),
        matches!(process.send(own, &1_u8), Err(SendError::Forked)),
        matches!(process.receive::<u8>(), Err(occ_core::ReceiveError::Forked)),
        matches!(System::start(), Err(StartError::Forked)),
    ]
}

#[test]
fn every_call_in_a_fork_of_a_process_is_an_error() {
    fn parent() -> i32 {
        let Some(fork) = raw::fork() else {
            let forked = me(calls);
            let myself = matches!(current::self_pid(), Err(SystemError::Forked));
            raw::exit_now(if myself && forked.iter().all(|forked| *forked) {
                42
            } else {
                1
            })
        };
        raw::wait_for(fork) >> 8
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(parent, ()).unwrap();
        assert_eq!(value::<i32>(&reason(process, monitor)), 42);
        system.stop();
    });
}

#[test]
fn every_call_in_a_fork_of_the_host_is_an_error_and_its_end_is_not_the_systems() {
    isolated!(|| {
        let mut system = system();
        let Some(fork) = raw::fork() else {
            let forked = calls(system.process());
            // Neither of these ends anything.
            drop(system.take_process());
            system.stop();
            raw::exit_now(if forked.iter().all(|forked| *forked) {
                42
            } else {
                1
            })
        };
        assert_eq!(raw::wait_for(fork) >> 8, 42);
        assert_works(system.process());
        system.stop();
    });
}

#[test]
fn a_fork_of_a_program_whose_system_has_stopped_can_start_one() {
    isolated!(|| {
        let mut first = system();
        assert_works(first.process());
        first.stop();
        let Some(fork) = raw::fork() else {
            let mut second = system();
            assert_works(second.process());
            second.stop();
            raw::exit_now(42)
        };
        assert_eq!(within(LIMIT, || raw::wait_for(fork)) >> 8, 42);
    });
}

/// A fork of the host that says when it is there, and stays.
fn idle_fork() -> dead::Watch {
    let (ready, say) = Ready::new();
    let Some(fork) = raw::fork() else {
        say.ready();
        raw::stay()
    };
    ready.wait(LIMIT);
    dead::Watch::of(fork)
}

fn end(fork: &dead::Watch) {
    assert!(fork.is_alive());
    fork.signal(Signal::KILL);
    fork.wait_gone(LIMIT);
    raw::wait_for(fork.pid());
}

#[test]
fn stop_ends_the_system_though_a_fork_of_the_host_holds_its_sockets() {
    isolated!(|| {
        let mut system = system();
        let pid = system.process().spawn(crate::echo, ()).unwrap();
        crate::ping(system.process(), pid);
        let os_pid = crate::os_pid(system.process(), pid);
        let fork = idle_fork();
        within(LIMIT, || system.stop());
        assert!(!alive(os_pid));
        end(&fork);
    });
}

#[test]
fn a_host_with_a_fork_is_told_at_once_that_the_coordinator_died() {
    isolated!(|| {
        let mut system = system();
        let fork = idle_fork();
        dead::Watch::of(system.coordinator().get()).signal(Signal::KILL);
        let received = within(LIMIT, || system.process().receive::<u8>());
        assert!(matches!(received, Err(occ_core::ReceiveError::SystemDown)));
        within(LIMIT, || system.stop());
        end(&fork);
    });
}

/// Whose process is held elsewhere, in the middle of something perhaps, can be stopped all the same.
#[test]
fn stop_does_not_wait_for_the_process_of_the_host() {
    isolated!(|| {
        let mut system = system();
        let mut process = system.take_process().unwrap();
        assert_works(&mut process);
        within(LIMIT, || system.stop());
        assert!(matches!(process.processes(), Err(SystemError::SystemDown)));
    });
}

#[test]
fn the_end_of_the_hosts_process_is_the_systems() {
    isolated!(|| {
        let mut system = system();
        let pid = system.process().spawn(stay, ()).unwrap();
        let os_pid = crate::os_pid(system.process(), pid);
        let process = system.take_process();
        assert!(alive(os_pid));
        drop(process);
        dead::gone(os_pid, LIMIT);
        dead::gone(system.coordinator().get(), LIMIT);
        system.stop();
    });
}

/// A function's process that forks, dies, and leaves the fork: that goes with it, at the latest with the system.
#[test]
fn nothing_that_a_process_left_outlives_a_stop() {
    fn leave_a_fork(ready: String) {
        let ready = Say::open(&ready);
        // It may not come to say so itself: it goes with this process.
        match raw::fork() {
            None => raw::stay(),
            Some(fork) => ready.line(fork),
        }
    }
    isolated!(|| {
        let mut system = system();
        let (ready, say) = Ready::new();
        system
            .process()
            .spawn(leave_a_fork, (say.address(),))
            .unwrap();
        let fork = ready.pid(LIMIT);
        within(LIMIT, || system.stop());
        assert!(!dead::Watch::of(fork).is_alive());
    });
}
