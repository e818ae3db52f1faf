//! An inbox in a program that has an event loop already, made with the crate `polling`: beside a timer, and a socket that is no
//! inbox's.
//!
//! `cargo run --example event_loop_polling`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(
    unsafe_code,
    reason = "`polling` wants a promise that what it watches is not closed first"
)]

use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use occ_inbox::{Address, Inbox};
use polling::{Event, Events, PollMode, Poller};

const INBOX: usize = 0;
const SOCKET: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut inbox = Inbox::listen_anywhere()?;
    let (mut socket, others) = UnixStream::pair()?;
    let poller = Poller::new()?;
    let (fd, level) = (inbox.as_fd(), PollMode::Level);
    // SAFETY: the poller is dropped before the inbox, which was made before it.
    unsafe { poller.add_with_mode(&fd, Event::readable(INBOX), level)? };
    // SAFETY: the same is true of the socket.
    unsafe { poller.add_with_mode(&socket, Event::readable(SOCKET), level)? };

    let address = inbox.address();
    let others = std::thread::spawn(move || talk(&address, others));

    let (mut messages, mut text, mut ticks) = (Vec::new(), String::new(), 0);
    let period = Duration::from_millis(10);
    let mut next_tick = Instant::now() + period;
    let mut events = Events::new();
    while messages.len() < 3 || text.is_empty() || ticks < 2 {
        events.clear();
        let left = next_tick.saturating_duration_since(Instant::now());
        poller.wait(&mut events, Some(left))?;
        for event in events.iter() {
            match event.key {
                INBOX => {
                    inbox.tick()?;
                    while let Some(number) = inbox.receive_timeout::<u32>(Duration::ZERO)? {
                        messages.push(number);
                    }
                }
                _ => {
                    // It closes when it has said all.
                    socket.read_to_string(&mut text)?;
                    poller.delete(&socket)?;
                }
            }
        }
        if Instant::now() >= next_tick {
            ticks += 1;
            next_tick += period;
        }
    }
    others.join().expect("no panic")?;

    println!("messages: {messages:?}");
    println!("a text: {text}");
    println!("and the timer ticked");
    assert_eq!(messages, [1, 2, 3]);
    assert_eq!(text, "hello");
    Ok(())
}

/// What others do meanwhile.
fn talk(address: &Address, mut socket: UnixStream) -> std::io::Result<()> {
    let mut inbox = Inbox::listen_anywhere().map_err(std::io::Error::other)?;
    for number in 1..=3_u32 {
        inbox
            .send_to(address, &number)
            .map_err(std::io::Error::other)?;
    }
    socket.write_all(b"hello")
}
