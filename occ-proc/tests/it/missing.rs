//! What cannot be had says why.

use std::net::TcpListener;

use occ_proc::{FdTarget, Missing, OsPid, Snapshot, Stat};
use occ_test_support::fds::without_room;
use occ_test_support::in_flight::be_a_user_of_its_own;
use occ_test_support::ready::Ready;
use occ_test_support::{LIMIT, Signal, isolated, raw, skipped};
use rustix::io::Errno;

use crate::Cat;

#[test]
fn who_is_no_process_is_gone() {
    let nobody = OsPid::new(u32::MAX);
    assert_eq!(Snapshot::of(nobody).unwrap_err(), Missing::Gone);
    assert_eq!(Snapshot::tree(nobody).unwrap_err(), Missing::Gone);
    assert_eq!(Stat::of(OsPid::new(0)).unwrap_err(), Missing::Gone);
}

#[test]
fn of_somebody_elses_process_there_is_what_everybody_may_see() {
    isolated!(|| {
        if !be_a_user_of_its_own(200, false) {
            return;
        }
        let init = Snapshot::of(OsPid::new(1)).unwrap();
        let process = init.get(OsPid::new(1)).unwrap();
        assert!(!process.stat.name.is_empty());
        assert_eq!(process.fds, Err(Missing::Denied));
        assert_eq!(process.exe, Err(Missing::Denied));
        assert_eq!(process.usage.io, Err(Missing::Denied));
        // Its own it sees.
        let own = crate::own();
        assert!(own.get(OsPid::own()).unwrap().fds.is_ok());
    });
}

/// That says nothing of the process.
#[test]
fn who_has_no_descriptor_left_to_look_with_is_told_so() {
    isolated!(|| {
        let cat = Cat::new().started();
        let seen = without_room(|| Snapshot::of(cat.os_pid()));
        let errno = Errno::MFILE.raw_os_error();
        assert_eq!(seen.unwrap_err(), Missing::Failed { errno });
        cat.end();
    });
}

#[test]
fn sockets_of_another_network_namespace_are_seen_and_not_told() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let Some(pid) = raw::fork() else {
            match raw::own_network() {
                Ok(()) => {
                    let _listener = TcpListener::bind("0.0.0.0:0").unwrap();
                    say.line("elsewhere");
                    raw::stay()
                }
                Err(error) => say.line(error),
            }
            raw::exit_now(0)
        };
        let os_pid = OsPid::new(pid);
        match ready.line(LIMIT).as_str() {
            "elsewhere" => assert_untold(os_pid),
            why => skipped(why),
        }
        let victim = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let _ = rustix::process::kill_process(victim, Signal::KILL);
        raw::wait_for(pid);
    });
}

/// All sockets of a process are seen, and none is known.
#[track_caller]
fn assert_untold(os_pid: OsPid) {
    let seen = Snapshot::of(os_pid).unwrap();
    let fds = seen.get(os_pid).unwrap().fds.clone().unwrap();
    let sockets = fds.iter().filter(|fd| fd.socket().is_some());
    let told: Vec<_> = sockets.map(|fd| &fd.target).collect();
    assert!(!told.is_empty(), "{seen}");
    for target in told {
        let untold = matches!(target, FdTarget::Socket(_, Err(Missing::Unsupported)));
        assert!(untold, "{target}");
    }
}

/// There are kinds of socket that the kernel does not list. One that is open is not gone.
#[test]
fn a_socket_of_an_unlisted_kind_is_seen_and_not_told() {
    isolated!(|| {
        let netlink = rustix::net::socket_with(
            rustix::net::AddressFamily::NETLINK,
            rustix::net::SocketType::RAW,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        );
        let netlink = netlink.unwrap();
        assert_untold(OsPid::own());
        drop(netlink);
    });
}
