//! What is sent to a zygote by whoever holds its socket: refused, and never a crash.

use std::time::Duration;

use occ_sck::{Deadline, Packet, Received, Socket};
use occ_spawn::entry::{Context, Descriptor, End, LastWords, kind};
use occ_spawn::kernel::{self, Whom};
use occ_spawn::zygote::{Args, Request, Zygote};
use occ_spawn::{ExitReason, OsPid, OsStatus};
use occ_test_support::{LIMIT, isolated, within};

fn good(_: Context) -> End {
    End::value(&7_u8)
}

const GOOD: &Descriptor = &Descriptor::new(|| "good", good);

/// Asks for a process at `function`; how it ended.
fn end_of(zygote: &Zygote, serial: u64, function: u64) -> ExitReason {
    let (control, theirs) = Socket::pair().unwrap();
    control.ask_credentials().unwrap();
    let args = Args::new(Vec::new()).unwrap();
    let request = Request {
        serial,
        function,
        args,
        with_args: Vec::new(),
        keep_stdin: false,
        mark: None,
        plan: 0,
        given: Vec::new(),
        joins: Vec::new(),
        executes: false,
        namespace: false,
        spare: false,
        likely: 0,
        preface: Vec::new(),
    };
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let theirs = std::os::fd::AsFd::as_fd(&theirs);
    zygote
        .request(&request, theirs, None, Deadline::Never)
        .unwrap();

    let mut words = LastWords::default();
    let mut buffer = vec![0; occ_sck::MAX_DATAGRAM];
    let mut os_pid = None;
    loop {
        let received = control
            .receive(&mut buffer, &mut Vec::new(), Deadline::after(LIMIT))
            .unwrap();
        let Received::Datagram { len, sender } = received else {
            panic!("{received:?}")
        };
        os_pid = os_pid.or(sender.map(|sender| sender.os_pid));
        let envelope = occ_sck::Assembler::default()
            .push(&buffer[..len], Vec::new())
            .unwrap()
            .unwrap();
        if envelope.kind == kind::HELLO {
            assert_eq!(envelope.decode::<u64>().unwrap(), serial);
        } else if words.hear(envelope).is_none() {
            break;
        }
    }
    let status = reap(OsPid::new(os_pid.unwrap()));
    ExitReason::new(status, words.confirmed_by(status))
}

/// The status of a child that has ended or is about to.
fn reap(os_pid: OsPid) -> OsStatus {
    within(LIMIT, || {
        loop {
            if let Some(ended) = kernel::ended(Whom::OsPid(os_pid), true).unwrap() {
                return ended.status;
            }
        }
    })
}

#[test]
fn a_number_that_names_no_function_is_an_error_exit() {
    isolated!(|| {
        let zygote = Zygote::start(None, None, None).unwrap();
        let good = GOOD.offset();
        let edges = [
            0,
            1,
            7,
            8,
            64,
            4096,
            good - 8,
            good + 8,
            good + 1,
            u64::MAX,
            u64::MAX - 7,
        ];
        let far = (12..64).map(|bit| 1_u64 << bit);
        let near = (1..64).map(|n| good.wrapping_add(n * 0x1000));
        let all = edges.into_iter().chain(far).chain(near);
        // This binary has many functions that can be run: where one of theirs stands, it would be.
        let bad: Vec<u64> = all
            .filter(|function| Descriptor::find(*function).is_err())
            .collect();
        assert!(bad.len() > 100, "{}", bad.len());
        for (serial, function) in (0..).zip(bad) {
            let reason = end_of(&zygote, serial, function);
            let ExitReason::Error(failure) = &reason else {
                panic!("{function:#x}: {reason}")
            };
            assert!(
                failure
                    .to_string()
                    .contains("is not the place of a function"),
                "{failure}"
            );
        }
        let ExitReason::Value(value) = end_of(&zygote, 1000, good) else {
            panic!()
        };
        assert_eq!(value.get::<u8>().unwrap(), 7);
        zygote.end();
    });
}

#[test]
fn frames_that_are_no_request_are_ignored() {
    isolated!(|| {
        let zygote = Zygote::start(None, None, None).unwrap();
        let socket = zygote.socket();
        for garbage in [
            &[0_u8][..],
            &[255; 40],
            &[18; 40],
            &[18; 1000],
            &[0; 60_000],
        ] {
            socket
                .send(&[std::io::IoSlice::new(garbage)], &[], Deadline::Never)
                .unwrap();
        }
        for odd in [
            kind::REQUEST,
            kind::WHICH,
            kind::BOOT,
            kind::HELLO,
            kind::VALUE,
            255,
        ] {
            let packet = Packet::of(odd, &"no request".to_owned()).unwrap();
            packet.send_part(0, socket, &[], Deadline::Never).unwrap();
            packet
                .send_part(
                    0,
                    socket,
                    &[std::os::fd::AsFd::as_fd(&std::io::stdout())],
                    Deadline::Never,
                )
                .unwrap();
        }
        let long = Packet::of(kind::REQUEST, &"x".repeat(100_000)).unwrap();
        long.send_part(0, socket, &[], Deadline::Never).unwrap();
        long.send_whole(socket, &[], Deadline::Never).unwrap();
        let ExitReason::Value(value) = end_of(&zygote, 1, GOOD.offset()) else {
            panic!()
        };
        assert_eq!(value.get::<u8>().unwrap(), 7);
        zygote.end();
    });
}

#[test]
fn a_zygote_knows_which_process_it_forked() {
    isolated!(|| {
        let zygote = Zygote::start(None, None, None).unwrap();
        let ExitReason::Value(_) = end_of(&zygote, 41, GOOD.offset()) else {
            panic!()
        };
        let answer = |serial| -> (u64, Option<OsPid>) {
            zygote.ask_which(serial, Deadline::Never).unwrap();
            let mut buffer = vec![0; occ_sck::MAX_DATAGRAM];
            let limit = Deadline::after(Duration::from_secs(30));
            let received = zygote
                .socket()
                .receive(&mut buffer, &mut Vec::new(), limit)
                .unwrap();
            let Received::Datagram { len, .. } = received else {
                panic!("{received:?}")
            };
            let envelope = occ_sck::Assembler::default().push(&buffer[..len], Vec::new());
            Zygote::answer(&envelope.unwrap().unwrap()).unwrap()
        };
        assert!(matches!(answer(41), (41, Some(_))));
        assert!(matches!(answer(42), (42, None)));
        zygote.end();
    });
}

#[test]
fn a_zygote_ends_when_its_socket_does() {
    isolated!(|| {
        let zygote = Zygote::start(None, None, None).unwrap();
        let os_pid = zygote.os_pid().get();
        // Its process is a child of this one still, and unreaped.
        drop(zygote);
        occ_test_support::dead::gone(os_pid, LIMIT);
        assert_eq!(reap(OsPid::new(os_pid)).code(), Some(0));
    });
}
