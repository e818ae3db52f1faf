//! An inbox in a program that has an event loop already, tokio's: beside a timer, and a socket that is no inbox's.
//!
//! `cargo run --example event_loop_tokio`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(
    unsafe_code,
    reason = "tokio wants a promise that what it watches stays what it is"
)]

use std::error::Error;
use std::os::fd::AsFd;
use std::time::Duration;

use occ_inbox::{Address, Inbox};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::UnixStream;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let mut inbox = Inbox::listen_anywhere()?;
    // The runtime wants to own what it watches, and a duplicate is as readable as the inbox.
    let readable = inbox.as_fd().try_clone_to_owned()?;
    // SAFETY: it owns the duplicate, which nobody replaces or closes before.
    let readable = unsafe { AsyncFd::register_with_interest(readable, Interest::READABLE)? };
    let mut timer = tokio::time::interval(Duration::from_millis(10));
    let (socket, others) = UnixStream::pair()?;
    let mut lines = BufReader::new(socket).lines();

    let address = inbox.address();
    let others = others.into_std()?;
    let others = std::thread::spawn(move || talk(&address, others));

    let (mut messages, mut line, mut ticks) = (Vec::new(), None, 0);
    while messages.len() < 3 || line.is_none() || ticks < 2 {
        tokio::select! {
            ready = readable.readable() => {
                // Before the look, so that what comes meanwhile is told again.
                ready?.clear_ready();
                inbox.tick()?;
                while let Some(number) = inbox.receive_timeout::<u32>(Duration::ZERO)? {
                    messages.push(number);
                }
            }
            read = lines.next_line(), if line.is_none() => line = read?,
            _ = timer.tick() => ticks += 1,
        }
    }
    others.join().expect("no panic")?;

    println!("messages: {messages:?}");
    println!("a line: {}", line.as_deref().unwrap_or_default());
    println!("and the timer ticked");
    assert_eq!(messages, [1, 2, 3]);
    assert_eq!(line.as_deref(), Some("hello"));
    Ok(())
}

/// What others do meanwhile.
fn talk(address: &Address, mut socket: std::os::unix::net::UnixStream) -> std::io::Result<()> {
    use std::io::Write;

    let mut inbox = Inbox::listen_anywhere().map_err(std::io::Error::other)?;
    for number in 1..=3_u32 {
        inbox
            .send_to(address, &number)
            .map_err(std::io::Error::other)?;
    }
    socket.write_all(b"hello\n")
}
