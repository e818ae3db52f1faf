//! Bytes in sealed memory.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use occ_sck::{
    Blob, BlobError, Body, Bytes, Channel, ChannelError, Deadline, Limits, PART, Packet, SendError,
    Socket,
};
use occ_test_support::isolated;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn bytes_in_a_blob_are_what_was_put_there() {
    for len in [0, 1, 4096, PART, (3 << 20) + 1] {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 241) as u8).collect();
        let blob = Blob::new(&bytes).unwrap();
        assert_eq!((blob.len(), blob.is_empty()), (len as u64, len == 0));
        assert!(blob.read().unwrap() == bytes);
        assert!(blob.read().unwrap() == bytes, "reading consumes nothing");

        let again = Blob::from_fd(OwnedFd::from(blob), len as u64).unwrap();
        assert!(again.read().unwrap() == bytes);
    }
}

#[test]
fn a_blob_cannot_be_written_grown_cut_or_unsealed() {
    let blob = Blob::new(b"sealed").unwrap();
    let fd = blob.as_fd();
    assert_eq!(rustix::io::pwrite(fd, b"x", 0), Err(Errno::PERM));
    assert_eq!(rustix::io::pwrite(fd, b"x", 6), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(fd, 3), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(fd, 30), Err(Errno::PERM));
    let more = rustix::fs::fcntl_add_seals(fd, SealFlags::FUTURE_WRITE);
    assert_eq!(more, Err(Errno::PERM));
    assert_eq!(blob.read().unwrap(), b"sealed");
}

fn memory_file(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(c"test", flags).unwrap();
    rustix::io::pwrite(&fd, bytes, 0).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn a_file_that_could_still_change_is_no_blob() {
    let refused = [
        SealFlags::empty(),
        SealFlags::WRITE,
        SealFlags::SHRINK | SealFlags::GROW,
        SealFlags::SHRINK | SealFlags::FUTURE_WRITE,
    ];
    for seals in refused {
        let error = Blob::from_fd(memory_file(b"12345", seals), 5).unwrap_err();
        assert!(matches!(error, BlobError::Unsealed), "{seals:?}: {error}");
    }
    let enough = SealFlags::WRITE | SealFlags::SHRINK;
    let blob = Blob::from_fd(memory_file(b"12345", enough), 5).unwrap();
    assert_eq!(blob.read().unwrap(), b"12345");
}

#[test]
fn a_file_of_another_kind_or_length_is_no_blob() {
    let (pipe, _write) = rustix::pipe::pipe().unwrap();
    let ordinary = OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
    for fd in [pipe, ordinary] {
        let error = Blob::from_fd(fd, 0).unwrap_err();
        assert!(matches!(error, BlobError::Unsealed), "{error}");
    }
    for len in [0, 4, 6, u64::MAX] {
        let sealed = OwnedFd::from(Blob::new(b"12345").unwrap());
        let error = Blob::from_fd(sealed, len).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("expected a memory file of {len} bytes, and it has 5")
        );
    }
}

#[test]
fn a_value_that_travels_in_a_blob_is_the_same_value() {
    let (a, b) = Socket::pair().unwrap();
    let mut b = Channel::new(b, Limits::default());
    let value = Bytes((0..5 * PART).map(|at| (at % 239) as u8).collect());
    let packet = Packet::of(3, &value).unwrap();
    packet.send_whole(&a, &[], Deadline::Now).unwrap();
    let envelope = b.receive_any().unwrap().unwrap();
    assert!(matches!(envelope.body, Body::Blob(_)));
    assert_eq!(envelope.kind, 3);
    assert_eq!(envelope.len() as usize, packet.payload().len());
    assert_eq!(envelope.type_name(), packet.type_name());
    assert!(envelope.decode::<Bytes>().unwrap() == value);
    let error = envelope.decode::<u8>().unwrap_err().to_string();
    assert!(error.contains("expected a `u8`"), "{error}");

    // Passed on without a copy.
    let Body::Blob(blob) = &envelope.body else {
        panic!("it was one");
    };
    Packet::forward_blob(
        4,
        envelope.key,
        envelope.type_name(),
        blob,
        &a,
        Deadline::Now,
    )
    .unwrap();
    let forwarded = b.receive_any().unwrap().unwrap();
    assert_eq!(forwarded.kind, 4);
    assert!(forwarded.decode::<Bytes>().unwrap() == value);
}

#[test]
fn a_value_that_fits_a_datagram_needs_no_blob() {
    let (a, b) = Socket::pair().unwrap();
    let packet = Packet::of(0, &Bytes(vec![0; PART - 3])).unwrap();
    assert_eq!(packet.payload().len(), PART);
    packet.send_whole(&a, &[], Deadline::Now).unwrap();
    let envelope = Channel::new(b, Limits::default()).receive_any();
    assert!(matches!(
        envelope.unwrap().unwrap().body,
        Body::Inline { .. }
    ));
}

/// The kernel's own answer is SIGXFSZ, which kills.
#[test]
fn a_blob_over_the_limit_on_file_sizes_is_an_error_and_no_signal() {
    isolated!(|| {
        let whole = getrlimit(Resource::Fsize);
        let limit = Rlimit {
            current: Some(100_000),
            ..whole
        };
        setrlimit(Resource::Fsize, limit).unwrap();
        let error = Blob::new(&[0; 100_001]).unwrap_err();
        let exact = Blob::new(&[0; 100_000]);
        let (mut a, mut b) = Channel::pair().unwrap();
        let long = Bytes(vec![0; 100_001]);
        let unsent = a.send_timeout(&long, std::time::Duration::ZERO);
        let in_parts = a.send(&long);
        setrlimit(Resource::Fsize, whole).unwrap();

        let BlobError::Io { len, source, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*len, 100_001);
        assert_eq!(source.raw_os_error(), Some(Errno::FBIG.raw_os_error()));
        assert_eq!(exact.unwrap().len(), 100_000);
        let unsent = unsent.unwrap_err();
        assert!(
            matches!(unsent, ChannelError::Send(SendError::Blob(_))),
            "{unsent:?}"
        );
        in_parts.unwrap();
        assert_eq!(b.receive().unwrap(), Some(long));
        std::io::stdout().flush().unwrap();
    });
}
