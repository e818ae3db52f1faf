//! What an inbox promises: between inboxes of one thread, of several threads, and of processes. The tests play the
//! coordinator.
#![cfg(test)]

mod amid;
mod barrier;
mod both_ways;
mod clients;
mod descriptors;
mod down;
mod ends;
mod event_loop;
mod fd_messages;
mod in_flight;
mod info;
mod limits;
mod listening;
mod listening_clients;
mod listening_ends;
mod listening_strangers;
mod panics;
mod regression;
mod room;
mod schedule;
mod script;
mod selective;
mod several;
mod spin;
mod streams;
mod switchboard;
mod tallies;
mod threads;
mod timeouts;
mod undecodable;
mod wired;
mod without_listening;

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use occ_inbox::{Deadline, Inbox, Pid, Socket, Term};
use occ_sck::{Packet, kind};

use crate::script::Script;

/// A process by its number.
fn pid(serial: u64) -> Pid {
    Pid {
        node: 0,
        incarnation: 7,
        serial,
    }
}

/// The inbox of process 1, with a connection to process 2: what the test holds is 2's end.
fn one_and_two() -> (Inbox<Script>, Socket) {
    let mut one = Script::inbox(1);
    let two = one.connector().connect(2);
    assert_eq!(one.attend(Deadline::Now), Ok(true));
    (one, two)
}

/// Says that descriptors may come, as an inbox does once before it sends some.
fn announce_fds(socket: &Socket) {
    let packet = Packet::of(FDS, &()).unwrap();
    packet.send_part(0, socket, &[], Deadline::Never).unwrap();
}

/// The kind of that frame.
const FDS: u8 = kind::USER + 4;

/// Sends as a process does that has no inbox.
fn put<T: Term>(socket: &Socket, value: &T) {
    let packet = Packet::of(kind::USER, value).unwrap();
    if packet.fds() > 0 {
        announce_fds(socket);
    }
    for part in 0..packet.parts() {
        packet
            .send_part(part, socket, &[], Deadline::Never)
            .unwrap();
    }
}

/// Sends a long value in a memory file, so that one descriptor goes with it.
fn put_whole<T: Term>(socket: &Socket, value: &T) {
    let packet = Packet::of(kind::USER, value).unwrap();
    announce_fds(socket);
    packet.send_whole(socket, &[], Deadline::Never).unwrap();
}

fn put_bytes(socket: &Socket, bytes: &[u8]) {
    socket
        .send(&[IoSlice::new(bytes)], &[], Deadline::Never)
        .unwrap();
}

/// Sends without end, until it is dropped.
struct Flood<'scope> {
    stop: Arc<AtomicBool>,
    thread: Option<ScopedJoinHandle<'scope, u64>>,
}

impl<'scope> Flood<'scope> {
    /// Sends the numbers from 0 on.
    fn on(socket: &'scope Socket, scope: &'scope Scope<'scope, '_>) -> Flood<'scope> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = scope.spawn(move || {
            let mut sent = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let packet = Packet::of(kind::USER, &sent).unwrap();
                let limit = Deadline::after(Duration::from_millis(1));
                sent += u64::from(packet.send_part(0, socket, &[], limit).is_ok());
            }
            sent
        });
        Flood {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops it; tells how many numbers there were.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Everything of a type that has arrived.
fn drain<T: occ_inbox::Receive, C: occ_inbox::Connector>(inbox: &mut Inbox<C>) -> Vec<T> {
    std::iter::from_fn(|| inbox.receive_timeout(Duration::ZERO).unwrap()).collect()
}

/// Asserts that nothing at all has arrived.
fn assert_empty<C: occ_inbox::Connector>(inbox: &mut Inbox<C>) {
    let left = inbox.receive_any_timeout(Duration::ZERO).unwrap();
    assert!(left.is_none(), "{left:?}");
}
