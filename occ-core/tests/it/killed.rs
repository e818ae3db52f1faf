//! Each in turn is killed: zygote, coordinator, host, process zero, and processes at their worst moments.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use occ_core::protocol::{News, Reply, Request};
use occ_core::{
    ExitReason, OsPid, Process, ReceiveError, RunError, SendError, SpawnError, System, SystemError,
};
use occ_test_support::{
    LIMIT,
    alive::alive,
    dead, isolated,
    lifeline::{Hold, Lifeline},
    meanwhile,
    ready::{Ready, Say},
    role, stress, test_path, tree, within,
};
use rustix::process::Signal;

use crate::{
    Gate, a_spawn, assert_works, echo, hear, me, os_pid, ping, raw, reason, say, signal, stay,
    system, try_kill, value, wait, zygote,
};

/// The only child of the coordinator that is no process of the system.
fn zygote_among(process: &mut Process, coordinator: OsPid) -> Option<u32> {
    let known: Vec<u32> = process
        .processes()
        .unwrap()
        .iter()
        .filter_map(|process| process.os_pid.map(OsPid::get))
        .collect();
    let mut children = tree::children(coordinator.get());
    children.retain(|child| !known.contains(child));
    children.first().copied()
}

fn kill(os_pid: u32) {
    dead::Watch::of(os_pid).signal(Signal::KILL);
}

// ---- the zygote ----

#[test]
fn after_the_zygotes_death_the_next_spawn_works_and_who_runs_is_watched_as_before() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(echo, ()).unwrap();
        ping(process, pid);
        for _ in 0..stress::times(20) {
            let zygote = zygote_among(process, coordinator).unwrap();
            kill(zygote);
            dead::gone(zygote, LIMIT);
            assert_works(process);
            ping(process, pid);
        }
        // And also at once, while it dies: it may take an order with it that it has had.
        for _ in 0..stress::times(100) {
            kill(zygote_among(process, coordinator).unwrap());
            assert_works(process);
        }
        ping(process, pid);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        system.stop();
    });
}

/// A spawn that the zygote takes with it is done by the next.
#[test]
fn a_spawn_that_a_zygote_dies_over_is_made_once_whenever_that_is() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        for _ in 0..stress::times(50) {
            let zygote = zygote_among(process, coordinator).unwrap();
            let zygote = dead::Watch::of(zygote);
            zygote.signal(Signal::STOP);
            let start = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !start.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    // It goes on, and is killed at some point of its way.
                    zygote.signal(Signal::CONT);
                    zygote.signal(Signal::KILL);
                });
                start.store(true, Ordering::Relaxed);
                let (_, monitor) = within(LIMIT, || process.spawn_monitor(|| 7_u8, ())).unwrap();
                assert_eq!(value::<u8>(&reason(process, monitor)), 7);
            });
            zygote.wait_gone(LIMIT);
            assert_works(process);
        }
        assert_eq!(process.processes().unwrap().len(), 1);
        system.stop();
    });
}

/// Many spawns, and a zygote that is killed again and again.
#[test]
fn fifty_zygotes_that_die_while_processes_are_made_leave_none_of_them_untold() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let (_, witness) = process.spawn_monitor(echo, ()).unwrap();
        let known = process.processes().unwrap()[1].os_pid.unwrap().get();
        let (killed, last) = (AtomicU32::new(0), AtomicU32::new(0));
        meanwhile(
            || {
                // Whoever is neither the witness nor dead is most often the zygote.
                let mut children = tree::children(coordinator.get()).into_iter();
                if let Some(child) = children.find(|child| *child != known && alive(*child)) {
                    try_kill(child);
                    last.store(child, Ordering::Relaxed);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            },
            || {
                let enough = u32::try_from(stress::times(50)).unwrap();
                while killed.load(Ordering::Relaxed) < enough {
                    match within(LIMIT, || process.spawn_monitor(|| 7_u8, ())) {
                        Ok((_, monitor)) => match reason(process, monitor) {
                            ExitReason::Value(value) => assert_eq!(value.get::<u8>().unwrap(), 7),
                            // It was the one that was found.
                            ExitReason::Signal(signal) => {
                                assert_eq!(signal.number(), libc::SIGKILL);
                            }
                            other => panic!("it {other}"),
                        },
                        // The second if it died while it was being started.
                        Err(SpawnError::ZygoteDied | SpawnError::NoZygote { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            },
        );
        // One that is dying takes an order with it.
        dead::gone(last.into_inner(), LIMIT);
        assert_works(process);
        process.demonitor(witness).unwrap();
        assert_eq!(process.processes().unwrap().len(), 2);
        system.stop();
    });
}

/// Orders that a zygote had no room for are the next one's; and so are those that it had.
#[test]
fn a_zygote_that_dies_with_orders_waiting_for_it_loses_none_of_the_rest() {
    fn order(ready: String, orders: u64) -> u64 {
        let control = raw::control();
        for id in 0..orders {
            say(&control, &a_spawn(id, None, None));
        }
        // Answered once all of them have been read.
        let (id, number) = (orders, 0);
        say(&control, &Request::Demonitor { id, number });
        let mut made = 0;
        while made < orders {
            match hear(&control).decode::<Reply>() {
                Ok(Reply::Done { .. }) => Say::open(&ready).ready(),
                Ok(Reply::Spawned { .. }) => made += 1,
                other => panic!("{other:?}"),
            }
        }
        made
    }
    isolated!(|| {
        let mut system = system();
        let zygote = dead::Watch::of(zygote(&system));
        let process = system.process();
        let (ready, say) = Ready::new();
        let orders = crate::room() + 500;
        let (_, monitor) = process
            .spawn_monitor(order, (say.address(), orders))
            .unwrap();
        zygote.signal(Signal::STOP);
        ready.wait(LIMIT);
        zygote.signal(Signal::KILL);
        assert_eq!(value::<u64>(&reason(process, monitor)), orders);
        assert_works(process);
        system.stop();
    });
}

/// An order that is found to have nobody to go to was never taken.
#[test]
fn a_spawn_that_finds_the_zygote_dead_is_made_by_the_next() {
    fn order(ready: String) -> bool {
        let control = raw::control();
        say(&control, &a_spawn(1, None, None));
        Say::open(&ready).ready();
        matches!(hear(&control).decode(), Ok(Reply::Spawned { id: 1, .. }))
    }
    isolated!(|| {
        let mut system = system();
        let coordinator = dead::Watch::of(system.coordinator().get());
        let zygote = dead::Watch::of(zygote(&system));
        let process = system.process();
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let (_, monitor) = process
            .spawn_monitor(
                |gate: String, ready: String| {
                    wait(gate);
                    order(ready)
                },
                (gate.address(), say.address()),
            )
            .unwrap();
        // It reads the order before it sees that the zygote has gone: that came later.
        coordinator.signal(Signal::STOP);
        let _open = gate.open();
        ready.wait(LIMIT);
        zygote.signal(Signal::KILL);
        zygote.wait_gone(LIMIT);
        coordinator.signal(Signal::CONT);
        assert!(value::<bool>(&reason(process, monitor)));
        assert_works(process);
        system.stop();
    });
}

// ---- processes, before their first word ----

/// Their first words lie unread, more of them than are read in one go, and a sweep is due: it finds ends of which
/// nobody knows yet whose they are.
#[test]
fn those_that_ended_before_their_first_word_was_read_are_all_told_of() {
    const MANY: u64 = 600;
    fn order(gate: String, ready: String) -> u64 {
        wait(gate);
        let control = raw::control();
        for id in 0..MANY {
            say(&control, &a_spawn(id, Some(id), None));
        }
        say(
            &control,
            &Request::Demonitor {
                id: MANY,
                number: MANY,
            },
        );
        let (mut made, mut down) = (0, 0);
        while made + down < 2 * MANY {
            let said = hear(&control);
            match (said.decode::<Reply>(), said.decode::<News>()) {
                (Ok(Reply::Done { .. }), _) => Say::open(&ready).ready(),
                (Ok(Reply::Spawned { .. }), _) => made += 1,
                (_, Ok(News::Down(ended, _))) => {
                    assert_eq!(ended.facts.unwrap().end.status.code(), Some(1));
                    down += 1;
                }
                // What it said of itself.
                _ => {}
            }
        }
        down
    }
    isolated!(|| {
        let mut system = system();
        let coordinator = dead::Watch::of(system.coordinator().get());
        let zygote = dead::Watch::of(zygote(&system));
        let process = system.process();
        for _ in 0..stress::times(5) {
            let (ready, say) = Ready::new();
            let (first, end_of_first) = process.spawn_monitor(stay, ()).unwrap();
            let gate = Gate::new();
            let args = (gate.address(), say.address());
            let (_, monitor) = process.spawn_monitor(order, args).unwrap();
            zygote.signal(Signal::STOP);
            let _open = gate.open();
            ready.wait(LIMIT);
            // This end makes a sweep due.
            process.kill(first).unwrap();
            reason(process, end_of_first);
            coordinator.signal(Signal::STOP);
            let before = tree::children(coordinator.pid()).len();
            zygote.signal(Signal::CONT);
            within(LIMIT, || {
                loop {
                    let children = tree::children(coordinator.pid());
                    let ended = children.iter().filter(|child| !alive(**child)).count();
                    if children.len() == before + MANY as usize && ended == MANY as usize {
                        break;
                    }
                }
            });
            coordinator.signal(Signal::CONT);
            assert_eq!(value::<u64>(&reason(process, monitor)), MANY);
            assert_eq!(process.processes().unwrap().len(), 1);
        }
        system.stop();
    });
}

/// Whatever child of the coordinator appears is killed on sight. Either it never was, or it has an end.
#[test]
fn a_process_that_is_killed_before_its_first_line_is_an_error_or_a_down_and_never_both() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let spared = zygote(&system);
        let process = system.process();
        let mut killed = 0;
        meanwhile(
            || {
                let children = tree::children(coordinator.get());
                children
                    .into_iter()
                    .filter(|child| *child != spared)
                    .for_each(try_kill);
            },
            || {
                for _ in 0..stress::times(500) {
                    let (pid, monitor) = within(LIMIT, || process.spawn_monitor(stay, ()).unwrap());
                    assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
                    let again = process.monitor(pid).unwrap();
                    assert!(matches!(reason(process, again), ExitReason::NoProcess));
                    killed += 1;
                }
            },
        );
        assert_eq!(killed, stress::times(500));
        assert!(process.inbox().unwrap().is_empty());
        assert_works(process);
        system.stop();
    });
}

// ---- the zygote and the process, at the fork ----

/// What happens while the zygote has forked and neither it nor the child has gone on.
#[derive(Clone, Copy, Debug)]
enum AtFork {
    Nothing,
    /// The child is killed, and its end known, before the zygote goes on.
    ChildDies,
    /// The zygote goes on, and the child is killed then.
    ChildDiesLater,
    /// The child is killed and reaped by the coordinator, which cannot know yet whose end that was.
    ChildIsReaped,
    ZygoteDies,
    BothDie,
}

/// Does it at the next fork of the zygote. Threads that trace must be those that began to.
fn meddle(zygote: u32, what: AtFork, go: &std::sync::Barrier) -> bool {
    let tracer = raw::Tracer::of(zygote);
    go.wait();
    let Some(tracer) = tracer else { return false };
    let child = tracer.next_fork();
    match what {
        AtFork::Nothing => {
            raw::Tracer::release(child);
            raw::Tracer::release(zygote);
        }
        AtFork::ChildDies => {
            raw::Tracer::kill(child);
            raw::Tracer::release(zygote);
        }
        AtFork::ChildDiesLater => {
            raw::Tracer::release(zygote);
            raw::Tracer::kill(child);
        }
        AtFork::ChildIsReaped => {
            raw::Tracer::kill(child);
            let entry = format!("/proc/{child}");
            within(LIMIT, || {
                while std::fs::exists(&entry).unwrap() {
                    std::thread::yield_now();
                }
            });
            raw::Tracer::release(zygote);
        }
        AtFork::ZygoteDies => {
            raw::Tracer::kill(zygote);
            raw::Tracer::release(child);
        }
        AtFork::BothDie => {
            raw::Tracer::kill(child);
            raw::Tracer::kill(zygote);
        }
    }
    true
}

#[test]
fn whoever_dies_at_the_fork_a_spawn_is_an_error_or_a_process_with_an_end() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        ping(process, witness);
        for round in 0..stress::times(10) {
            for what in [
                AtFork::Nothing,
                AtFork::ChildDies,
                AtFork::ChildDiesLater,
                AtFork::ChildIsReaped,
                AtFork::ZygoteDies,
                AtFork::BothDie,
            ] {
                let zygote = zygote_among(process, coordinator).unwrap();
                let go = std::sync::Barrier::new(2);
                let spawned = std::thread::scope(|scope| {
                    let meddler = scope.spawn(|| meddle(zygote, what, &go));
                    go.wait();
                    let spawned = within(LIMIT, || process.spawn_monitor(|| 7_u8, ()));
                    meddler.join().unwrap().then_some(spawned)
                });
                let Some(spawned) = spawned else {
                    occ_test_support::skipped("ptrace(2) is not allowed");
                    system.stop();
                    return;
                };
                let told = spawned.map(|(_, monitor)| reason(process, monitor));
                let as_expected = match (what, &told) {
                    (
                        AtFork::Nothing | AtFork::ZygoteDies | AtFork::BothDie,
                        Ok(ExitReason::Value(_)),
                    ) => true,
                    (
                        AtFork::ChildDies | AtFork::ChildDiesLater | AtFork::ChildIsReaped,
                        Ok(ExitReason::Signal(signal)),
                    ) => signal.number() == libc::SIGKILL,
                    _ => false,
                };
                assert!(as_expected, "round {round}, {what:?}: {told:?}");
                assert_works(process);
                ping(process, witness);
                // There was one Down at the most, and nobody is left in the table.
                assert!(process.inbox().unwrap().is_empty());
                assert_eq!(process.processes().unwrap().len(), 2);
            }
        }
        system.stop();
    });
}

// ---- the coordinator ----

fn hold_and_stay(lifeline: String, ready: String) {
    Hold::open(&lifeline).for_life();
    Say::open(&ready).ready();
    raw::stay()
}

/// Processes that all hold a lifeline.
fn crowd(process: &mut Process, size: usize) -> Lifeline {
    let (lifeline, hold) = Lifeline::new();
    let (ready, say) = Ready::new();
    for _ in 0..size {
        process
            .spawn(hold_and_stay, (hold.address(), say.address()))
            .unwrap();
    }
    (0..size).for_each(|_| ready.wait(LIMIT));
    lifeline
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

#[test]
fn when_the_coordinator_is_killed_nothing_is_left_and_the_next_call_says_so() {
    isolated!(|| {
        let mut system = system();
        let zygote = zygote(&system);
        let lifeline = crowd(system.process(), 20);
        assert!(lifeline.is_alive());
        let coordinator = dead::Watch::of(system.coordinator().get());
        coordinator.signal(Signal::KILL);
        coordinator.wait_gone(LIMIT);
        lifeline.wait_dead(SECOND);
        dead::gone(zygote, SECOND);

        let process = system.process();
        let own = process.self_pid();
        within(SECOND, || {
            assert!(matches!(
                process.spawn(stay, ()),
                Err(SpawnError::SystemDown)
            ));
            assert!(matches!(process.monitor(own), Err(SystemError::SystemDown)));
            assert!(matches!(process.processes(), Err(SystemError::SystemDown)));
            assert!(matches!(process.kill(own), Err(SystemError::SystemDown)));
            assert!(matches!(process.os_pid(own), Err(SystemError::SystemDown)));
            assert!(matches!(
                process.receive::<u8>(),
                Err(ReceiveError::SystemDown)
            ));
            let other = occ_core::Pid { serial: 9, ..own };
            assert!(matches!(
                process.send(other, &1_u8),
                Err(SendError::SystemDown)
            ));
            // One's own inbox is one's own.
            process.send(own, &1_u8).unwrap();
            assert_eq!(process.receive::<u8>().unwrap(), 1);
        });
        within(LIMIT, || system.stop());
    });
}

#[test]
fn a_host_that_waits_is_woken_when_the_coordinator_is_killed() {
    isolated!(|| {
        for _ in 0..stress::times(10) {
            let mut system = system();
            let coordinator = dead::Watch::of(system.coordinator().get());
            std::thread::scope(|scope| {
                scope.spawn(move || coordinator.signal(Signal::KILL));
                let received = within(LIMIT, || system.process().receive::<u8>());
                assert!(matches!(received, Err(ReceiveError::SystemDown)));
            });
            within(LIMIT, || system.stop());
        }
    });
}

/// Whatever the host is at, it gets an answer.
#[test]
fn a_coordinator_that_dies_over_a_call_is_an_error_of_that_call_or_the_next() {
    isolated!(|| {
        for _ in 0..stress::times(20) {
            let mut system = system();
            let coordinator = dead::Watch::of(system.coordinator().get());
            std::thread::scope(|scope| {
                scope.spawn(move || coordinator.signal(Signal::KILL));
                let process = system.process();
                within(LIMIT, || {
                    loop {
                        match process.spawn_monitor(echo, ()) {
                            Ok((pid, _)) => {
                                let _ = process.send(pid, &(process.self_pid(), 1_u64));
                                let _ = process.kill(pid);
                            }
                            Err(SpawnError::SystemDown) => break,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                });
            });
            within(LIMIT, || system.stop());
        }
    });
}

#[test]
fn run_says_so_when_the_coordinator_is_killed() {
    fn kill_coordinator() {
        let parent = rustix::process::getppid().unwrap();
        rustix::process::kill_process(parent, Signal::KILL).unwrap();
        raw::stay()
    }
    isolated!(|| {
        let ended = within(LIMIT, || occ_core::run(kill_coordinator, ()));
        assert!(matches!(ended, Err(RunError::SystemDown)), "{ended:?}");
    });
}

// ---- the host ----

/// A host with a system of ten that reports the OS pids of all, and stays.
#[test]
fn role_host() {
    if !role::is(test_path!()) {
        return;
    }
    let ready = Say::inherited("READY");
    let hold = Hold::inherited("HOLD");
    let mut system = system();
    ready.line(system.coordinator());
    ready.line(zygote(&system));
    let process = system.process();
    let (alive, told) = Ready::new();
    for _ in 0..10 {
        let pid = process
            .spawn(hold_and_stay, (hold.address(), told.address()))
            .unwrap();
        alive.wait(LIMIT);
        ready.line(os_pid(process, pid));
    }
    drop(hold);
    raw::stay()
}

#[test]
fn when_the_host_is_killed_nothing_is_left_of_its_system() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let (lifeline, hold) = Lifeline::new();
        let mut command = role::command("killed::role_host");
        say.pass("READY", &mut command);
        hold.pass("HOLD", &mut command);
        let mut host = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        drop((say, hold));
        let os_pids: Vec<u32> = (0..12).map(|_| ready.pid(LIMIT)).collect();
        // The control: they live while it does.
        assert!(lifeline.is_alive());
        assert!(os_pids.iter().all(|os_pid| alive(*os_pid)));
        let watches: Vec<_> = os_pids.into_iter().map(dead::Watch::of).collect();
        host.kill().unwrap();
        lifeline.wait_dead(SECOND);
        for watch in watches {
            watch.wait_gone(SECOND);
        }
        host.wait().unwrap();
    });
}

// ---- process zero ----

/// OC-17.
#[test]
fn run_tells_how_process_zero_was_killed() {
    fn die(signal: i32) -> u8 {
        raw::die_by(signal)
    }
    isolated!(|| {
        for number in [libc::SIGKILL, libc::SIGTERM] {
            let ended = within(LIMIT, || occ_core::run(die, (number,)));
            let Err(RunError::Ended { reason, report }) = ended else {
                panic!("{ended:?}")
            };
            assert_eq!(signal(&reason), number);
            assert_eq!(report.status.unwrap().signal().unwrap().number(), number);
        }
    });
}

/// OC-24. The others are gone when `run` returns.
#[test]
fn run_leaves_no_process_however_process_zero_ends() {
    fn zero(lifeline: String, how: i32) -> Vec<u32> {
        let (ready, say) = Ready::new();
        let mut os_pids = Vec::new();
        for _ in 0..5 {
            let args = (lifeline.clone(), say.address());
            let pid = me(|me| me.spawn(hold_and_stay, args)).unwrap();
            ready.wait(LIMIT);
            os_pids.push(me(|me| os_pid(me, pid)));
        }
        match how {
            0 => os_pids,
            1 => panic!("process zero panics"),
            2 => raw::exit_now(1),
            _ => raw::die_by(libc::SIGKILL),
        }
    }
    isolated!(|| {
        for how in 0..4 {
            let (lifeline, hold) = Lifeline::new();
            let ended = within(LIMIT, || occ_core::run(zero, (hold.address(), how)));
            drop(hold);
            // They were reaped before it returned.
            assert!(!lifeline.is_alive());
            assert_eq!(ended.is_ok(), how == 0);
            for os_pid in ended.into_iter().flatten() {
                assert!(!alive(os_pid));
            }
        }
    });
}

#[test]
fn a_system_can_be_stopped_while_processes_are_being_made() {
    fn spawn_for_ever() {
        while me(|me| me.spawn(stay, ())).is_ok() {}
    }
    isolated!(|| {
        for _ in 0..stress::times(20) {
            let mut system = system();
            for _ in 0..3 {
                system.process().spawn(spawn_for_ever, ()).unwrap();
            }
            within(LIMIT, || system.stop());
        }
    });
}

/// The zygote does not answer, and what waits for it is waited for; then it dies, and all is over.
#[test]
fn a_stop_with_a_spawn_under_way_ends_when_that_does() {
    fn spawn_one(ready: String) {
        Say::open(&ready).ready();
        let _ = me(|me| me.spawn(stay, ()));
        raw::stay()
    }
    isolated!(|| {
        let mut system: System = system();
        let zygote = dead::Watch::of(zygote(&system));
        let (ready, say) = Ready::new();
        system.process().spawn(spawn_one, (say.address(),)).unwrap();
        zygote.signal(Signal::STOP);
        ready.wait(LIMIT);
        std::thread::scope(|scope| {
            scope.spawn(|| zygote.signal(Signal::KILL));
            within(LIMIT, || system.stop());
        });
    });
}

/// Who is listed can be sent to, also before it has begun, and also if that takes two zygotes.
#[test]
fn what_is_sent_to_one_that_is_being_made_arrives() {
    fn asker(gate: String) {
        wait(gate);
        me(|me| me.spawn(echo, ())).unwrap();
        stay()
    }
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let from = process.self_pid();
        for round in 0..stress::times(20) {
            let gate = Gate::new();
            process.spawn(asker, (gate.address(),)).unwrap();
            let zygote = zygote_among(process, coordinator).unwrap();
            let zygote = dead::Watch::of(zygote);
            zygote.signal(Signal::STOP);
            let _open = gate.open();
            let unborn = within(LIMIT, || {
                loop {
                    let list = process.processes().unwrap();
                    if let Some(found) = list.iter().find(|one| one.os_pid.is_none()) {
                        break found.pid;
                    }
                }
            });
            std::thread::scope(|scope| {
                // The control: half of them are made by the zygote that has the order.
                scope.spawn(|| {
                    zygote.signal(if round % 2 == 0 {
                        Signal::KILL
                    } else {
                        Signal::CONT
                    });
                });
                within(LIMIT, || {
                    process.send(unborn, &(from, 7_u64)).unwrap();
                    assert_eq!(process.receive::<u64>().unwrap(), 7, "round {round}");
                    process.send(unborn, &(from, 8_u64)).unwrap();
                    assert_eq!(process.receive::<u64>().unwrap(), 8, "round {round}");
                });
            });
        }
        system.stop();
    });
}
