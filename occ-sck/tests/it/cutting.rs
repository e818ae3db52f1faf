//! A byte stream is cut into the datagrams that were sent, however it arrives; and whatever arrives, nothing else happens.

use std::os::fd::OwnedFd;

use occ_sck::{
    Assembler, Bytes, Cutter, FrameError, HEADER, Limits, MAX_DATAGRAM, MAX_FDS, PART, Packet,
    STREAM_HEAD, kind,
};
use occ_test_support::fds::OpenFds;
use occ_test_support::isolated;
use proptest::prelude::*;

use crate::allocations::largest;

/// A datagram with its head.
pub(crate) fn framed(datagram: &[u8], fds: usize) -> Vec<u8> {
    let mut bytes = (datagram.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(fds as u16).to_le_bytes());
    bytes.extend_from_slice(datagram);
    bytes
}

/// All frames of a value, one after the other.
pub(crate) fn stream_of(value: &Bytes, id: u32) -> Vec<u8> {
    let mut packet = Packet::of(kind::USER, value).unwrap();
    packet.set_id(id);
    let datagrams = crate::datagrams(&packet);
    datagrams.iter().flat_map(|each| framed(each, 0)).collect()
}

fn fds(number: usize) -> Vec<OwnedFd> {
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    (0..number).map(|_| null()).collect()
}

/// Puts `bytes` in, as far as there is room at once; tells how much.
fn put(cutter: &mut Cutter, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<usize, FrameError> {
    let room = cutter.room();
    let len = bytes.len().min(room.len());
    assert!(len > 0, "there is always room");
    room[..len].copy_from_slice(&bytes[..len]);
    cutter.filled(len, fds)?;
    Ok(len)
}

/// What comes out of `bytes` that arrive in chunks of these sizes, over and over.
fn cut(bytes: &[u8], chunks: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let (mut cutter, mut left, mut cut) = (Cutter::new(), bytes, Vec::new());
    for chunk in chunks.iter().cycle() {
        if left.is_empty() {
            break;
        }
        let len = put(&mut cutter, &left[..left.len().min(*chunk)], Vec::new())?;
        left = &left[len..];
        while let Some((datagram, _)) = cutter.cut()? {
            cut.push(datagram.to_vec());
        }
    }
    assert!(!cutter.is_partial(), "all of it was whole");
    Ok(cut)
}

#[test]
fn every_cut_of_a_stream_gives_the_same_datagrams() {
    let datagrams = [vec![1; HEADER], vec![2; HEADER + 1], vec![3; 100]];
    let bytes: Vec<u8> = datagrams.iter().flat_map(|each| framed(each, 0)).collect();
    for at in 1..bytes.len() {
        assert_eq!(
            cut(&bytes, &[at, bytes.len()]).unwrap(),
            datagrams,
            "cut at {at}"
        );
    }
    assert_eq!(cut(&bytes, &[1]).unwrap(), datagrams);
}

#[test]
fn more_than_fits_at_once_goes_through_piece_by_piece() {
    let datagrams: Vec<_> = (0..40_u8)
        .map(|n| vec![n; MAX_DATAGRAM - usize::from(n)])
        .collect();
    let bytes: Vec<u8> = datagrams.iter().flat_map(|each| framed(each, 0)).collect();
    for chunk in [usize::MAX, MAX_DATAGRAM, PART, 4096, 1000] {
        assert!(
            cut(&bytes, &[chunk]).unwrap() == datagrams,
            "in pieces of {chunk}"
        );
    }
}

/// As soon as the head is here, and not when all that it announces has come.
#[test]
fn a_head_that_announces_what_may_not_come_is_an_error_at_once() {
    let head = |len: u32, fds: u16| [&len.to_le_bytes()[..], &fds.to_le_bytes()].concat();
    let (limit, expected) = (MAX_DATAGRAM, HEADER);
    let too_long = |len| FrameError::TooLong { len, limit };
    let short = |len| FrameError::Short { len, expected };
    let count = |announced, found| FrameError::FdCount { announced, found };
    let cases = [
        (head(MAX_DATAGRAM as u32 + 1, 0), too_long(MAX_DATAGRAM + 1)),
        (head(u32::MAX, 0), too_long(u32::MAX as usize)),
        (head(0, 0), short(0)),
        (head(HEADER as u32 - 1, 0), short(HEADER - 1)),
        (head(HEADER as u32, 1), count(1, 0)),
        (
            head(HEADER as u32, MAX_FDS as u16 + 1),
            count(MAX_FDS + 1, 0),
        ),
        (head(HEADER as u32, u16::MAX), count(u16::MAX.into(), 0)),
    ];
    for (head, expected) in cases {
        let mut cutter = Cutter::new();
        for (at, byte) in head.iter().enumerate() {
            put(&mut cutter, &[*byte], Vec::new()).unwrap();
            let cut = cutter.cut().map(|cut| cut.is_some());
            if at + 1 < STREAM_HEAD {
                assert_eq!(cut, Ok(false));
            } else {
                assert_eq!(cut, Err(expected.clone()));
            }
        }
    }
    // And the longest that may.
    let mut cutter = Cutter::new();
    put(&mut cutter, &head(MAX_DATAGRAM as u32, 0), Vec::new()).unwrap();
    assert_eq!(cutter.cut().map(|cut| cut.is_some()), Ok(false));
    assert!(cutter.is_partial());
}

#[test]
fn descriptors_go_with_the_datagram_that_announces_them() {
    isolated!(|| {
        let datagram = [7; HEADER];
        let mut cutter = Cutter::new();
        // As the kernel would give it: those before in the same piece, and a part of that which they belong to.
        let first = [
            framed(&datagram, 0),
            framed(&datagram, 0),
            framed(&datagram, 2),
        ]
        .concat();
        put(&mut cutter, &first[..first.len() - 1], fds(2)).unwrap();
        for _ in 0..2 {
            assert_eq!(cutter.cut().unwrap().unwrap().1.len(), 0);
        }
        assert!(cutter.cut().unwrap().is_none());
        // The rest, and the next that has some, before the first is cut out.
        let rest = [&first[first.len() - 1..], &framed(&datagram, 3)].concat();
        put(&mut cutter, &rest, fds(3)).unwrap();
        for expected in [2, 3] {
            let (cut, fds) = cutter.cut().unwrap().unwrap();
            assert_eq!((cut, fds.len()), (&datagram[..], expected));
        }
        assert!(!cutter.is_partial());
    });
}

#[test]
fn descriptors_that_are_too_few_too_many_or_unannounced_are_an_error_and_closed() {
    isolated!(|| {
        let datagram = [7; HEADER];
        let count = |announced, found| FrameError::FdCount { announced, found };
        let cases = [
            (2, 1, count(2, 1)),
            (1, 2, count(1, 2)),
            (1, 0, count(1, 0)),
            (0, 1, FrameError::FdsUnannounced { count: 1 }),
        ];
        for (announced, came, expected) in cases {
            let before = OpenFds::now();
            let mut cutter = Cutter::new();
            put(&mut cutter, &framed(&datagram, announced), fds(came)).unwrap();
            let first = cutter.cut().map(|cut| cut.map(|(_, fds)| fds.len()));
            let error = match first {
                Ok(cut) => {
                    assert_eq!(cut, Some(0), "it announced none");
                    cutter.cut().unwrap_err()
                }
                Err(error) => error,
            };
            assert_eq!(error, expected);
            drop(cutter);
            assert!(before.changes(&OpenFds::now()).is_empty());
        }
    });
}

/// A byte at a time, each with descriptors: no more than two pieces are ever here.
#[test]
fn a_flood_of_descriptors_is_an_error_before_there_are_many() {
    isolated!(|| {
        let mut cutter = Cutter::new();
        let bytes = framed(&[7; HEADER], MAX_FDS);
        put(&mut cutter, &bytes[..1], fds(MAX_FDS)).unwrap();
        put(&mut cutter, &bytes[1..2], fds(MAX_FDS)).unwrap();
        let error = put(&mut cutter, &bytes[2..3], fds(MAX_FDS)).unwrap_err();
        assert_eq!(error, FrameError::FdsUnannounced { count: 3 * MAX_FDS });
    });
}

#[test]
fn one_whose_descriptors_were_lost_is_an_error_and_the_next_is_not() {
    isolated!(|| {
        let datagram = [7; HEADER];
        let mut cutter = Cutter::new();
        let bytes = framed(&datagram, 2);
        cutter.room()[..bytes.len()].copy_from_slice(&bytes);
        cutter.filled_and_fds_lost(bytes.len()).unwrap();
        put(&mut cutter, &framed(&datagram, 1), fds(1)).unwrap();
        assert_eq!(cutter.cut().unwrap_err(), FrameError::FdsLost);
        assert_eq!(cutter.cut().unwrap().unwrap().1.len(), 1);
        assert!(!cutter.is_partial());
    });
}

fn values() -> impl Strategy<Value = Vec<Bytes>> {
    let len = prop_oneof![0..200_usize, Just(PART), 0..3 * PART];
    let value = (len, any::<u8>()).prop_map(|(len, byte)| Bytes(vec![byte; len]));
    proptest::collection::vec(value, 1..6)
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    let chunk = prop_oneof![1..20_usize, 1..5000_usize, Just(2 * PART), Just(usize::MAX)];
    proptest::collection::vec(chunk, 1..10).prop_filter("or it takes for ever", |chunks| {
        chunks.iter().any(|chunk| *chunk > 1000)
    })
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_the_same_values_come_out(values in values(), chunks in chunks()) {
        let bytes: Vec<u8> = values.iter().zip(0..).flat_map(|(value, id)| stream_of(value, id)).collect();
        let mut assembler = Assembler::default();
        let mut got = Vec::new();
        for datagram in cut(&bytes, &chunks).unwrap() {
            if let Some(envelope) = assembler.push(&datagram, Vec::new()).unwrap() {
                got.push(envelope.decode::<Bytes>().unwrap());
            }
        }
        prop_assert!(got == values);
    }

    #[test]
    fn whatever_arrives_there_is_no_panic_and_no_memory_on_its_word(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..300),
                (0..300_u32, 0..2_u16).prop_map(|(len, fds)| [&len.to_le_bytes()[..], &fds.to_le_bytes()].concat()),
                proptest::collection::vec(any::<u8>(), HEADER..200).prop_map(|bytes| framed(&bytes, 0)),
            ],
            1..20,
        ),
    ) {
        let mut cutter = Cutter::new();
        let mut assembler = Assembler::new(Limits { message: 1000 });
        let (_, largest) = largest(|| {
            for piece in &pieces {
                if put(&mut cutter, piece, Vec::new()).is_err() {
                    return;
                }
                loop {
                    match cutter.cut() {
                        Ok(Some((datagram, fds))) => {
                            assert!((HEADER..=MAX_DATAGRAM).contains(&datagram.len()));
                            if assembler.push(datagram, fds).is_err() {
                                return;
                            }
                        }
                        Ok(None) => break,
                        Err(_) => return,
                    }
                }
            }
        });
        prop_assert!(largest <= 256 * 1024, "{} bytes at once", largest);
    }
}
