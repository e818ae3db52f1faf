//! The life of a system: started, used, stopped, and started again; and what there is without one.

use std::panic::catch_unwind;
use std::time::Duration;

use occ_test_support::dead::Watch;
use occ_test_support::fds::OpenFds;
use occ_test_support::tree::{Token, children};
use occ_test_support::{LIMIT, within};
use occasional::{
    MonitorRef, OsPid, Pid, ReceiveError, RunError, SendError, SpawnError, StartError, SystemError,
    receive, self_pid, send, spawn, start,
};

use crate::run::ask_echo;

fn wait() {
    let _ = receive::<()>();
}

fn nothing() {}

#[test]
fn a_system_can_be_started_and_stopped_again_and_again() {
    bounded!(|| {
        let mut pids = Vec::new();
        for _ in 0..10 {
            let before = OpenFds::now();
            let system = start().unwrap();
            pids.push(self_pid());
            ask_echo().unwrap();
            spawn(wait, ()).unwrap();
            system.stop();
            assert_eq!(before.changes(&OpenFds::now()), [""; 0]);
            assert_eq!(
                Token::own().processes(),
                [0; 0],
                "reaped before `stop` returns"
            );
        }
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 10, "no name is used twice");
    });
}

#[test]
fn a_system_that_is_dropped_is_stopped() {
    bounded!(|| {
        let system = start().unwrap();
        spawn(wait, ()).unwrap();
        drop(system);
        assert_eq!(Token::own().processes(), [0; 0]);
        assert!(matches!(spawn(wait, ()), Err(SpawnError::NotStarted)));

        // Also by a panic.
        let unwound = catch_unwind(|| {
            let _system = start().unwrap();
            spawn(wait, ()).unwrap();
            panic!("on purpose");
        });
        assert!(unwound.is_err());
        assert_eq!(Token::own().processes(), [0; 0]);
        start().unwrap().stop();
    });
}

#[test]
fn a_thread_starts_one_system_at_a_time() {
    bounded!(|| {
        let system = start().unwrap();
        let before = Token::own().processes().len();
        let error = start().unwrap_err();
        assert!(matches!(error, StartError::AlreadyStarted), "{error}");
        assert!(error.to_string().contains("stop that one first"), "{error}");
        assert_eq!(
            Token::own().processes().len(),
            before,
            "nothing was started"
        );
        ask_echo().unwrap();
        system.stop();
        start().unwrap().stop();
    });
}

/// `exit` and `fail` end a process that was spawned. Of another nobody would learn why it ended, so it does not.
fn nobody_would_be_told() {
    let exit = || -> () { occasional::exit(1_u8) };
    let fail = || -> () { occasional::fail(1_u8) };
    for refused in [catch_unwind(exit), catch_unwind(fail)] {
        let payload = refused.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.contains("use std::process::exit"), "{text}");
    }
}

/// The host of a `start` has no watcher either.
#[test]
fn exit_and_fail_are_for_processes_that_were_spawned() {
    bounded!(|| {
        nobody_would_be_told();
        let system = start().unwrap();
        nobody_would_be_told();
        system.stop();
    });
}

/// Every free function, without a system to act on.
pub(crate) fn everything_is_refused(pid: Pid, monitor: MonitorRef) {
    let limit = Duration::ZERO;
    assert!(matches!(spawn(nothing, ()), Err(SpawnError::NotStarted)));
    assert!(matches!(
        occasional::spawn_monitor(nothing, ()),
        Err(SpawnError::NotStarted)
    ));
    for refused in [
        occasional::monitor(pid).map(drop),
        occasional::demonitor(monitor),
        occasional::try_self_pid().map(drop),
        occasional::processes().map(drop),
        occasional::os_pid(pid).map(drop),
        occasional::kill(pid),
    ] {
        assert!(
            matches!(refused, Err(SystemError::NotStarted)),
            "{refused:?}"
        );
    }
    for refused in [
        send(pid, 1_u8),
        occasional::try_send(pid, 1_u8),
        occasional::send_timeout(pid, 1_u8, limit),
    ] {
        assert!(matches!(refused, Err(SendError::NotStarted)), "{refused:?}");
    }
    for refused in [
        receive::<u8>().map(drop),
        occasional::receive_timeout::<u8>(limit).map(drop),
        occasional::receive_where::<u8>(|_| true).map(drop),
        occasional::receive_where_timeout::<u8>(limit, |_| true).map(drop),
        occasional::receive_any().map(drop),
        occasional::receive_any_timeout(limit).map(drop),
        occasional::receive_map(|_| Some(())),
        occasional::receive_map_timeout(limit, |_| Some(())).map(drop),
        occasional::flush().map(drop),
    ] {
        assert!(
            matches!(refused, Err(ReceiveError::NotStarted)),
            "{refused:?}"
        );
        assert!(refused.unwrap_err().to_string().contains("start one"));
    }
    let payload = catch_unwind(self_pid).unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(
        text.starts_with("self_pid: this thread belongs to no system"),
        "{text}"
    );
}

#[test]
fn before_a_start_and_after_a_stop_there_is_nothing_to_act_on() {
    bounded!(|| {
        let system = start().unwrap();
        let pid = self_pid();
        let monitor = occasional::monitor(pid).unwrap();
        // Another thread has no part in it.
        std::thread::scope(|scope| {
            scope.spawn(|| everything_is_refused(pid, monitor));
        });
        ask_echo().unwrap();
        system.stop();
        everything_is_refused(pid, monitor);
    });
}

fn thread_has_no_part() -> anyhow::Result<()> {
    let me = self_pid();
    let monitor = occasional::monitor(me)?;
    std::thread::spawn(move || everything_is_refused(me, monitor))
        .join()
        .unwrap();
    ask_echo()
}

#[test]
fn another_thread_of_a_process_has_no_part_in_its_system() {
    in_a_system!(thread_has_no_part);
}

#[test]
fn a_system_can_be_started_in_a_thread() {
    bounded!(|| {
        std::thread::spawn(|| {
            let system = start().unwrap();
            ask_echo().unwrap();
            system.stop();
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_thread_that_ends_with_its_system_leaves_nothing() {
    bounded!(|| {
        // Dropped at the thread's end, by a place that outlives the function.
        thread_local! {
            static SYSTEM: std::cell::RefCell<Option<occasional::System>> =
                const { std::cell::RefCell::new(None) };
        }
        std::thread::spawn(|| {
            SYSTEM.set(Some(start().unwrap()));
            spawn(wait, ()).unwrap();
            ask_echo().unwrap();
        })
        .join()
        .unwrap();
        Token::own().wait_none_left(LIMIT);
    });
}

#[test]
fn each_thread_has_a_system_of_its_own() {
    bounded!(|| {
        let system = start().unwrap();
        let here = self_pid();
        let there = std::thread::spawn(|| {
            let system = start().unwrap();
            let pid = self_pid();
            ask_echo().unwrap();
            system.stop();
            pid
        });
        assert_ne!(there.join().unwrap(), here);
        ask_echo().unwrap();
        system.stop();
    });
}

fn end_amid_others() -> anyhow::Result<Vec<OsPid>> {
    let others: Vec<Pid> = (0..5).map(|_| spawn(wait, ())).collect::<Result<_, _>>()?;
    Ok(others
        .into_iter()
        .map(occasional::os_pid)
        .collect::<Result<_, _>>()?)
}

#[test]
fn run_returns_when_process_zero_has_ended_and_all_others_are_gone() {
    bounded!(|| {
        let others: Vec<OsPid> = occasional::run(end_amid_others, ()).unwrap();
        assert_eq!(others.len(), 5);
        assert_eq!(children(std::process::id()), [0; 0]);
        assert_eq!(Token::own().processes(), [0; 0], "not even a moment later");
    });
}

fn ignore_everything() {
    loop {
        let _ = receive::<()>();
    }
}

#[test]
fn a_stop_is_not_held_up_by_a_process_that_never_ends() {
    bounded!(|| {
        let system = start().unwrap();
        let process = spawn(ignore_everything, ()).unwrap();
        let watch = Watch::of(occasional::os_pid(process).unwrap().get());
        assert!(watch.is_alive());
        within(LIMIT, || system.stop());
        assert!(!watch.is_alive());
    });
}

#[test]
fn a_system_that_cannot_start_leaves_nothing() {
    bounded!(|| {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        for room in 0..8 {
            let open = OpenFds::now().count() as u64;
            setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(open + room),
                    ..before
                },
            )
            .unwrap();
            let started = start();
            setrlimit(Resource::Nofile, before).unwrap();
            match started {
                Ok(system) => system.stop(),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            assert_eq!(Token::own().processes(), [0; 0], "with room for {room}");
            assert!(matches!(
                occasional::processes(),
                Err(SystemError::NotStarted)
            ));
        }
        let system = start().unwrap();
        ask_echo().unwrap();
        system.stop();
    });
}

#[test]
fn a_run_that_cannot_start_says_so() {
    bounded!(|| {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        let open = OpenFds::now().count() as u64;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(open),
                ..before
            },
        )
        .unwrap();
        let result = occasional::run(nothing, ());
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(matches!(result, Err(RunError::Start(_))), "{result:?}");
        let shown = format!("{:?}", result.unwrap_err());
        assert!(
            shown.starts_with("the system did not start\n\nCaused by:"),
            "{shown}"
        );
        assert!(shown.contains("Too many open files"), "{shown}");
    });
}

fn lives_on() -> anyhow::Result<()> {
    receive::<()>()?;
    Ok(())
}

/// Not even dropped. (Not isolated: what is forgotten keeps a descriptor.)
#[test]
fn a_system_that_was_forgotten_ends_with_its_thread() {
    within(LIMIT, || {
        let [coordinator, process] = std::thread::spawn(|| {
            let system = start().unwrap();
            let process = occasional::os_pid(spawn(lives_on, ()).unwrap()).unwrap();
            let coordinator = system.coordinator().unwrap();
            std::mem::forget(system);
            // The control: it is still there.
            assert_eq!(occasional::processes().unwrap().len(), 2);
            [coordinator, process].map(|os_pid| Watch::of(os_pid.get()))
        })
        .join()
        .unwrap();
        coordinator.wait_gone(LIMIT);
        process.wait_gone(LIMIT);
    });
}
