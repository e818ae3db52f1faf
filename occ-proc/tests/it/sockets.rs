//! Sockets, step by step: baseline, + pair, + listener, + connection, − each, and who is at the other end.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixDatagram, UnixListener, UnixStream};

use occ_proc::{
    Address, Change, Fd, Holder, Holders, OsPid, Socket, SocketKind, SocketState, Sockets,
};
use occ_test_support::{LIMIT, isolated, role, within};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::{Cat, assert_same, opened, own, since};

/// The socket behind a descriptor of this process.
fn socket(fd: &impl AsRawFd) -> Socket {
    let snapshot = own();
    let fd = snapshot.get(OsPid::own()).unwrap().fd(fd.as_raw_fd());
    fd.unwrap().socket().unwrap().unwrap().clone()
}

fn peer_of(fd: &impl AsRawFd) -> u64 {
    socket(fd).peer.unwrap().inode.unwrap()
}

/// Each is the other's peer.
#[track_caller]
fn assert_connected(one: &impl AsRawFd, other: &impl AsRawFd) {
    let (one, other) = (socket(one), socket(other));
    assert!(one.is_connected() && other.is_connected(), "{one}; {other}");
    assert_eq!(one.peer.as_ref().unwrap().inode, Some(other.inode));
    assert_eq!(other.peer.as_ref().unwrap().inode, Some(one.inode));
    assert_eq!(one.peer.unwrap().address, other.local);
}

fn numbers(fds: &[Fd]) -> Vec<i32> {
    fds.iter().map(|fd| fd.number).collect()
}

#[test]
fn tcp_step_by_step_over_ipv4_and_ipv6() {
    isolated!(|| {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                occ_test_support::skipped("there is no IPv6 here");
                continue;
            };
            drop(listener);
            let baseline = own();
            let listener = TcpListener::bind(any).unwrap();
            let address = listener.local_addr().unwrap();
            let new = opened(&since(&baseline));
            assert_eq!(numbers(&new), [listener.as_raw_fd()]);
            let seen = socket(&listener);
            assert_eq!(
                (seen.kind, seen.state),
                (SocketKind::Tcp, SocketState::Listening)
            );
            assert_eq!(
                (seen.local, seen.peer),
                (Some(Address::Inet(address)), None)
            );
            assert_eq!(seen.waiting, Some(0));

            let client = TcpStream::connect(address).unwrap();
            let seen = socket(&client);
            assert!(seen.is_connected(), "{seen}");
            assert_eq!(seen.local, Some(client.local_addr().unwrap().into()));
            assert_eq!(seen.peer.as_ref().unwrap().address, Some(address.into()));
            assert_eq!(seen.peer.unwrap().inode, None, "nobody has accepted it");
            assert_eq!(socket(&listener).waiting, Some(1));

            let (server, _) = listener.accept().unwrap();
            assert_connected(&client, &server);
            assert_eq!(opened(&since(&baseline)).len(), 3);

            let before = own();
            drop(client);
            within(LIMIT, || while socket(&server).is_connected() {});
            let seen = socket(&server);
            assert_eq!(seen.state, SocketState::Closing);
            assert_eq!(seen.peer.unwrap().inode, None);
            let diff = since(&before);
            let told: Vec<_> = diff.changes().iter().map(kind_of).collect();
            assert!(
                told.contains(&"closed") && told.contains(&"became"),
                "{diff}"
            );
            drop(server);
            drop(listener);
            assert_same(&baseline);
        }
    });
}

fn kind_of(change: &Change) -> &'static str {
    match change {
        Change::Opened { .. } => "opened",
        Change::Closed { .. } => "closed",
        Change::Became { .. } => "became",
        _ => "other",
    }
}

#[test]
fn unix_streams_step_by_step_by_path_and_by_abstract_name() {
    isolated!(|| {
        let path = std::env::temp_dir().join(format!("occ-proc-{}.sock", std::process::id()));
        let name = format!("occ-proc-{}", std::process::id());
        let by_path = (
            unix::SocketAddr::from_pathname(&path).unwrap(),
            Address::Path(path.clone()),
        );
        let by_name = (
            unix::SocketAddr::from_abstract_name(&name).unwrap(),
            Address::Abstract(name.into_bytes()),
        );
        for (address, told) in [by_path, by_name] {
            let baseline = own();
            let listener = UnixListener::bind_addr(&address).unwrap();
            let seen = socket(&listener);
            assert_eq!(
                (seen.kind, seen.state),
                (SocketKind::UnixStream, SocketState::Listening)
            );
            assert_eq!((seen.local.as_ref(), seen.peer), (Some(&told), None));

            let client = UnixStream::connect_addr(&address).unwrap();
            assert_eq!(socket(&listener).waiting, Some(1));
            assert_eq!(opened(&since(&baseline)).len(), 2);
            let (server, _) = listener.accept().unwrap();
            let new = opened(&since(&baseline));
            assert_eq!(new.len(), 3);
            assert_connected(&client, &server);
            assert_eq!(socket(&server).local, Some(told.clone()));

            drop(server);
            let seen = socket(&client);
            assert_eq!(seen.state, SocketState::Closing, "{seen}");
            drop(client);
            drop(listener);
            assert_same(&baseline);
        }
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn pairs_of_each_kind_are_each_others_peers_until_one_is_closed() {
    isolated!(|| {
        for (kind, told) in [
            (SocketType::STREAM, SocketKind::UnixStream),
            (SocketType::DGRAM, SocketKind::UnixDatagram),
            (SocketType::SEQPACKET, SocketKind::UnixSeqpacket),
        ] {
            let baseline = own();
            let flags = SocketFlags::CLOEXEC;
            let (one, other) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
            assert_eq!(opened(&since(&baseline)).len(), 2);
            assert_eq!(socket(&one).kind, told);
            assert_connected(&one, &other);
            drop(other);
            let seen = socket(&one);
            assert_eq!(seen.state, SocketState::Closing, "{seen}");
            assert_eq!(seen.peer.and_then(|peer| peer.inode), None);
            drop(one);
            assert_same(&baseline);
        }
    });
}

#[test]
fn bytes_that_wait_are_counted() {
    isolated!(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let before = own();
        std::io::Write::write_all(&mut client, b"unread").unwrap();
        while socket(&server).waiting != Some(6) {}
        assert_same(&before);
    });
}

#[test]
fn udp_is_connected_or_not() {
    isolated!(|| {
        let baseline = own();
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let seen = socket(&one);
        assert_eq!(
            (seen.kind, seen.state),
            (SocketKind::Udp, SocketState::Unconnected)
        );
        assert_eq!(seen.local, Some(one.local_addr().unwrap().into()));
        one.connect(other.local_addr().unwrap()).unwrap();
        other.connect(one.local_addr().unwrap()).unwrap();
        assert_connected(&one, &other);
        drop((one, other));
        assert_same(&baseline);
    });
}

/// A socket of both families, connected over IPv4: its addresses are those that its peer has.
#[test]
fn one_of_both_families_and_its_ipv4_peer_find_each_other() {
    isolated!(|| {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            return occ_test_support::skipped("there is no IPv6 here");
        };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_connected(&client, &server);
    });
}

/// A Unix datagram socket that is connected by one side only: the other has no peer.
#[test]
fn a_connection_of_one_side_is_one() {
    isolated!(|| {
        let name =
            unix::SocketAddr::from_abstract_name(format!("occ-{}", std::process::id())).unwrap();
        let server = UnixDatagram::bind_addr(&name).unwrap();
        let client = UnixDatagram::unbound().unwrap();
        assert_eq!(socket(&client).state, SocketState::Unconnected);
        client.connect_addr(&name).unwrap();
        assert_eq!(peer_of(&client), socket(&server).inode);
        assert_eq!(socket(&server).peer, None);
    });
}

/// Plays a program that holds one end of a pair.
#[test]
fn role_holds_one_end() {
    if role::is(occ_test_support::test_path!()) {
        let end = occ_test_support::pass::inherited("END");
        assert_eq!(rustix::io::read(&end, &mut [0]), Ok(0));
    }
}

#[test]
fn who_holds_the_other_end_is_found() {
    isolated!(|| {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let theirs = occ_test_support::pass::Pass::new(theirs);
        let mut command = role::command("sockets::role_holds_one_end");
        theirs.to("END", &mut command);
        let mut program = command.spawn().unwrap();
        drop(theirs);
        let inode = peer_of(&ours);
        let os_pid = OsPid::new(program.id());
        within(LIMIT, || {
            let holds = |holder: Holder| holder.os_pid == os_pid;
            while !Holders::now().unwrap().of(inode).any(holds) {}
        });
        let holders = Holders::now().unwrap();
        let others: Vec<_> = holders
            .of(inode)
            .filter(|holder| holder.os_pid != os_pid)
            .collect();
        assert!(others.is_empty(), "{others:?}");
        let ours_held: Vec<_> = holders.of(socket(&ours).inode).collect();
        assert_eq!(ours_held.len(), 1);
        assert_eq!(
            (ours_held[0].os_pid, ours_held[0].fd),
            (OsPid::own(), ours.as_raw_fd())
        );
        assert_eq!(Holders::among([OsPid::own()]).of(inode).count(), 0);
        drop(ours);
        assert!(program.wait().unwrap().success());
    });
}

/// The list of all sockets does not depend on who has them.
#[test]
fn sockets_of_others_are_in_the_list() {
    isolated!(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = socket(&listener).inode;
        let cat = Cat::new();
        let sockets = Sockets::now();
        assert!(sockets.get(inode).unwrap().is_listening());
        assert!(sockets.iter().count() >= 1);
        assert_eq!(sockets.get(u64::MAX).unwrap_err(), occ_proc::Missing::Gone);
        cat.end();
    });
}
