//! Connections: one for two processes, and an answer for everybody who asks for one.

use occ_core::protocol::{News, Request};
use occ_core::{Pid, Process, SendError};
use occ_inbox::{Refusal, Standing};
use occ_sck::Socket;
use occ_test_support::{
    LIMIT, isolated,
    ready::{Ready, Say},
    stress, within,
};

use crate::{
    Gate, assert_works, echo, hear, me, ping, raw, reason, say, stay, system, value, wait,
};

/// Two that send to each other at the same instant, before either has heard of the other.
#[test]
fn first_sends_that_cross_arrive_200_times() {
    fn one_of_two() -> (u64, bool) {
        let (other, gate): (Pid, String) = me(Process::receive).unwrap();
        wait(gate);
        for n in 0..10_u64 {
            me(|me| me.send(other, &n)).unwrap();
        }
        let got: Vec<u64> = (0..10).map(|_| me(Process::receive).unwrap()).collect();
        (got.len() as u64, got.is_sorted())
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(200) {
            let gate = Gate::new();
            let two: Vec<_> = (0..2)
                .map(|_| process.spawn_monitor(one_of_two, ()).unwrap())
                .collect();
            for (pid, _) in &two {
                let other = two
                    .iter()
                    .map(|(pid, _)| *pid)
                    .find(|other| other != pid)
                    .unwrap();
                process.send(*pid, &(other, gate.address())).unwrap();
            }
            let _open = gate.open();
            for (_, monitor) in two {
                assert_eq!(value::<(u64, bool)>(&reason(process, monitor)), (10, true));
            }
        }
        system.stop();
    });
}

/// OC-14: one rule for all who are gone, however they were known.
#[test]
fn a_send_to_one_that_is_gone_is_the_same_error_with_and_without_a_connection() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (known, monitor) = process.spawn_monitor(echo, ()).unwrap();
        ping(process, known);
        process.kill(known).unwrap();
        reason(process, monitor);
        let (unknown, monitor) = process.spawn_monitor(|| (), ()).unwrap();
        reason(process, monitor);
        let never = Pid {
            serial: 1 << 40,
            ..known
        };
        for to in [known, unknown, never] {
            for _ in 0..2 {
                let error = within(LIMIT, || process.send(to, &1_u8).unwrap_err());
                assert!(matches!(error, SendError::NoProcess { to: whom } if whom == to));
            }
        }
        system.stop();
    });
}

/// Whoever sends to one that is being killed hears at some point that it is gone, and waits for nothing.
#[test]
fn sends_to_one_that_is_killed_end_in_an_error() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(100) {
            let pid = process.spawn(stay, ()).unwrap();
            process.kill(pid).unwrap();
            let error = within(LIMIT, || {
                loop {
                    if let Err(error) = process.send(pid, &1_u8) {
                        break error;
                    }
                }
            });
            assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
        }
        system.stop();
    });
}

// ---- one whose control socket is full ----

/// The next news on the control socket that is about a connection; replies are passed over.
fn news(control: &Socket) -> News {
    loop {
        if let Ok(news) = hear(control).decode::<News>() {
            return news;
        }
    }
}

/// Fills its own control socket with news that it does not read, and waits; then ends, or only hangs up. The
/// end of `witness` says that all of it has been asked for.
fn do_not_look(witness: Pid, gate: String, hang_up: bool) {
    let control = raw::control();
    let own = me(|me| me.self_pid());
    // More than the kernel holds, less than the coordinator stops reading at.
    for number in 0..crate::room() + 500 {
        let target = Pid {
            serial: u64::MAX,
            ..own
        };
        say(&control, &Request::Monitor { number, target });
    }
    say(
        &control,
        &Request::Kill {
            id: 0,
            pid: witness,
        },
    );
    wait(gate);
    if hang_up {
        rustix::net::shutdown(&control, rustix::net::Shutdown::Both).unwrap();
        raw::stay()
    }
}

/// Asks for a connection with one that does not look, sees to it that the coordinator has taken that in, and
/// says what the answer is, and to a second wish.
fn want(whom: Pid, ready: String) -> Vec<Result<(), Refusal>> {
    let control = raw::control();
    let own = me(|me| me.self_pid());
    let connect = |id| Request::Connect {
        id,
        to: whom,
        standing: Standing::New,
    };
    say(&control, &connect(1));
    // Answered at once, and after the wish was taken in.
    let nobody = Pid {
        serial: u64::MAX,
        ..own
    };
    say(
        &control,
        &Request::Monitor {
            number: 9,
            target: nobody,
        },
    );
    let mut first = None;
    loop {
        match news(&control) {
            News::Down(ended, _) if ended.number == 9 => break,
            other => first = Some(other),
        }
    }
    assert!(first.is_none(), "it was to wait, and got {first:?}");
    Say::open(&ready).ready();
    let answer = || {
        loop {
            match news(&control) {
                News::Connected { peer, .. } if peer == whom => return Ok(()),
                // What was wanted has been given before.
                News::Given { id: 2, peer } if peer == whom => return Ok(()),
                News::Refused { peer, why } if peer == whom => return Err(why),
                News::Gone { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let first = answer();
    say(&control, &connect(2));
    vec![first, answer()]
}

fn wait_in_vain(hang_up: bool) -> Vec<Result<(), Refusal>> {
    let mut system = system();
    let process = system.process();
    let gate = Gate::new();
    let (ready, say) = Ready::new();
    let (witness, killed) = process.spawn_monitor(stay, ()).unwrap();
    let deaf = process
        .spawn(do_not_look, (witness, gate.address(), hang_up))
        .unwrap();
    reason(process, killed);
    let (_, monitor) = process.spawn_monitor(want, (deaf, say.address())).unwrap();
    ready.wait(LIMIT);
    let _open = gate.open();
    let answers = value(&reason(process, monitor));
    assert_works(process);
    system.stop();
    answers
}

#[test]
fn who_waits_for_a_connection_with_one_that_does_not_look_is_told_when_that_ends() {
    isolated!(|| {
        for _ in 0..stress::times(20) {
            let answers = wait_in_vain(false);
            assert_eq!(answers, [Err(Refusal::NoProcess); 2]);
        }
    });
}

#[test]
fn who_waits_for_a_connection_with_one_that_does_not_look_is_told_when_that_hangs_up() {
    isolated!(|| {
        for _ in 0..stress::times(20) {
            let answers = wait_in_vain(true);
            assert_eq!(answers, [Err(Refusal::NoInbox); 2]);
        }
    });
}

/// The control: if it looks after all, the connection is made.
#[test]
fn who_waits_for_a_connection_with_one_that_looks_later_gets_it() {
    fn look_later(witness: Pid, gate: String) {
        do_not_look(witness, gate, false);
        let control = raw::control();
        while !matches!(news(&control), News::Connected { .. }) {}
        raw::stay()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let (witness, killed) = process.spawn_monitor(stay, ()).unwrap();
        let deaf = process
            .spawn(look_later, (witness, gate.address()))
            .unwrap();
        reason(process, killed);
        let (_, monitor) = process.spawn_monitor(want, (deaf, say.address())).unwrap();
        ready.wait(LIMIT);
        let _open = gate.open();
        // The first wish is granted, and the second reminded of it.
        let answers = value::<Vec<Result<(), Refusal>>>(&reason(process, monitor));
        assert_eq!(answers, [Ok(()); 2]);
        system.stop();
    });
}

/// Three in a ring whose first sends all cross.
#[test]
fn a_ring_that_sends_all_at_once_gets_everything() {
    fn member(gate: String) -> u64 {
        let (next, previous): (Pid, Pid) = me(Process::receive).unwrap();
        wait(gate);
        for to in [next, previous] {
            me(|me| me.send(to, &1_u64)).unwrap();
        }
        (0..2).map(|_| me(Process::receive::<u64>).unwrap()).sum()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(50) {
            let gate = Gate::new();
            let ring: Vec<_> = (0..3)
                .map(|_| process.spawn_monitor(member, (gate.address(),)).unwrap())
                .collect();
            for n in 0..3 {
                let neighbours = (ring[(n + 1) % 3].0, ring[(n + 2) % 3].0);
                process.send(ring[n].0, &neighbours).unwrap();
            }
            let _open = gate.open();
            for (_, monitor) in ring {
                assert_eq!(value::<u64>(&reason(process, monitor)), 2);
            }
        }
        system.stop();
    });
}
