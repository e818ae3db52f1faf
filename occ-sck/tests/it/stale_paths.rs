//! A path whose owner was killed is taken over, by one of those who want it, and never one that somebody has.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use occ_sck::{AcceptError, Address, Channel, ConnectError, ListenError, Listener};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, isolated, role, stress, test_path, within};
use rustix::fs::FlockOperation;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::carriers::{Folder, Kind, Place};

const PATHS: [Kind; 2] = [Kind::UnixPath, Kind::SeqpacketPath];

fn is_in_use(bound: &Result<Listener, ListenError>) -> bool {
    matches!(bound, Err(ListenError::AddrInUse { .. }))
}

/// What an owner leaves that is killed.
fn leave_behind(address: &Address) {
    Listener::bind(address).unwrap().detach();
}

/// What the other process does with the address.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Listens, says so, and lives.
    Owner,
    /// Listens once it is told to, says what came of it, and lives.
    Racer,
    /// Takes the path over, leaves it behind, and does so again.
    Taker,
}

fn start(part: Part, address: &Address) -> (Child, Ready) {
    start_with(part, address, None)
}

fn start_with(part: Part, address: &Address, gun: Option<&Address>) -> (Child, Ready) {
    let (ready, say) = Ready::new();
    let mut command: Command = role::command("stale_paths::role_owner");
    command.env("PART", format!("{part:?}"));
    command.env("ADDRESS", address.to_string());
    command.env("GUN", gun.map(Address::to_string).unwrap_or_default());
    say.pass("READY", &mut command);
    (command.spawn().unwrap(), ready)
}

fn killed(mut child: Child) {
    child.kill().unwrap();
    dead::how(&mut child, LIMIT);
}

#[test]
fn role_owner() {
    if !role::is(test_path!()) {
        return;
    }
    let say = Say::inherited("READY");
    let address: Address = std::env::var("ADDRESS").unwrap().parse().unwrap();
    match std::env::var("PART").unwrap().as_str() {
        "Owner" => {
            let listener = Listener::bind(&address).unwrap();
            say.ready();
            while listener.accept().unwrap().is_some() {}
        }
        "Racer" => {
            say.ready();
            // All at once, when the starting gun is gone.
            let gun: Address = std::env::var("GUN").unwrap().parse().unwrap();
            let mut gun = Channel::connect(&gun).unwrap();
            assert_eq!(gun.receive::<()>().unwrap(), None);
            let bound = Listener::bind(&address);
            assert!(bound.is_ok() || is_in_use(&bound), "{bound:?}");
            say.line(if bound.is_ok() { "won" } else { "lost" });
            loop {
                std::thread::park();
            }
        }
        _ => loop {
            leave_behind(&address);
            say.ready();
        },
    }
}

#[test]
fn the_path_of_a_killed_owner_is_taken_over_and_that_of_a_living_one_is_not() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in PATHS {
                let (place, control) = (Place::new(kind).unwrap(), Place::new(kind).unwrap());
                let (victim, ready) = start(Part::Owner, &place.address);
                let (living, also_ready) = start(Part::Owner, &control.address);
                ready.wait(LIMIT);
                also_ready.wait(LIMIT);
                assert!(is_in_use(&Listener::bind(&place.address)));
                killed(victim);

                let path = place.address.as_path().unwrap();
                assert!(path.exists(), "it was killed");
                let error = Channel::connect(&place.address).unwrap_err();
                assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
                let listener = Listener::bind(&place.address).unwrap();
                drop(Channel::connect(&place.address).unwrap());
                assert!(listener.accept().unwrap().is_some());
                drop(listener);
                assert!(!path.exists());

                assert!(is_in_use(&Listener::bind(&control.address)));
                drop(Channel::connect(&control.address).unwrap());
                killed(living);
                std::fs::remove_file(control.address.as_path().unwrap()).unwrap();
            }
        });
    });
}

/// Also before it listens, and to whatever type of socket the path belongs.
#[test]
fn a_path_that_somebody_has_bound_is_left_alone() {
    isolated!(|| {
        for kind in [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM] {
            for place in PATHS.map(|kind| Place::new(kind).unwrap()) {
                let path = place.address.as_path().unwrap();
                let flags = SocketFlags::CLOEXEC;
                let other =
                    rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
                rustix::net::bind(&other, &SocketAddrUnix::new(path).unwrap()).unwrap();
                for _ in 0..3 {
                    assert!(is_in_use(&Listener::bind(&place.address)));
                }
                drop(other);
                drop(Listener::bind(&place.address).unwrap());
                assert!(!path.exists());
            }
        }
    });
}

#[test]
fn the_owner_of_a_path_that_others_want_is_not_disturbed() {
    isolated!(|| {
        within(LIMIT, || {
            for place in PATHS.map(|kind| Place::new(kind).unwrap()) {
                let listener = Listener::bind(&place.address).unwrap();
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            for _ in 0..stress::times(100) {
                                assert!(is_in_use(&Listener::bind(&place.address)));
                            }
                        });
                    }
                });
                let nobody = listener.accept_timeout(Duration::ZERO);
                assert!(matches!(nobody, Err(AcceptError::TimedOut)), "{nobody:?}");
                drop(Channel::connect(&place.address).unwrap());
                assert!(listener.accept().unwrap().is_some());
            }
        });
    });
}

#[test]
fn what_is_no_socket_is_left_as_it_is() {
    isolated!(|| {
        let folder = Folder::new();
        let address = Address::path(folder.path().join("x")).unwrap();
        let path = address.as_path().unwrap();
        let refused = || {
            for address in [address.clone(), address.clone().seqpacket().unwrap()] {
                let error = Listener::bind(&address).unwrap_err();
                assert!(matches!(error, ListenError::NoSocket { .. }), "{error:?}");
                assert_eq!(
                    error.to_string(),
                    format!("what is at {address} is no socket")
                );
            }
        };
        std::fs::write(path, "a file").unwrap();
        refused();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a file");
        std::fs::remove_file(path).unwrap();

        std::fs::create_dir(path).unwrap();
        refused();
        std::fs::remove_dir(path).unwrap();

        // Also one that points to what would be taken over.
        let stale = Address::path(folder.path().join("stale")).unwrap();
        leave_behind(&stale);
        for target in [stale.as_path().unwrap(), Path::new("nowhere")] {
            symlink(target, path).unwrap();
            refused();
            std::fs::remove_file(path).unwrap();
        }
        std::fs::remove_file(stale.as_path().unwrap()).unwrap();
    });
}

/// Whoever it is: there is one, and the path is that one's.
#[test]
fn of_many_threads_that_want_a_path_that_was_left_one_has_it() {
    isolated!(|| {
        within(LIMIT * stress::times(1) as u32, || {
            const RACERS: usize = 8;
            for round in 0..stress::times(100) {
                let place = Place::new(PATHS[round % 2]).unwrap();
                if round % 3 > 0 {
                    leave_behind(&place.address);
                }
                let (start, end) = (Barrier::new(RACERS), Barrier::new(RACERS));
                let won: usize = std::thread::scope(|scope| {
                    let racers: Vec<_> = (0..RACERS)
                        .map(|_| {
                            scope.spawn(|| {
                                start.wait();
                                let bound = Listener::bind(&place.address);
                                assert!(bound.is_ok() || is_in_use(&bound), "{bound:?}");
                                // Nobody gives it up before all have tried.
                                end.wait();
                                let Ok(listener) = bound else { return 0 };
                                drop(Channel::connect(&place.address).unwrap());
                                assert!(listener.accept_timeout(LIMIT).unwrap().is_some());
                                1
                            })
                        })
                        .collect();
                    racers.into_iter().map(|racer| racer.join().unwrap()).sum()
                });
                assert_eq!(won, 1, "round {round}");
            }
        });
    });
}

#[test]
fn of_many_processes_that_want_a_path_that_was_left_one_has_it() {
    isolated!(|| {
        within(LIMIT * stress::times(1) as u32, || {
            for kind in PATHS {
                let (place, gun) = (Place::new(kind).unwrap(), Place::new(kind).unwrap());
                leave_behind(&place.address);
                let listener = Listener::bind(&gun.address).unwrap();
                let racers: Vec<_> = (0..4)
                    .map(|_| start_with(Part::Racer, &place.address, Some(&gun.address)))
                    .collect();
                let mut loaded = Vec::new();
                for (_, ready) in &racers {
                    ready.wait(LIMIT);
                    loaded.push(listener.accept().unwrap().unwrap());
                }
                drop(loaded);
                let ends: Vec<_> = racers.iter().map(|(_, ready)| ready.line(LIMIT)).collect();
                let won = ends.iter().filter(|end| *end == "won").count();
                assert_eq!(won, 1, "{ends:?}");
                drop(Channel::connect(&place.address).unwrap());
                for (child, _) in racers {
                    killed(child);
                }
                // The next takes over from the one who won.
                drop(Listener::bind(&place.address).unwrap());
            }
        });
    });
}

/// At whatever moment one is killed who takes a path over, the next can, and at once: no lock is left, and no path that nobody can have.
#[test]
fn one_that_is_killed_amid_taking_over_is_in_nobodys_way() {
    isolated!(|| {
        within(LIMIT * stress::times(1) as u32, || {
            for round in 0..stress::times(20) {
                let place = Place::new(PATHS[round % 2]).unwrap();
                let (taker, ready) = start(Part::Taker, &place.address);
                for _ in 0..=round {
                    ready.wait(LIMIT);
                }
                killed(taker);
                let begun = Instant::now();
                let listener = Listener::bind(&place.address).unwrap();
                assert!(
                    begun.elapsed() < Duration::from_secs(5),
                    "it waited for a lock"
                );
                drop(Channel::connect(&place.address).unwrap());
                assert!(listener.accept().unwrap().is_some());
            }
        });
    });
}

fn locked(folder: &Path) -> OwnedFd {
    let folder = std::fs::File::open(folder).unwrap();
    rustix::fs::flock(folder.as_fd(), FlockOperation::LockExclusive).unwrap();
    folder.into()
}

/// Whoever locks the folder keeps others from taking a path over, for as long as they wait, and from nothing else.
#[test]
fn a_folder_that_somebody_keeps_locked_is_told_as_that() {
    isolated!(|| {
        within(2 * LIMIT, || {
            let folder = Folder::new();
            let address = Address::path(folder.path().join("x")).unwrap();
            let lock = locked(folder.path());
            // One that is free, and one that somebody has.
            let listener = Listener::bind(&address).unwrap();
            assert!(is_in_use(&Listener::bind(&address)));
            listener.detach();

            let begun = Instant::now();
            let error = Listener::bind(&address).unwrap_err();
            assert!(matches!(error, ListenError::Locked { .. }), "{error:?}");
            assert!(begun.elapsed() >= Duration::from_secs(5));

            std::thread::scope(|scope| {
                let waits = scope.spawn(|| Listener::bind(&address));
                drop(lock);
                drop(waits.join().unwrap().unwrap());
            });
        });
    });
}
