//! A coordinator that waits takes no time of a processor, whatever it is that it waits for.

use std::sync::Barrier;
use std::time::Duration;

use occ_core::{Builder, System};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, isolated, skipped, within};
use rustix::time::{ClockId, clock_gettime};

use crate::spares::{spares, with_spares};
use crate::{os_pid, raw, system, try_kill};

/// What the calling thread takes of a processor while another process is watched: who spins meanwhile takes about as much.
const WATCHED: Duration = Duration::from_millis(300);

/// More than is taken by who wakes up a few times.
const SOME: Duration = Duration::from_millis(75);

/// What the one thread of a process takes of a processor meanwhile. Both times are the kernel's for each alone, so it does
/// not matter what else the machine has to do.
fn taken_meanwhile(os_pid: u32) -> Duration {
    let of = |os_pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{os_pid}/schedstat")).unwrap();
        let (nanoseconds, _) = text.split_once(' ').unwrap();
        Duration::from_nanos(nanoseconds.parse().unwrap())
    };
    let own = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let (before, start) = (of(os_pid), own());
    while own() - start < WATCHED {
        std::hint::spin_loop();
    }
    of(os_pid) - before
}

/// The function of a process that is asked to end, says that it was, and does not.
fn says_that_it_was_asked(ready: String, asked: String) {
    raw::block(libc::SIGTERM);
    Say::open(&ready).ready();
    raw::wait_signal(libc::SIGTERM);
    Say::open(&asked).ready();
    raw::stay()
}

/// A process for which a stop has to wait, and what tells that it does.
struct Patient {
    os_pid: u32,
    asked: Ready,
    /// It is opened when there is something to say.
    _say: Say,
}

impl Patient {
    fn of(system: &mut System) -> Patient {
        let ((ready, say_ready), (asked, say_asked)) = (Ready::new(), Ready::new());
        let addresses = (say_ready.address(), say_asked.address());
        let builder = Builder::new().grace(2 * LIMIT);
        let me = system.process();
        let pid = me.spawn_with(&builder, says_that_it_was_asked, addresses);
        let os_pid = os_pid(me, pid.unwrap());
        ready.wait(LIMIT);
        let _say = say_asked;
        Patient {
            os_pid,
            asked,
            _say,
        }
    }
}

fn spins() {
    loop {
        std::hint::spin_loop();
    }
}

/// The control of the others.
#[test]
fn what_spins_is_seen_to() {
    let mut system = system();
    let me = system.process();
    let pid = me.spawn(spins, ()).unwrap();
    let taken = taken_meanwhile(os_pid(me, pid));
    assert!(taken > SOME, "{taken:?}");
    system.stop();
}

/// Its pidfd says that it has ended, and the kernel says nothing before its tracer has been told (ptrace(2)).
#[test]
fn a_stop_that_waits_for_a_program_whose_tracer_is_not_told_yet_is_at_rest() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let patient = Patient::of(&mut system);
        let me = system.process();
        let program = me.spawn_exe(&Builder::new().arg("1000"), "sleep").unwrap();
        let program = os_pid(me, program);
        let ended = Barrier::new(2);
        let taken = std::thread::scope(|scope| {
            let tracer = scope.spawn(|| {
                let Some(_tracer) = raw::Tracer::of(program) else {
                    ended.wait();
                    try_kill(patient.os_pid);
                    return None;
                };
                raw::signal(program, libc::SIGKILL);
                let has_ended = || Stat::of(program).is_none_or(|stat| stat.state == 'Z');
                within(LIMIT, || while !has_ended() {});
                ended.wait();
                patient.asked.wait(LIMIT);
                let taken = taken_meanwhile(coordinator);
                raw::Tracer::reap(program);
                try_kill(patient.os_pid);
                Some(taken)
            });
            ended.wait();
            within(LIMIT, || system.stop());
            tracer.join().unwrap()
        });
        match taken {
            Some(taken) => assert!(taken < SOME, "{taken:?}"),
            None => skipped("ptrace(2) is not allowed"),
        }
    });
}

#[test]
fn a_stop_with_spares_missing_is_at_rest() {
    isolated!(|| {
        let mut system = with_spares();
        let coordinator = system.coordinator().get();
        let patient = Patient::of(&mut system);
        let spare = *spares(&mut system).first().unwrap();
        let taken = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                patient.asked.wait(LIMIT);
                // It is missed from now on, and no other is made.
                try_kill(spare);
                let taken = taken_meanwhile(coordinator);
                try_kill(patient.os_pid);
                taken
            });
            within(LIMIT, || system.stop());
            watch.join().unwrap()
        });
        assert!(taken < SOME, "{taken:?}");
    });
}

/// How often the one thread of a process has gone to sleep meanwhile.
fn slept_meanwhile(os_pid: u32) -> u64 {
    let of = |os_pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{os_pid}/status")).unwrap();
        let mut lines = status.lines();
        let times = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        times.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = of(os_pid);
    taken_meanwhile(os_pid);
    of(os_pid) - before
}

/// One is missed, and another is about to be made, for as long as that takes.
#[test]
fn who_waits_for_a_spare_that_is_about_to_be_made_is_at_rest() {
    isolated!(|| {
        let mut system = with_spares();
        let coordinator = system.coordinator().get();
        let there = spares(&mut system);
        let mut others = occ_test_support::tree::children(coordinator);
        others.retain(|child| !there.contains(child));
        let [zygote] = others[..] else {
            panic!("expected the zygote alone: {others:?}")
        };
        raw::signal(zygote, libc::SIGSTOP);
        // The first is ordered, and those that come after it wait for it.
        for _ in 0..2 {
            system.process().spawn(crate::stay, ()).unwrap();
            crate::assert_comes_to_rest(&system);
        }
        let slept = slept_meanwhile(coordinator);
        assert!(slept < 10, "{slept}");
        raw::signal(zygote, libc::SIGCONT);
        spares(&mut system);
        system.stop();
    });
}
