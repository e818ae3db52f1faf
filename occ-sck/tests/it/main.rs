//! What occ-sck promises, between two ends in one process and between processes that are killed.
#![cfg(test)]

mod addresses;
mod allocations;
mod assembler;
mod attributes;
mod batches;
mod blobs;
mod broken_streams;
mod carriers;
mod closing;
mod codec;
mod connecting;
mod credentials;
mod cutting;
mod deadlines;
mod decoders;
mod disconnects;
mod fd_values;
mod fds;
mod hostile;
mod huge;
mod in_flight;
mod listening;
mod long;
mod malformed;
mod partial_sends;
mod peer;
mod peer_dies;
mod printed;
mod regression;
mod sides;
mod signals;
mod stale_paths;
mod type_keys;
mod values;

use std::error::Error;
use std::io::IoSlice;

use occ_sck::{Deadline, MAX_DATAGRAM, Packet, Received, SendError, Socket};

/// All parts of a packet, as they would travel.
fn datagrams(packet: &Packet) -> Vec<Vec<u8>> {
    let (ours, theirs) = Socket::pair().unwrap();
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut all = Vec::new();
    for part in 0..packet.parts() {
        packet.send_part(part, &ours, &[], Deadline::Now).unwrap();
        let received = theirs.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
        let Ok(Received::Datagram { len, .. }) = received else {
            panic!("expected a datagram, got {received:?}");
        };
        all.push(buffer[..len].to_vec());
    }
    all
}

fn send_bytes(socket: &Socket, bytes: &[u8]) {
    socket
        .send(&[IoSlice::new(bytes)], &[], Deadline::Now)
        .unwrap();
}

/// The next datagram, and how many descriptors came with it.
fn receive_bytes(socket: &Socket) -> (Vec<u8>, usize) {
    let (mut buffer, mut fds) = (vec![0; MAX_DATAGRAM], Vec::new());
    let received = socket.receive(&mut buffer, &mut fds, Deadline::Now);
    let Ok(Received::Datagram { len, .. }) = received else {
        panic!("expected a datagram, got {received:?}");
    };
    buffer.truncate(len);
    (buffer, fds.len())
}

/// Sends packets of this many payload bytes until there is no room for one more; tells how many.
fn fill(socket: &Socket, payload: usize) -> usize {
    let packet = Packet::of(0, &occ_sck::Bytes(vec![7; payload])).unwrap();
    for sent in 0.. {
        match packet.send_part(0, socket, &[], Deadline::Now) {
            Ok(()) => {}
            Err(SendError::Full) => return sent,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// What an error says, with its causes.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
