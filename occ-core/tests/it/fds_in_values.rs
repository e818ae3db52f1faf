//! File descriptors in arguments and in exit values: who gets them, and who has closed them, the coordinator first of all.

use std::io::{PipeReader, PipeWriter, Read, Write};

use occ_core::{ExitReason, MonitorRef, Pid, Process, System, SystemBuilder};
use occ_sck::{Bytes, Fd};
use occ_test_support::fds::without_room;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, isolated, memory, within};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Deserializer, Serialize};

use crate::hostile::open_files;
use crate::spares::{spares, with_spares};
use crate::{
    Gate, assert_works, down, echo, me, os_pid, ping, raw, reason, signal, stay, system, value,
    wait, zygote,
};

/// The end of a pipe that nobody holds open any more.
#[track_caller]
fn closed(mut reader: PipeReader) {
    let mut rest = Vec::new();
    within(LIMIT, || reader.read_to_end(&mut rest).unwrap());
}

/// The coordinator has as many descriptors as before.
///
/// What it has to close it has closed when it answers: it is asked once it has told of all that was before.
#[track_caller]
fn assert_holds(system: &mut System, before: usize) {
    let coordinator = system.coordinator();
    system.process().processes().unwrap();
    assert_eq!(open_files(coordinator), before);
}

fn pipes(count: usize) -> (Vec<PipeReader>, Vec<Fd<PipeWriter>>) {
    let pipes = (0..count).map(|_| std::io::pipe().unwrap());
    pipes.map(|(reader, writer)| (reader, Fd(writer))).unzip()
}

fn speak(ends: Vec<Fd<PipeWriter>>, padding: Bytes) -> (usize, u32) {
    for (at, end) in ends.iter().enumerate() {
        (&**end).write_all(&[at as u8]).unwrap();
    }
    (padding.len(), std::process::id())
}

/// To a process that is made for it, and to one that was made before.
#[test]
fn descriptors_in_arguments_arrive_and_nobody_else_keeps_them() {
    isolated!(|| {
        for has_spares in [false, true] {
            let mut system = if has_spares {
                with_spares()
            } else {
                SystemBuilder::new().spares(0).start().unwrap()
            };
            let (witness, _) = system.process().spawn_monitor(echo, ()).unwrap();
            ping(system.process(), witness);
            for (padding, count) in [(0, 1), (0, 245), (100_000, 245)] {
                let (readers, ends) = pipes(count);
                let args = (ends, Bytes(vec![0; padding]));
                let there = has_spares.then(|| spares(&mut system));
                let process = system.process();
                let (_, monitor) = process.spawn_monitor(speak, args).unwrap();
                let (len, os_pid) = value::<(usize, u32)>(&reason(process, monitor));
                assert_eq!(len, padding);
                assert!(there.is_none_or(|there| there.contains(&os_pid)));
                for (at, mut reader) in readers.into_iter().enumerate() {
                    let mut said = Vec::new();
                    within(LIMIT, || reader.read_to_end(&mut said).unwrap());
                    assert_eq!(said, [at as u8]);
                }
            }
            let too_many = system.process().spawn(speak, (pipes(246).1, Bytes(vec![])));
            let words = format!("{:#}", anyhow::Error::from(too_many.unwrap_err()));
            assert!(words.contains("246") && words.contains("245"), "{words}");
            ping(system.process(), witness);
            system.stop();
        }
    });
}

fn end_with(mine: Vec<Fd<PipeWriter>>, padding: usize) -> (Vec<Fd<PipeWriter>>, Bytes) {
    (mine, Bytes(vec![7; padding]))
}

type Told = (Vec<Fd<PipeWriter>>, Bytes);

/// Gets the value, writes through each of its descriptors, and says how long the rest of it was.
fn watch(target: Pid, say: String, gate: String) -> usize {
    let monitor = me(|me| me.monitor(target)).unwrap();
    // With the answer to this, that has been heard.
    me(Process::processes).unwrap();
    Say::open(&say).ready();
    wait(gate);
    let (ends, bytes) = value::<Told>(&me(|me| reason(me, monitor)));
    ends.iter()
        .for_each(|end| (&**end).write_all(b"w").unwrap());
    bytes.len()
}

#[test]
fn an_exit_value_with_descriptors_is_told_to_all_who_watch_and_closed_then() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        for padding in [0, 10_000, 100_000, 3 << 20] {
            system.process().processes().unwrap();
            let before = open_files(coordinator);
            let (readers, ends) = pipes(20);
            let hold = Gate::new();
            let process = system.process();
            let (target, ours) = process
                .spawn_monitor(
                    |mine, padding, gate: String| {
                        wait(gate);
                        end_with(mine, padding)
                    },
                    (ends, padding, hold.address()),
                )
                .unwrap();
            let gates = [Gate::new(), Gate::new()];
            let watchers = gates.each_ref().map(|gate| {
                let (ready, say) = Ready::new();
                let args = (target, say.address(), gate.address());
                let (_, monitor) = process.spawn_monitor(watch, args).unwrap();
                ready.wait(LIMIT);
                monitor
            });
            let _open = hold.open();
            let (ours, bytes) = value::<Told>(&reason(process, ours));
            assert_eq!((ours.len(), bytes.len()), (20, padding));
            ours.iter()
                .for_each(|end| (&**end).write_all(b"o").unwrap());
            drop(ours);
            let _open = gates.map(Gate::open);
            for monitor in watchers {
                assert_eq!(value::<usize>(&reason(process, monitor)), padding);
            }
            for mut reader in readers {
                let mut said = Vec::new();
                within(LIMIT, || reader.read_to_end(&mut said).unwrap());
                assert_eq!(said, b"oww");
            }
            assert_holds(&mut system, before);
        }
        system.stop();
    });
}

#[test]
fn a_watcher_without_room_for_the_descriptors_is_told_of_the_end_all_the_same() {
    fn watcher(mine: Vec<Fd<PipeWriter>>) -> bool {
        let gate = Gate::new();
        let (_, monitor) = me(|me| {
            me.spawn_monitor(
                |mine, gate: String| {
                    wait(gate);
                    end_with(mine, 0)
                },
                (mine, gate.address()),
            )
        })
        .unwrap();
        let told = without_room(|| {
            let _open = gate.open();
            me(|me| reason(me, monitor))
        });
        // And the next one has them.
        let (_, monitor) = me(|me| me.spawn_monitor(end_with, (pipes(3).1, 0))).unwrap();
        assert_eq!(value::<Told>(&me(|me| reason(me, monitor))).0.len(), 3);
        matches!(&told, ExitReason::Error(lost) if lost.to_string().contains("could not be handed over"))
    }
    isolated!(|| {
        let mut system = system();
        let (readers, ends) = pipes(4);
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(watcher, (ends,)).unwrap();
        assert!(value::<bool>(&reason(process, monitor)));
        readers.into_iter().for_each(closed);
        system.stop();
    });
}

/// Watches as many as it is told to, and looks at nothing.
fn never_looks(targets: Vec<Pid>, say: String) {
    for target in targets {
        me(|me| me.monitor(target)).unwrap();
    }
    me(Process::processes).unwrap();
    Say::open(&say).ready();
    raw::stay()
}

/// What is in the socket of a watcher that is killed, and what it is still owed.
#[test]
fn a_watcher_that_is_killed_before_it_has_looked_leaves_none_open() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let before = open_files(coordinator);
        let process = system.process();
        let gate = Gate::new();
        let (mut readers, mut targets, mut monitors) = (Vec::new(), Vec::new(), Vec::new());
        // More than the kernel holds for one socket, as long as they are.
        for _ in 0..60 {
            let (reader, ends) = pipes(2);
            let (target, monitor) = process
                .spawn_monitor(
                    |mine, gate: String| {
                        wait(gate);
                        end_with(mine, 60_000)
                    },
                    (ends, gate.address()),
                )
                .unwrap();
            readers.extend(reader);
            targets.push(target);
            monitors.push(monitor);
        }
        let (ready, say) = Ready::new();
        let (watcher, killed) = process
            .spawn_monitor(never_looks, (targets, say.address()))
            .unwrap();
        ready.wait(LIMIT);
        let _open = gate.open();
        for monitor in monitors {
            let (ends, _) = value::<Told>(&reason(process, monitor));
            assert_eq!(ends.len(), 2);
        }
        process.kill(watcher).unwrap();
        assert_eq!(signal(&reason(process, killed)), libc::SIGKILL);
        readers.into_iter().for_each(closed);
        assert_holds(&mut system, before);
        assert_works(system.process());
        system.stop();
    });
}

/// Whoever dies with descriptors on their way, nobody keeps one; and the control, in which nobody dies.
#[test]
fn whoever_is_killed_none_is_left_open() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Victim {
        Nobody,
        TheProcessWithArguments,
        TheProcessThatHasSaidItsValue,
        Zygote,
        Coordinator,
    }
    use Victim::*;
    fn hold(mine: Vec<Fd<PipeWriter>>, say: String) -> Told {
        Say::open(&say).ready();
        let control = raw::control();
        let packet =
            occ_sck::Packet::of(occ_spawn::entry::kind::VALUE, &end_with(mine, 0)).unwrap();
        let sent = packet.send_whole(&control, &[], occ_sck::Deadline::Never);
        sent.unwrap();
        drop(packet);
        raw::stay()
    }
    isolated!(|| {
        for victim in [
            Nobody,
            TheProcessWithArguments,
            TheProcessThatHasSaidItsValue,
            Zygote,
            Coordinator,
        ] {
            let mut system = system();
            let coordinator = system.coordinator();
            let zygote = zygote(&system);
            let before = open_files(coordinator);
            let (readers, ends) = pipes(5);
            let (ready, say) = Ready::new();
            let process = system.process();
            let (pid, monitor) = process.spawn_monitor(hold, (ends, say.address())).unwrap();
            let os_pid = os_pid(process, pid);
            if victim != TheProcessWithArguments {
                ready.wait(LIMIT);
                // What it has said is with the coordinator: five, and its socket.
                if victim != Coordinator {
                    within(LIMIT, || {
                        while open_files(coordinator) < before + 6 {
                            std::thread::yield_now();
                        }
                    });
                }
            }
            match victim {
                Zygote => {
                    dead::Watch::of(zygote).signal(Signal::KILL);
                    dead::gone(zygote, LIMIT);
                    assert_works(process);
                    process.kill(pid).unwrap();
                }
                Coordinator => dead::Watch::of(coordinator.get()).signal(Signal::KILL),
                _ => dead::Watch::of(os_pid).signal(Signal::KILL),
            }
            if victim == Coordinator {
                dead::gone(os_pid, LIMIT);
            } else {
                assert_eq!(
                    signal(&reason(process, monitor)),
                    libc::SIGKILL,
                    "{victim:?}"
                );
                if victim != Zygote {
                    assert_holds(&mut system, before);
                }
            }
            readers.into_iter().for_each(closed);
            system.stop();
        }
    });
}

/// Its arguments are with the zygote, which is stopped, when it dies; and when the coordinator dies.
#[test]
fn what_is_on_its_way_to_a_process_is_closed_when_the_zygote_or_the_coordinator_dies() {
    fn asker(mine: Vec<Fd<PipeWriter>>, gate: String) -> Option<Pid> {
        wait(gate);
        me(|me| me.spawn(|_: Vec<Fd<PipeWriter>>| stay(), (mine,))).ok()
    }
    isolated!(|| {
        for coordinator_dies in [false, true] {
            let mut system = SystemBuilder::new().spares(0).start().unwrap();
            let coordinator = system.coordinator();
            let zygote = zygote(&system);
            let (readers, ends) = pipes(3);
            let gate = Gate::new();
            let process = system.process();
            let args = (ends, gate.address());
            let (pid, monitor) = process.spawn_monitor(asker, args).unwrap();
            let asker = os_pid(process, pid);
            dead::Watch::of(zygote).signal(Signal::STOP);
            let before = open_files(coordinator);
            let _open = gate.open();
            // The coordinator keeps what it has asked for until the process is made, and one end of its socket.
            within(LIMIT, || {
                while open_files(coordinator) < before + 4 {
                    std::thread::yield_now();
                }
            });
            if coordinator_dies {
                dead::Watch::of(coordinator.get()).signal(Signal::KILL);
                dead::gone(asker, LIMIT);
            } else {
                dead::Watch::of(zygote).signal(Signal::KILL);
                // Another zygote may have made it.
                if let Some(made) = value::<Option<Pid>>(&reason(process, monitor)) {
                    process.kill(made).unwrap();
                }
            }
            dead::gone(zygote, LIMIT);
            readers.into_iter().for_each(closed);
            system.stop();
        }
    });
}

/// Takes the descriptor, and will not have the rest.
#[derive(Serialize)]
struct Refused(Fd<PipeWriter>);

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Refused, D::Error> {
        drop(Fd::<PipeWriter>::deserialize(deserializer)?);
        Err(serde::de::Error::custom("will not have it"))
    }
}

#[test]
fn arguments_that_cannot_be_decoded_are_the_end_of_the_process_and_all_is_closed() {
    isolated!(|| {
        let mut system = system();
        let (mut readers, mut ends) = pipes(2);
        let process = system.process();
        let args = (Refused(ends.remove(0)), ends.remove(0));
        let (_, monitor) = process
            .spawn_monitor(|_: Refused, _: Fd<PipeWriter>| (), args)
            .unwrap();
        let ExitReason::Error(failure) = reason(process, monitor) else {
            panic!("it did not fail")
        };
        assert!(
            failure.to_string().contains("will not have it"),
            "{failure}"
        );
        closed(readers.remove(0));
        closed(readers.remove(0));
        system.stop();
    });
}

/// The table of the coordinator is not theirs alone: beyond a measure they are told as lost, and processes can be made.
#[test]
fn exit_values_that_nobody_fetches_leave_room_for_processes() {
    isolated!(|| {
        let limit = Rlimit {
            current: Some(256),
            maximum: Some(256),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut system = system();
        let coordinator = system.coordinator();
        let before = open_files(coordinator);
        let process = system.process();
        let collector = |count: usize, look: String| -> (Vec<bool>, usize) {
            let gate = Gate::new();
            let monitors: Vec<MonitorRef> = (0..count)
                .map(|_| {
                    let args = (gate.address(),);
                    let (_, monitor) = me(|me| {
                        me.spawn_monitor(
                            |gate: String| {
                                wait(gate);
                                // More than the kernel holds for one socket: the rest is with the coordinator.
                                end_with(pipes(8).1, 60_000)
                            },
                            args,
                        )
                    })
                    .unwrap();
                    monitor
                })
                .collect();
            let _open = gate.open();
            wait(look);
            let told = monitors.iter().map(|monitor| {
                let told = me(|me| reason(me, *monitor));
                matches!(told, ExitReason::Value(_))
            });
            (told.collect(), count)
        };
        let look = Gate::new();
        let args = (60, look.address());
        let (_, monitor) = process.spawn_monitor(collector, args).unwrap();
        // Until all of them have ended, and only the one that watches them is left besides the host.
        within(LIMIT, || {
            while process.processes().unwrap().len() > 2 || open_files(coordinator) < before + 20 {
                std::thread::yield_now();
            }
        });
        assert_works(process);
        assert!(open_files(coordinator) <= 192);
        let _open = look.open();
        let (told, count) = value::<(Vec<bool>, usize)>(&reason(process, monitor));
        assert_eq!(told.len(), count);
        assert!(told.contains(&true) && told.contains(&false), "{told:?}");
        assert_holds(&mut system, before);
        system.stop();
    });
}

/// An error that is a value has them, too, also where nobody but the host's reporter hears of it.
#[test]
fn a_failure_with_descriptors_that_nobody_watches_is_reported_and_closed() {
    fn fails(mine: Vec<Fd<PipeWriter>>) {
        occ_spawn::fail(end_with(mine, 0))
    }
    isolated!(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let mut system = SystemBuilder::new()
            .on_abnormal_exit(move |exit| {
                let ExitReason::Error(failure) = &exit.reason else {
                    panic!("it {}", exit.reason)
                };
                let (ends, _) = failure.value().unwrap().get::<Told>().unwrap();
                for end in &ends {
                    (&**end).write_all(b"reported").unwrap();
                }
                tell.send(ends.len()).unwrap();
            })
            .start()
            .unwrap();
        let coordinator = system.coordinator();
        let before = open_files(coordinator);
        let (readers, ends) = pipes(3);
        system.process().spawn(fails, (ends,)).unwrap();
        assert_eq!(told.recv_timeout(LIMIT).unwrap(), 3);
        for mut reader in readers {
            let mut said = String::new();
            within(LIMIT, || reader.read_to_string(&mut said).unwrap());
            assert_eq!(said, "reported");
        }
        assert_holds(&mut system, before);
        system.stop();
    });
}

/// Neither the bytes nor the time of the coordinator: it passes a descriptor on.
#[test]
fn an_exit_value_of_64_mib_does_not_enter_the_memory_of_the_coordinator() {
    const LONG: usize = 64 << 20;
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        assert_works(system.process());
        let before = memory::peak(coordinator.get());
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(end_with, (Vec::new(), LONG)).unwrap();
        let down = down(process, monitor);
        assert_eq!(down.pid, pid);
        let (_, bytes) = value::<Told>(&down.reason);
        assert_eq!(bytes.len(), LONG);
        let grown = memory::peak(coordinator.get()) - before;
        assert!(grown < 4 << 20, "by {grown} bytes");
        // What is measured counts: whoever has the value has its memory.
        assert!(memory::peak(std::process::id()) > LONG);
        drop((bytes, down));
        system.stop();
    });
}
