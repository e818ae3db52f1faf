//! Frames that are none: each is told as what it is, and ends the connection.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_sck::{
    Blob, Bytes, Channel, ChannelError, Deadline, FrameError, HEADER, Header, Limits, MAX_DATAGRAM,
    MAX_NAME, PART, Packet, ReceiveError, SendError, Socket, TypeKey, kind,
};
use rustix::net::SendFlags;

/// Bit 0 of the flags.
const IN_BLOB: u8 = 1;

/// Bit 1 of the flags.
const WITHDRAWN: u8 = 2;

/// What withdraws a message of which [`part`] makes the parts.
fn withdrawal(id: u32, part: u32) -> Vec<u8> {
    let header = Header {
        flags: WITHDRAWN,
        id,
        part,
        parts: 4,
        total: 3 * PART as u64 + 100,
        ..header()
    };
    frame(header, &[])
}

pub(crate) fn header() -> Header {
    Header {
        kind: kind::USER,
        flags: 0,
        name_len: 0,
        id: 1,
        part: 0,
        parts: 1,
        total: 0,
        key: TypeKey::of::<Bytes>(),
    }
}

pub(crate) fn frame(header: Header, rest: &[u8]) -> Vec<u8> {
    let mut datagram = header.to_bytes().to_vec();
    datagram.extend_from_slice(rest);
    datagram
}

/// A part of a message of three and a half, and what to change in it.
pub(crate) fn part(part: u32, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let total = 3 * PART as u64 + 100;
    let mut header = Header {
        part,
        parts: 4,
        total,
        ..header()
    };
    change(&mut header);
    frame(header, &vec![0; if part == 3 { 100 } else { PART }])
}

struct Case {
    what: &'static str,
    /// Sent one after the other; the last is the malformed one.
    datagrams: Vec<Vec<u8>>,
    /// They travel with the last.
    fds: Vec<OwnedFd>,
    expected: FrameError,
}

fn case(what: &'static str, datagrams: Vec<Vec<u8>>, expected: FrameError) -> Case {
    Case {
        what,
        datagrams,
        fds: Vec::new(),
        expected,
    }
}

pub(crate) const LIMIT: u64 = 1 << 20;

fn cases() -> Vec<Case> {
    let short = |len, expected| FrameError::Short { len, expected };
    let parts = |part, parts, len, total| FrameError::Parts {
        part,
        parts,
        len,
        total,
    };
    let out_of_order = |of, expected, id, part| FrameError::OutOfOrder {
        of,
        expected,
        id,
        part,
    };
    let total = 3 * PART as u64 + 100;
    let same = |_: &mut Header| {};
    let named = |name_len, rest: &[u8]| {
        vec![frame(
            Header {
                name_len,
                ..header()
            },
            rest,
        )]
    };
    let with = |change: fn(&mut Header), rest: &[u8]| {
        let mut header = header();
        change(&mut header);
        vec![frame(header, rest)]
    };
    let mut cases = vec![
        case("no byte at all", vec![vec![]], short(0, 1)),
        case("one byte", vec![vec![0]], short(1, HEADER)),
        case(
            "a byte less than a header",
            vec![vec![0; HEADER - 1]],
            short(HEADER - 1, HEADER),
        ),
        case(
            "less than its name",
            named(10, b"nine byte"),
            short(HEADER + 9, HEADER + 10),
        ),
        case(
            "a byte too long for a datagram",
            vec![vec![0; MAX_DATAGRAM + 1]],
            FrameError::Oversized {
                limit: MAX_DATAGRAM,
            },
        ),
        case(
            "a byte over the limit",
            vec![frame(
                Header {
                    total: LIMIT + 1,
                    parts: (LIMIT + 1).div_ceil(PART as u64) as u32,
                    ..header()
                },
                &vec![0; PART],
            )],
            FrameError::OverLimit {
                total: LIMIT + 1,
                limit: LIMIT,
            },
        ),
        case(
            "a flag without meaning",
            with(|header| header.flags = 4, &[]),
            FrameError::Flags { flags: 4 },
        ),
        case(
            "two flags that exclude each other",
            with(|header| header.flags = IN_BLOB | WITHDRAWN, &[]),
            FrameError::Flags {
                flags: IN_BLOB | WITHDRAWN,
            },
        ),
        case(
            "a message withdrawn by its first part",
            with(|header| header.flags = WITHDRAWN, &[]),
            parts(0, 1, 0, 0),
        ),
        case(
            "a message withdrawn with payload",
            vec![part(0, same), part(1, |header| header.flags = WITHDRAWN)],
            parts(1, 4, PART, total),
        ),
        case(
            "a message withdrawn that has not begun",
            vec![withdrawal(1, 1)],
            out_of_order(1, 0, 1, 1),
        ),
        case(
            "another message withdrawn",
            vec![part(0, same), withdrawal(2, 1)],
            out_of_order(1, 1, 2, 1),
        ),
        case(
            "a message withdrawn by a part too late",
            vec![part(0, same), withdrawal(1, 2)],
            out_of_order(1, 1, 1, 2),
        ),
        case(
            "a part of a message that was withdrawn",
            vec![part(0, same), withdrawal(1, 1), part(1, same)],
            out_of_order(1, 0, 1, 1),
        ),
        case(
            "no parts",
            with(|header| header.parts = 0, &[]),
            parts(0, 0, 0, 0),
        ),
        case(
            "a part too many for its length",
            with(|header| header.parts = 2, &[]),
            parts(0, 2, 0, 0),
        ),
        case(
            "a part too few for its length",
            vec![part(0, |header| header.parts = 3)],
            parts(0, 3, PART, total),
        ),
        case(
            "a part past the last",
            with(|header| header.part = 1, &[]),
            parts(1, 1, 0, 0),
        ),
        case(
            "less payload than announced",
            with(|header| header.total = 3, b"12"),
            parts(0, 1, 2, 3),
        ),
        case(
            "more payload than announced",
            with(|header| header.total = 3, b"1234"),
            parts(0, 1, 4, 3),
        ),
        case(
            "a length that overflows every sum",
            with(
                |header| {
                    header.total = u64::MAX;
                    header.parts = u32::MAX;
                    header.part = u32::MAX - 1;
                },
                &[],
            ),
            parts(u32::MAX - 1, u32::MAX, 0, u64::MAX),
        ),
        case(
            "a name that is no text",
            named(2, b"\xff\xfe"),
            FrameError::Name { len: 2 },
        ),
        case(
            "a name too long",
            named(MAX_NAME as u16 + 1, &[b'x'; MAX_NAME + 1]),
            FrameError::Name { len: MAX_NAME + 1 },
        ),
        case(
            "a name in a later part",
            vec![part(0, same), part(1, |header| header.name_len = 3)],
            FrameError::Name { len: 3 },
        ),
        case(
            "the second part first",
            vec![part(1, same)],
            out_of_order(1, 0, 1, 1),
        ),
        case(
            "the first part twice",
            vec![part(0, same), part(0, same)],
            out_of_order(1, 1, 1, 0),
        ),
        case(
            "a part left out",
            vec![part(0, same), part(2, same)],
            out_of_order(1, 1, 1, 2),
        ),
        case(
            "a part of another message",
            vec![part(0, same), part(1, |header| header.id = 2)],
            out_of_order(1, 1, 2, 1),
        ),
        case(
            "a part of another type",
            vec![
                part(0, same),
                part(1, |header| header.key = TypeKey::of::<u8>()),
            ],
            out_of_order(1, 1, 1, 1),
        ),
        case(
            "a part of another kind",
            vec![part(0, same), part(1, |header| header.kind = kind::SYSTEM)],
            out_of_order(1, 1, 1, 1),
        ),
        case(
            "a whole message inside another",
            vec![part(0, same), frame(Header { id: 2, ..header() }, &[])],
            out_of_order(1, 1, 2, 0),
        ),
        case(
            "a blob that is not there",
            with(|header| header.flags = IN_BLOB, &[]),
            FrameError::BlobMissing,
        ),
        case(
            "a blob over the limit",
            with(
                |header| {
                    header.flags = IN_BLOB;
                    header.total = LIMIT + 1;
                },
                &[],
            ),
            FrameError::OverLimit {
                total: LIMIT + 1,
                limit: LIMIT,
            },
        ),
        case(
            "a blob and payload as well",
            with(|header| header.flags = IN_BLOB, b"x"),
            parts(0, 1, 1, 0),
        ),
        case(
            "a blob in two parts",
            with(
                |header| {
                    header.flags = IN_BLOB;
                    header.parts = 2;
                },
                &[],
            ),
            parts(0, 2, 0, 0),
        ),
    ];

    let sealed = || OwnedFd::from(Blob::new(b"12345").unwrap());
    let blob = |total| {
        vec![frame(
            Header {
                flags: IN_BLOB,
                total,
                ..header()
            },
            &[],
        )]
    };
    let unsealed = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let no_memory = OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
    cases.extend([
        Case {
            fds: vec![sealed()],
            ..case(
                "a blob shorter than announced",
                blob(6),
                FrameError::BlobLength {
                    expected: 6,
                    found: 5,
                },
            )
        },
        Case {
            fds: vec![sealed()],
            ..case(
                "a blob longer than announced",
                blob(4),
                FrameError::BlobLength {
                    expected: 4,
                    found: 5,
                },
            )
        },
        Case {
            fds: vec![unsealed],
            ..case("a blob without seals", blob(0), FrameError::BlobUnsealed)
        },
        Case {
            fds: vec![no_memory, sealed()],
            ..case(
                "a blob that is no memory file",
                blob(5),
                FrameError::BlobUnsealed,
            )
        },
        Case {
            fds: vec![sealed(), sealed()],
            ..case(
                "descriptors with a later part",
                vec![part(0, same), part(1, same)],
                FrameError::FdsMisplaced { count: 2, part: 1 },
            )
        },
    ]);
    cases
}

/// Also what [`Socket::send`] would not.
fn send_anything(socket: &Socket, datagram: &[u8], fds: &[BorrowedFd<'_>]) {
    if datagram.is_empty() {
        rustix::net::send(socket, datagram, SendFlags::empty()).unwrap();
    } else {
        socket
            .send(&[IoSlice::new(datagram)], fds, Deadline::Now)
            .unwrap();
    }
}

/// SK-11 to SK-14: both sides are told, and each case has a connection of its own.
#[test]
fn each_malformed_frame_is_told_as_what_it_is_and_ends_the_connection() {
    occ_test_support::isolated!(|| {
        for Case {
            what,
            datagrams,
            fds,
            expected,
        } in cases()
        {
            let (sender, receiver) = Socket::pair().unwrap();
            let mut receiver = Channel::new(receiver, Limits { message: LIMIT });
            let last = datagrams.len() - 1;
            for (at, datagram) in datagrams.iter().enumerate() {
                let with: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                let with = if at == last { &with[..] } else { &[] };
                send_anything(&sender, datagram, with);
            }
            // Well-formed, and after a malformed one worth nothing.
            Packet::of(0, &Bytes(vec![]))
                .unwrap()
                .send_part(0, &sender, &[], Deadline::Now)
                .unwrap();

            let error = receiver.receive_any().unwrap_err();
            let ChannelError::Receive(ReceiveError::Frame(found)) = &error else {
                panic!("{what}: {error:?}");
            };
            assert_eq!(*found, expected, "{what}");
            assert!(receiver.receive_any().unwrap().is_none(), "{what}");
            let send = sender.send(&[IoSlice::new(b"x")], &[], Deadline::Now);
            assert!(matches!(send, Err(SendError::Closed)), "{what}: {send:?}");
        }
    });
}

/// The two processes are as good as before.
#[test]
fn after_a_malformed_frame_a_new_connection_works() {
    let (sender, receiver) = Socket::pair().unwrap();
    let mut receiver = Channel::new(receiver, Limits::default());
    crate::send_bytes(&sender, b"junk");
    receiver.receive_any().unwrap_err();
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&1_u8).unwrap();
    assert_eq!(b.receive().unwrap(), Some(1_u8));
}

#[test]
fn a_message_of_exactly_the_limit_arrives() {
    let (mut a, b) = Channel::pair().unwrap();
    let mut b = Channel::new(b.into_socket().unwrap(), Limits { message: 1003 });
    a.send(&Bytes(vec![1; 1001])).unwrap();
    assert_eq!(b.receive_any().unwrap().unwrap().len(), 1003);
    a.send(&Bytes(vec![1; 1002])).unwrap();
    let words = crate::words(&b.receive_any().unwrap_err());
    assert_eq!(
        words,
        "malformed frame: a message of 1004 bytes is over the limit of 1003"
    );
}
