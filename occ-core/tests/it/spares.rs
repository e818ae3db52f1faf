//! Processes that are made before they are asked for.

use std::collections::BTreeSet;

use occ_core::{Builder, ExitReason, Pid, Process, System, SystemBuilder};
use occ_test_support::alive::alive;
use occ_test_support::dead::{Watch, gone};
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::{self, Token};
use occ_test_support::{LIMIT, Signal, isolated, raw, role, within};

use crate::{assert_works, code, echo, ping, reason, signal, stay, try_kill, value};

const COUNT: usize = 4;

pub(crate) fn with_spares() -> System {
    SystemBuilder::new()
        .on_abnormal_exit(|exit| panic!("{exit}"))
        .spares(COUNT)
        .start()
        .unwrap()
}

/// The OS pids of the spares, when there are as many as there should be: what the coordinator has made and nobody lists.
pub(crate) fn spares(system: &mut System) -> BTreeSet<u32> {
    let coordinator = system.coordinator().get();
    let me = system.process();
    within(LIMIT, || {
        loop {
            let listed = me.processes().unwrap();
            let listed: Vec<_> = listed.iter().filter_map(|info| info.os_pid).collect();
            let children = tree::children(coordinator);
            let spares: BTreeSet<u32> = children
                .into_iter()
                .filter(|child| !listed.iter().any(|os_pid| os_pid.get() == *child))
                .filter(|child| name(*child) == "occ-spare")
                .collect();
            if spares.len() == COUNT {
                return spares;
            }
            std::thread::yield_now();
        }
    })
}

fn name(os_pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{os_pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[test]
fn a_spawn_takes_a_spare_and_another_is_made() {
    isolated!(|| {
        let mut system = with_spares();
        for _ in 0..10 {
            let there = spares(&mut system);
            let me = system.process();
            let (pid, monitor) = me.spawn_monitor(stay, ()).unwrap();
            let os_pid = me.os_pid(pid).unwrap().get();
            assert!(there.contains(&os_pid), "{os_pid} was no spare: {there:?}");
            within(LIMIT, || while name(os_pid) != "stay" {});
            me.kill(pid).unwrap();
            assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
        }
        assert_eq!(
            system.process().processes().unwrap().len(),
            1,
            "spares are not listed"
        );
        system.stop();
    });
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn length(text: String) -> u64 {
    text.len() as u64
}

fn who() -> Pid {
    occ_core::current::self_pid().unwrap()
}

fn fails() -> anyhow::Result<()> {
    anyhow::bail!("with words")
}

fn panics() {
    panic!("with words")
}

#[test]
fn one_that_was_a_spare_is_told_of_as_any() {
    isolated!(|| {
        let mut system = with_spares();
        // More of them than there are spares, and at once as well.
        for _ in 0..5 {
            spares(&mut system);
            let me = system.process();
            let run = |me: &mut Process, made: Result<(_, _), _>| reason(me, made.unwrap().1);
            let made = me.spawn_monitor(add, (2, 3));
            assert_eq!(value::<u64>(&run(me, made)), 5);
            let long = "x".repeat(3 << 20);
            let made = me.spawn_monitor(length, (long,));
            assert_eq!(value::<u64>(&run(me, made)), 3 << 20);
            let (pid, monitor) = me.spawn_monitor(who, ()).unwrap();
            assert_eq!(value::<Pid>(&reason(me, monitor)), pid);
            let made = me.spawn_monitor(fails, ());
            let ExitReason::Error(failure) = run(me, made) else {
                panic!()
            };
            assert_eq!(failure.chain(), ["with words"]);
            let made = me.spawn_monitor(panics, ());
            assert!(matches!(run(me, made), ExitReason::Panic(_)));
            let made = me.spawn_monitor(raw::exit_now, (7,));
            assert_eq!(code(&run(me, made)), 7);
            let made = me.spawn_monitor(crate::raw::die_by, (libc::SIGUSR1,));
            assert_eq!(signal(&run(me, made)), libc::SIGUSR1);
            // With options there is a fork of its own.
            let made = me.spawn_monitor_with(&Builder::new().cwd("/"), add, (2, 3));
            assert_eq!(value::<u64>(&run(me, made)), 5);
            let all: Vec<_> = (0..20_u64)
                .map(|n| (n, me.spawn_monitor(add, (n, n)).unwrap().1))
                .collect();
            for (n, monitor) in all {
                assert_eq!(value::<u64>(&reason(me, monitor)), 2 * n);
            }
            let pid = me.spawn(echo, ()).unwrap();
            ping(me, pid);
        }
        system.stop();
    });
}

#[test]
fn a_spare_that_is_killed_is_nobodys_loss() {
    isolated!(|| {
        let mut system = with_spares();
        for _ in 0..20 {
            for spare in spares(&mut system) {
                try_kill(spare);
            }
            // At once: the coordinator may not have heard of it.
            let me = system.process();
            let (_, monitor) = me.spawn_monitor(add, (2, 3)).unwrap();
            match reason(me, monitor) {
                ExitReason::Value(sum) => assert_eq!(sum.get::<u64>().unwrap(), 5),
                // It was one that had been killed, and not died yet when it was told.
                ExitReason::Signal(signal) => assert_eq!(signal.number(), libc::SIGKILL),
                other => panic!("it {other}"),
            }
        }
        // Of those that were killed none is left.
        spares(&mut system);
        assert_works(system.process());
        system.stop();
    });
}

#[test]
fn spares_serve_when_the_zygote_has_died() {
    isolated!(|| {
        let mut system = with_spares();
        let there = spares(&mut system);
        let zygote = tree::children(system.coordinator().get())
            .into_iter()
            .find(|child| name(*child) == "occ-zygote");
        try_kill(zygote.unwrap());
        let me = system.process();
        let (pid, monitor) = me.spawn_monitor(stay, ()).unwrap();
        assert!(there.contains(&me.os_pid(pid).unwrap().get()));
        me.kill(pid).unwrap();
        reason(me, monitor);
        assert_works(me);
        spares(&mut system);
        system.stop();
    });
}

/// It has taken its orders, and carries them out when it is let.
#[test]
fn a_spare_that_is_stopped_is_a_process_that_is_stopped() {
    isolated!(|| {
        let mut system = with_spares();
        let there = spares(&mut system);
        for spare in &there {
            Watch::of(*spare).signal(Signal::STOP);
        }
        let me = system.process();
        let (pid, monitor) = me.spawn_monitor(add, (2, 3)).unwrap();
        let os_pid = me.os_pid(pid).unwrap().get();
        assert!(there.contains(&os_pid));
        assert_eq!(me.processes().unwrap().len(), 2);
        Watch::of(os_pid).signal(Signal::CONT);
        assert_eq!(value::<u64>(&reason(me, monitor)), 5);
        system.stop();
        for spare in there {
            gone(spare, LIMIT);
        }
    });
}

#[test]
fn what_one_that_was_a_spare_leaves_ends_with_it() {
    fn strays(life: String) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        if raw::fork().is_none() {
            rustix::process::setsid().unwrap();
            Hold::open(&life).for_life();
            drop(write);
            raw::stay()
        }
        drop(write);
        assert_eq!(rustix::io::read(&read, &mut [0]), Ok(0));
    }
    isolated!(|| {
        let mut system = with_spares();
        let there = spares(&mut system);
        let me = system.process();
        let (life, hold) = Lifeline::new();
        let (pid, monitor) = me.spawn_monitor(strays, (hold.address(),)).unwrap();
        let os_pid = me.os_pid(pid).map(|os_pid| there.contains(&os_pid.get()));
        assert!(os_pid.unwrap_or(true));
        value::<()>(&reason(me, monitor));
        drop(hold);
        life.wait_dead(LIMIT);
        system.stop();
    });
}

#[test]
fn role_host_with_spares() {
    if role::is(occ_test_support::test_path!()) {
        let say = Say::inherited("SAY");
        let mut system = with_spares();
        let mut told = vec![system.coordinator().get()];
        told.extend(spares(&mut system));
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        say.line(told.join(" "));
        raw::stay()
    }
}

#[test]
fn no_spare_outlives_its_system_whoever_is_killed() {
    isolated!(|| {
        // Stopped.
        let mut system = with_spares();
        let there = spares(&mut system);
        assert!(there.iter().all(|spare| alive(*spare)));
        system.stop();
        Token::own().wait_none_left(LIMIT);
        // The coordinator.
        let mut system = with_spares();
        let there = spares(&mut system);
        try_kill(system.coordinator().get());
        for spare in there {
            gone(spare, LIMIT);
        }
        system.stop();
        // The host.
        let (ready, say) = Ready::new();
        let mut host = role::command("spares::role_host_with_spares");
        say.pass("SAY", &mut host);
        let mut host = host.spawn().unwrap();
        drop(say);
        let told = ready.line(LIMIT);
        host.kill().unwrap();
        host.wait().unwrap();
        for os_pid in told.split(' ') {
            gone(os_pid.parse().unwrap(), LIMIT);
        }
        Token::own().wait_none_left(LIMIT);
    });
}
