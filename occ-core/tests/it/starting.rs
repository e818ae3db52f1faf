//! Systems: started, stopped, several at once, one inside another, and with the thread that they belong to.

use occ_core::{Pid, Process, RunError, System, SystemError, current};
use occ_test_support::{
    LIMIT,
    alive::alive,
    dead, isolated,
    lifeline::{Hold, Lifeline},
    meanwhile,
    ready::{Ready, Say},
    stress, tree, within,
};

use crate::{assert_works, echo, me, ping, raw, reason, system, try_kill, value};

/// OC-26.
#[test]
fn start_stop_and_start_again() {
    isolated!(|| {
        for _ in 0..stress::times(10) {
            let mut system = System::start().unwrap();
            assert_works(system.process());
            system.stop();
        }
    });
}

/// Whatever child appears while the system starts is killed: the coordinator, before it is ready.
#[test]
fn a_coordinator_that_dies_while_it_starts_is_an_error() {
    isolated!(|| {
        let own = std::process::id();
        let mut failed = 0;
        meanwhile(
            || {
                tree::children(own)
                    .into_iter()
                    .filter(|child| alive(*child))
                    .for_each(try_kill)
            },
            || {
                for _ in 0..stress::times(50) {
                    match within(LIMIT, System::start) {
                        Ok(system) => within(LIMIT, || system.stop()),
                        Err(_) => failed += 1,
                    }
                }
            },
        );
        println!("{failed} did not come up");
        let mut system = system();
        assert_works(system.process());
        system.stop();
    });
}

#[test]
fn a_dropped_system_has_ended() {
    isolated!(|| {
        let mut system = system();
        let pid = system.process().spawn(echo, ()).unwrap();
        ping(system.process(), pid);
        let os_pid = crate::os_pid(system.process(), pid);
        let coordinator = system.coordinator().get();
        drop(system);
        assert!(!alive(os_pid) && !alive(coordinator));
    });
}

#[test]
fn two_systems_of_one_thread_know_nothing_of_each_other() {
    isolated!(|| {
        let (mut one, mut two) = (system(), system());
        let pid = one.process().spawn(echo, ()).unwrap();
        ping(one.process(), pid);
        let sent = two.process().send(pid, &1_u8);
        assert!(matches!(sent, Err(occ_core::SendError::NoProcess { .. })));
        let killed = two.process().kill(pid);
        assert!(matches!(killed, Err(SystemError::NoProcess { .. })));
        one.stop();
        assert_works(two.process());
        two.stop();
    });
}

#[test]
fn eight_systems_in_eight_threads_at_once() {
    isolated!(|| {
        for _ in 0..stress::times(3) {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let mut system = system();
                        for _ in 0..5 {
                            assert_works(system.process());
                        }
                        system.stop();
                    });
                }
            });
        }
    });
}

fn hold_and_stay(lifeline: String, ready: String) {
    Hold::open(&lifeline).for_life();
    Say::open(&ready).ready();
    raw::stay()
}

#[test]
fn a_system_ends_with_the_thread_that_started_it() {
    isolated!(|| {
        let (lifeline, hold) = Lifeline::new();
        let coordinator = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut system = system();
                let (ready, say) = Ready::new();
                for _ in 0..5 {
                    let args = (hold.address(), say.address());
                    system.process().spawn(hold_and_stay, args).unwrap();
                    ready.wait(LIMIT);
                }
                system.coordinator().get()
            });
            thread.join().unwrap()
        });
        drop(hold);
        assert!(!lifeline.is_alive());
        assert!(!alive(coordinator));
    });
}

/// Not even dropped: the process of the thread goes with the thread, and that is enough. (Not isolated: what is
/// forgotten keeps a descriptor.)
#[test]
fn a_system_that_was_forgotten_ends_with_the_thread_that_is_its_process() {
    let thread = std::thread::spawn(|| {
        let mut system = system();
        let process = system.take_process().unwrap();
        current::push(process);
        me(assert_works);
        let coordinator = system.coordinator().get();
        std::mem::forget(system);
        coordinator
    });
    dead::gone(thread.join().unwrap(), LIMIT);
}

/// OC-6, OC-7.
#[test]
fn a_process_of_a_system_may_have_a_system_of_its_own() {
    fn outer() -> (String, bool) {
        let inner: String = occ_core::run(inner, ()).unwrap();
        let mut third = system();
        assert_works(third.process());
        third.stop();
        // And it is still what it was.
        me(assert_works);
        (inner, me(|me| me.processes()).unwrap().len() == 1)
    }
    fn inner() -> String {
        let pid = me(|me| me.spawn(echo, ())).unwrap();
        me(|me| ping(me, pid));
        "inner".to_owned()
    }
    isolated!(|| {
        let ended = within(LIMIT, || occ_core::run(outer, ()));
        assert_eq!(ended.unwrap(), ("inner".to_owned(), true));
    });
}

#[test]
fn a_system_within_a_process_goes_with_it() {
    fn outer(lifeline: String, ready: String) -> ! {
        occ_core::run(hold_and_stay, (lifeline, ready)).unwrap();
        raw::stay()
    }
    isolated!(|| {
        let (lifeline, hold) = Lifeline::new();
        let (ready, say) = Ready::new();
        let mut system = system();
        let process = system.process();
        let args = (hold.address(), say.address());
        let (pid, monitor) = process.spawn_monitor(outer, args).unwrap();
        ready.wait(LIMIT);
        drop(hold);
        assert!(lifeline.is_alive());
        process.kill(pid).unwrap();
        assert_eq!(crate::signal(&reason(process, monitor)), libc::SIGKILL);
        lifeline.wait_dead(LIMIT);
        assert_works(process);
        system.stop();
    });
}

/// OC-1, OC-2.
#[test]
fn run_gives_what_the_function_returns() {
    isolated!(|| {
        occ_core::run(|| (), ()).unwrap();
        assert_eq!(occ_core::run(|| "text".to_owned(), ()).unwrap(), "text");
        assert_eq!(occ_core::run(|| anyhow::Ok(7_u8), ()).unwrap(), 7);
        let failed = occ_core::run(|| -> anyhow::Result<u8> { anyhow::bail!("no") }, ());
        assert!(matches!(failed, Err(RunError::Ended { .. })));
        let other = occ_core::run(
            |go: bool| {
                if go {
                    occ_core::exit("text".to_owned());
                }
                7_u8
            },
            (true,),
        );
        assert!(matches!(other, Err(RunError::WrongType(_))));
    });
}

/// The program that called `run` is none of the processes.
#[test]
fn under_run_there_are_only_the_processes_that_were_spawned() {
    fn zero() -> Vec<Pid> {
        me(|me| me.processes())
            .unwrap()
            .iter()
            .map(|process| process.pid)
            .collect()
    }
    fn pid() -> Pid {
        me(|me| me.self_pid())
    }
    fn host_is_nobody() -> bool {
        let host = Pid { serial: 0, ..pid() };
        me(|me| {
            matches!(
                me.send(host, &1_u8),
                Err(occ_core::SendError::NoProcess { .. })
            ) && matches!(me.kill(host), Err(SystemError::NoProcess { .. }))
        })
    }
    isolated!(|| {
        assert_eq!(occ_core::run(zero, ()).unwrap().len(), 1);
        assert_eq!(occ_core::run(pid, ()).unwrap().serial, 1);
        assert!(occ_core::run(host_is_nobody, ()).unwrap());
    });
}

/// What a host does before that the coordinator must not inherit.
#[test]
fn a_host_that_ignores_sigchld_learns_of_every_end() {
    isolated!(|| {
        raw::ignore_sigchld();
        let mut system = system();
        let process = system.process();
        for _ in 0..10 {
            let (_, monitor) = process.spawn_monitor(|| 7_u8, ()).unwrap();
            assert_eq!(value::<u8>(&reason(process, monitor)), 7);
        }
        system.stop();
        assert_eq!(occ_core::run(|| 8_u8, ()).unwrap(), 8);
    });
}

#[test]
fn a_stop_with_much_unread_returns() {
    fn chatter(to: Pid) {
        while me(|me| me.send(to, &vec![0_u8; 1000])).is_ok() {}
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let host = process.self_pid();
        for _ in 0..5 {
            process.spawn(chatter, (host,)).unwrap();
        }
        let _: Vec<u8> = within(LIMIT, || process.receive().unwrap());
        for _ in 0..5000 {
            process
                .monitor(Pid {
                    serial: 1 << 40,
                    ..host
                })
                .unwrap();
        }
        within(LIMIT, || system.stop());
    });
}

#[test]
fn a_handle_can_be_passed_on() {
    fn count(me: &mut Process) -> usize {
        me.processes().unwrap().len()
    }
    isolated!(|| {
        let mut system = system();
        let mut process = system.take_process().unwrap();
        assert_eq!(count(&mut process), 1);
        system.put_process(process);
        assert_eq!(count(system.process()), 1);
        system.stop();
    });
}
