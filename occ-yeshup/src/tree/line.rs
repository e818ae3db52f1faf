//! What front and guard say to each other: datagrams, whole or not at all.
//!
//! | from → to | |
//! |---|---|
//! | front → guard | ready; pass this signal on; kill all |
//! | who starts the guard → guard | which process is to be the program |
//! | guard → front | the program runs; it has ended, and this is what was left |
//!
//! Each holds one end alone, so the end of the line is the other's death.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use occ_proc::{OsPid, OsStatus};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::Pid;

use super::Used;
use super::take_down::Left;

/// Most of those that were left that are told by name.
pub(crate) const NAMED: usize = 32;

const LONGEST: usize = 32 * 1024;

/// Leaves the program's number in the line for the guard, whose image is not there yet. It makes one system call, and
/// nothing else.
pub(crate) fn tell_program(other_end: &OwnedFd, program: Pid) {
    let mut bytes = [0; 16];
    bytes[0] = RUNS;
    bytes[8..12].copy_from_slice(&program.as_raw_pid().to_le_bytes());
    // A guard that does not know its program never lets it go, and that is told.
    let _ = send(other_end, &bytes, SendFlags::NOSIGNAL);
}

const RUNS: u8 = 4;

/// One end.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Ready,
    Pass { signal: i32, when: When },
    KillAll,
    Runs(OsPid),
    Ended(Ended),
}

/// When a signal is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// If the program is not in the process group of the front: a terminal has sent it to all of that.
    NotInGroup,
    /// If the program is not stopped: what is late must not let it go on.
    NotStopped,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What the kernel says of the program; nothing where it could not be ended.
    pub(crate) status: Option<OsStatus>,
    pub(crate) used: Used,
    /// How many were left when the program had ended.
    pub(crate) count: u32,
    /// Those, or the first of them.
    pub(crate) left: Vec<Left>,
}

/// What is there to be read.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Message),
    /// What makes no sense.
    Noise,
    Nothing,
    /// The other has died.
    End,
}

impl Line {
    pub(crate) fn new(end: OwnedFd) -> Line {
        Line(end)
    }

    /// The other end may be gone, which whoever reads it is told. A signal that there is no room for is dropped: the guard
    /// reads nothing any more while it takes all down, and the front has more to see to.
    pub(crate) fn say(&self, message: &Message) {
        let mut flags = SendFlags::NOSIGNAL;
        if matches!(message, Message::Pass { .. }) {
            flags |= SendFlags::DONTWAIT;
        }
        let _ = send(&self.0, &message.to_bytes(), flags);
    }

    pub(crate) fn hear(&self) -> Heard {
        let mut bytes = [0; LONGEST];
        let mut asked_again = false;
        loop {
            match recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) if !asked_again => {
                    // Not the end yet. The kernel looks into the queue first and for the other's end second, so what was said
                    // in between is still there; and that the other has left something of ours unread is told before what it
                    // said last.
                    asked_again = true;
                }
                Ok((_, 0)) => return Heard::End,
                Ok((_, length)) => {
                    let message = Message::of(&bytes[..length]);
                    return message.map_or(Heard::Noise, Heard::Message);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Heard::Nothing,
                Err(_) => return Heard::End,
            }
        }
    }

    /// Takes one datagram away.
    pub(crate) fn skip(&self) {
        let _ = recv(&self.0, &mut [0; 64][..], RecvFlags::DONTWAIT);
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Message {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend(number.to_le_bytes());
        let signed = |number: i32| u64::from(number.cast_unsigned());
        match self {
            Message::Ready => put(1),
            Message::Pass { signal, when } => {
                put(2);
                put(signed(*signal));
                put(*when as u64);
            }
            Message::KillAll => put(3),
            Message::Runs(os_pid) => {
                put(RUNS.into());
                put(os_pid.get().into());
            }
            Message::Ended(ended) => {
                put(5);
                put(ended.status.is_some().into());
                let status = ended.status.unwrap_or(OsStatus {
                    si_code: 0,
                    si_status: 0,
                });
                put(signed(status.si_code));
                put(signed(status.si_status));
                put(u64::try_from(ended.used.time.as_micros()).unwrap_or(u64::MAX));
                put(ended.used.peak);
                put(ended.count.into());
                put(ended.left.len().min(NAMED) as u64);
                for left in ended.left.iter().take(NAMED) {
                    put(left.os_pid.get().into());
                    let name = left.name.as_bytes();
                    // The kernel's names have 15 bytes at the most, but for what is not UTF-8, which has grown.
                    let name = &name[..name.len().min(64)];
                    put(name.len() as u64);
                    for byte in name {
                        put((*byte).into());
                    }
                }
            }
        }
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Message> {
        let mut numbers = bytes
            .chunks_exact(8)
            .filter_map(|chunk| chunk.try_into().ok().map(u64::from_le_bytes));
        let mut next = || numbers.next();
        let signed = |number: u64| u32::try_from(number).ok().map(u32::cast_signed);
        let pid = |number: u64| u32::try_from(number).ok().map(OsPid::new);
        Some(match next()? {
            1 => Message::Ready,
            2 => Message::Pass {
                signal: signed(next()?)?,
                when: match next()? {
                    0 => When::Always,
                    1 => When::NotInGroup,
                    _ => When::NotStopped,
                },
            },
            3 => Message::KillAll,
            runs if runs == u64::from(RUNS) => Message::Runs(pid(next()?)?),
            5 => {
                let known = next()? != 0;
                let status = OsStatus {
                    si_code: signed(next()?)?,
                    si_status: signed(next()?)?,
                };
                let used = Used {
                    time: Duration::from_micros(next()?),
                    peak: next()?,
                };
                let count = u32::try_from(next()?).ok()?;
                let mut left = Vec::new();
                for _ in 0..next()?.min(NAMED as u64) {
                    let os_pid = pid(next()?)?;
                    let mut name = Vec::new();
                    for _ in 0..next()?.min(64) {
                        name.push(u8::try_from(next()?).ok()?);
                    }
                    let name = String::from_utf8_lossy(&name).into_owned();
                    left.push(Left { os_pid, name });
                }
                Message::Ended(Ended {
                    status: known.then_some(status),
                    used,
                    count,
                    left,
                })
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let kind = SocketType::SEQPACKET;
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn message(line: &Line) -> Message {
        match line.hear() {
            Heard::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn left(number: u32, name: &str) -> Left {
        Left {
            os_pid: OsPid::new(number),
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let (one, other) = pair();
        let (one, other) = (Line::new(one), Line::new(other));
        let ended = Ended {
            status: Some(OsStatus {
                si_code: 2,
                si_status: 9,
            }),
            used: Used {
                time: Duration::from_micros(5),
                peak: 1 << 40,
            },
            count: 2,
            left: vec![left(7, "sleep"), left(8, "")],
        };
        for said in [
            Message::Ready,
            Message::Pass {
                signal: 64,
                when: When::NotInGroup,
            },
            Message::Pass {
                signal: 1,
                when: When::NotStopped,
            },
            Message::KillAll,
            Message::Runs(OsPid::new(4_194_304)),
            Message::Ended(Ended::default()),
            Message::Ended(ended),
        ] {
            one.say(&said);
            assert_eq!(message(&other), said);
        }
        assert!(matches!(other.hear(), Heard::Nothing));
        drop(one);
        assert!(matches!(other.hear(), Heard::End));
    }

    #[test]
    fn what_was_said_last_is_heard_though_the_other_has_left_something_unread() {
        let (one, other) = pair();
        let (one, other) = (Line::new(one), Line::new(other));
        other.say(&Message::Ready);
        one.say(&Message::KillAll);
        drop(one);
        assert_eq!(message(&other), Message::KillAll);
        assert!(matches!(other.hear(), Heard::End));
    }

    /// It would wait for ever.
    #[test]
    fn signals_that_nobody_takes_are_dropped() {
        let (one, _other) = pair();
        let pass = Message::Pass {
            signal: 1,
            when: When::Always,
        };
        let one = Line::new(one);
        for _ in 0..10_000 {
            one.say(&pass);
        }
    }

    #[test]
    fn as_many_as_there_may_be_fit() {
        let (one, other) = pair();
        let (one, other) = (Line::new(one), Line::new(other));
        let said = Message::Ended(Ended {
            count: 1_000,
            left: vec![left(1, "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"); NAMED],
            ..Ended::default()
        });
        one.say(&said);
        assert_eq!(message(&other), said);
    }

    #[test]
    fn the_number_of_the_program_is_one_of_the_messages() {
        let (one, other) = pair();
        tell_program(&one, rustix::process::getpid());
        assert_eq!(message(&Line::new(other)), Message::Runs(OsPid::own()));
    }

    #[test]
    fn what_makes_no_sense_is_noise() {
        let (one, other) = pair();
        let other = Line::new(other);
        for bytes in [&b"x"[..], &[0; 8], &[2; 16], &[5, 0, 0, 0, 0, 0, 0, 0]] {
            send(&one, bytes, SendFlags::empty()).unwrap();
            assert!(matches!(other.hear(), Heard::Noise), "{bytes:?}");
        }
    }
}
