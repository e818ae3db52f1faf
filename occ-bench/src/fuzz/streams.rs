//! Byte streams: what cuts datagrams out of them, and a channel over one, of Unix or TCP, whose peer sends what it likes, in pieces.
//!
//! What comes out is compared with what stands there: a frame behind each head, one after the other, whatever the pieces are.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use occ_sck::{
    Assembler, Channel, ChannelError, Cutter, FrameError, HEADER, Limits, MAX_DATAGRAM, MAX_FDS,
    ReceiveError, STREAM_HEAD,
};
use occasional::OsPid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg, shutdown, socketpair};

use super::frames::{LIMIT, OF_A_MESSAGE, check};
use super::traffic::{Datagram, Gift, Traffic};
use crate::machine::open_fds;
use crate::sys::watch_memory;

/// Most memory that what has arrived and is not cut out may take, whatever a head says.
const OF_A_STREAM: usize = (256 + 4) << 10;

/// The way in which it was taken or refused, or what is wrong.
pub(crate) fn examine(traffic: &Traffic) -> Result<String, String> {
    let fds = || open_fds(OsPid::own()).map_err(|error| format!("{error:#}"));
    let before = fds()?;
    let stream = Stream::of(traffic);
    let (cut, taken) = watch_memory(|| cut(traffic, &stream));
    let cut = cut?;
    if taken.at_once > OF_A_STREAM {
        return Err(format!("a stream takes {taken:?}"));
    }
    let limits = match stream.bytes.len() % 2 {
        0 => Limits { message: LIMIT },
        _ => Limits::default(),
    };
    let received = receive(traffic, &stream, limits, Carrier::of(traffic, &stream))?;
    let left = fds()?.saturating_sub(before);
    if left > 0 {
        return Err(format!("{left} descriptors are left"));
    }
    Ok(format!("{cut} / {received}"))
}

/// Pieces that can be sent: descriptors travel with a byte.
fn pieces(traffic: &Traffic) -> impl Iterator<Item = &Datagram> {
    traffic.iter().filter(|piece| !piece.bytes.is_empty())
}

fn open(gifts: &[Gift]) -> Result<Vec<OwnedFd>, String> {
    let fds: Result<_, _> = gifts.iter().map(|gift| gift.open()).collect();
    fds.map_err(|error| format!("no descriptor to send: {error}"))
}

/// All bytes, and what stands there.
#[derive(Debug)]
struct Stream {
    bytes: Vec<u8>,
    /// Frames that are whole, without their heads.
    frames: Vec<Range<usize>>,
    /// Descriptors that come with each of those.
    gifts: Vec<Vec<Gift>>,
    end: End,
    /// All descriptors come where they are announced, and as many.
    is_announced: bool,
}

/// What comes after the last frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    APart,
    /// A head that no frame has.
    NoHead,
}

impl Stream {
    fn of(traffic: &Traffic) -> Stream {
        let mut stream = Stream {
            bytes: Vec::new(),
            frames: Vec::new(),
            gifts: Vec::new(),
            end: End::Nothing,
            is_announced: true,
        };
        let mut gifts: Vec<(usize, &[Gift])> = Vec::new();
        for piece in pieces(traffic) {
            if !piece.gifts.is_empty() {
                gifts.push((stream.bytes.len(), &piece.gifts));
            }
            stream.bytes.extend_from_slice(&piece.bytes);
        }

        let (mut at, mut gifts) = (0, gifts.into_iter().peekable());
        loop {
            let rest = &stream.bytes[at..];
            let Some((head, rest)) = rest.split_first_chunk::<STREAM_HEAD>() else {
                stream.end = match rest.is_empty() {
                    true => End::Nothing,
                    false => End::APart,
                };
                break;
            };
            let [a, b, c, d, e, f] = *head;
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            if !(HEADER..=MAX_DATAGRAM).contains(&len) {
                stream.end = End::NoHead;
                break;
            }
            let here = gifts.next_if(|(place, _)| *place == at);
            let here = here.map_or(&[][..], |(_, gifts)| gifts);
            stream.is_announced &= here.len() == usize::from(u16::from_le_bytes([e, f]));
            if rest.len() < len {
                stream.end = End::APart;
                break;
            }
            at += STREAM_HEAD;
            stream.frames.push(at..at + len);
            stream.gifts.push(here.to_vec());
            at += len;
        }
        stream.is_announced &= gifts.next().is_none();
        stream
    }

    /// Descriptors that the head of a frame announces.
    fn announced(&self, frame: usize) -> usize {
        let end = self.frames[frame].start;
        usize::from(u16::from_le_bytes([
            self.bytes[end - 2],
            self.bytes[end - 1],
        ]))
    }

    /// What is to come of it as messages of these names, and whether it is broken then.
    fn messages(&self, limits: Limits) -> Result<(Vec<String>, bool), String> {
        let mut assembler = Assembler::new(limits);
        let mut names = Vec::new();
        for (frame, gifts) in self.frames.iter().zip(&self.gifts) {
            match assembler.push(&self.bytes[frame.clone()], open(gifts)?) {
                Ok(whole) => {
                    names.extend(whole.map(|envelope| envelope.type_name().to_owned()));
                }
                Err(_) => return Ok((names, true)),
            }
        }
        Ok((names, self.end == End::NoHead))
    }
}

/// Puts the pieces in as they are, and looks at each datagram that comes out.
fn cut(traffic: &Traffic, stream: &Stream) -> Result<String, String> {
    let mut cutter = Cutter::new();
    let (mut count, mut lost) = (0, 0);
    let refused = |error: FrameError| match stream.is_announced && stream.end != End::NoHead {
        true => Err(format!("what is right is refused: {error}")),
        false => Ok(way_of(&error)),
    };
    for piece in pieces(traffic) {
        let mut fds = Some(open(&piece.gifts)?).filter(|fds| !fds.is_empty());
        // As if there had been no room for them.
        let is_lost = piece.bytes.len() % 5 == 4;
        let mut left = &piece.bytes[..];
        while !left.is_empty() {
            let room = cutter.room();
            let (now, rest) = left.split_at(left.len().min(room.len()));
            if now.is_empty() {
                return Err("there is no room, and nothing can be cut out".to_owned());
            }
            room[..now.len()].copy_from_slice(now);
            left = rest;
            let filled = match fds.take() {
                Some(_) if is_lost => cutter.filled_and_fds_lost(now.len()),
                fds => cutter.filled(now.len(), fds.unwrap_or_default()),
            };
            if let Err(error) = filled {
                return refused(error);
            }
            loop {
                match cutter.cut() {
                    Ok(None) => break,
                    Ok(Some((datagram, fds))) => {
                        let frame = stream.frames.get(count).cloned();
                        if frame.is_none_or(|frame| *datagram != stream.bytes[frame]) {
                            return Err(format!("datagram {count} is another"));
                        }
                        // Also where they come otherwise: whatever is given is what its head says.
                        if fds.len() != stream.announced(count) {
                            return Err(format!("datagram {count} has {} descriptors", fds.len()));
                        }
                    }
                    // With the datagram that they belong to.
                    Err(FrameError::FdsLost) => lost += 1,
                    Err(error) => return refused(error),
                }
                count += 1;
            }
        }
    }
    if count != stream.frames.len() || stream.end == End::NoHead {
        return Err(format!("{count} datagrams, and no error, of {stream:?}"));
    }
    if cutter.is_partial() != (stream.end == End::APart) {
        return Err(format!("it is partial: {}", cutter.is_partial()));
    }
    Ok(format!("{lost} lost"))
}

/// An error without its numbers.
fn way_of(error: &FrameError) -> String {
    let words = format!("{error:?}");
    words.split(' ').next().unwrap_or_default().to_owned()
}

/// What the bytes travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Unix,
    /// Which carries no descriptors.
    Tcp,
}

impl Carrier {
    /// Always the same for the same traffic, so that what is found is found again.
    fn of(traffic: &Traffic, stream: &Stream) -> Carrier {
        let has_gifts = pieces(traffic).any(|piece| !piece.gifts.is_empty());
        match !has_gifts && stream.bytes.len() % 4 == 3 {
            true => Carrier::Tcp,
            false => Carrier::Unix,
        }
    }

    /// How long what was sent may be on its way: longer than it takes on a machine that is too busy for anything, because whoever
    /// hangs is found by the watchdog.
    fn a_moment(self) -> Duration {
        match self {
            Carrier::Unix => Duration::ZERO,
            Carrier::Tcp => Duration::from_secs(3600),
        }
    }

    fn pair(self) -> std::io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        match self {
            Carrier::Unix => Ok(socketpair(
                AddressFamily::UNIX,
                SocketType::STREAM,
                flags,
                None,
            )?),
            Carrier::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let theirs = TcpStream::connect(listener.local_addr()?)?;
                let (ours, _) = listener.accept()?;
                theirs.set_nodelay(true)?;
                // When it is closed nothing is left of it: else each keeps a port for a minute, and there are not that many.
                set_socket_linger(&theirs, Some(Duration::ZERO))?;
                Ok((theirs.into(), ours.into()))
            }
        }
    }
}

/// What a channel has given.
struct Taken {
    channel: Channel,
    limits: Limits,
    /// Each value is asked for as a number.
    is_typed: bool,
    names: Vec<String>,
    count: usize,
    broken: Option<FrameError>,
    has_ended: bool,
    ways: String,
}

/// Sends the pieces to a channel.
fn receive(
    traffic: &Traffic,
    stream: &Stream,
    limits: Limits,
    carrier: Carrier,
) -> Result<String, String> {
    let pair = carrier.pair();
    let (theirs, ours) = pair.map_err(|error| format!("no sockets: {error}"))?;
    let channel = Channel::from_fd(ours, limits).map_err(|error| format!("no channel: {error}"))?;
    let mut taken = Taken {
        channel,
        limits,
        is_typed: stream.bytes.len() % 8 == 1,
        names: Vec::new(),
        count: 0,
        broken: None,
        has_ended: false,
        ways: String::new(),
    };
    let mut is_announced = stream.is_announced;
    for piece in pieces(traffic) {
        match send(&theirs, piece, &mut taken, carrier)? {
            Sent::Whole => {}
            // The kernel lets a user have so many under way, in all processes together (unix(7)).
            Sent::WithoutFds => is_announced = false,
            Sent::Refused => break,
        }
        // Some wait until there is more.
        if piece.bytes.len() % 3 != 0 {
            taken.take_all(Duration::ZERO)?;
        }
    }
    if taken.broken.is_some() {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let goes_on = match carrier {
            Carrier::Unix => rustix::net::send(&theirs, &[0], flags) != Err(Errno::PIPE),
            // There it is told with the end, which may be on its way.
            Carrier::Tcp => {
                let mut fds = [PollFd::new(&theirs, PollFlags::RDHUP)];
                poll(&mut fds, None).is_err()
            }
        };
        if goes_on {
            return Err("it is broken, and its peer may go on".to_owned());
        }
    }
    // Of one that has gone all that it had sent is taken, too. Over TCP that is so only if it goes in an orderly way.
    if carrier == Carrier::Tcp || stream.bytes.len() % 7 > 2 {
        // The channel has closed before, or has not.
        let _ = shutdown(&theirs, Shutdown::Write);
        taken.take_all(carrier.a_moment())?;
    }
    drop(theirs);
    taken.take_all(Duration::ZERO)?;
    if !taken.has_ended {
        return Err("it does not end".to_owned());
    }
    taken.compare(stream, is_announced)
}

enum Sent {
    Whole,
    WithoutFds,
    /// Whoever was to receive it has closed.
    Refused,
}

/// Sends a piece; takes what has come where there is no room.
fn send(
    socket: &OwnedFd,
    Datagram { bytes, gifts }: &Datagram,
    taken: &mut Taken,
    carrier: Carrier,
) -> Result<Sent, String> {
    let fds = open(gifts)?;
    let mut fds: Vec<_> = fds.iter().map(AsFd::as_fd).take(MAX_FDS).collect();
    let (mut left, mut sent) = (&bytes[..], Sent::Whole);
    let mut tries = 0;
    while !left.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &[IoSlice::new(left)], &mut control, flags) {
            Ok(len) => {
                left = &left[len..];
                fds.clear();
                tries = 0;
            }
            Err(Errno::AGAIN) if carrier == Carrier::Tcp && taken.broken.is_some() => {
                return Ok(Sent::Refused);
            }
            Err(Errno::AGAIN) if carrier == Carrier::Tcp => {
                // What was sent may be on its way, and so may be the word that there is room.
                let mut fds = [
                    PollFd::new(socket, PollFlags::OUT),
                    PollFd::new(&taken.channel, PollFlags::IN),
                ];
                poll(&mut fds, None).map_err(|error| format!("poll: {error}"))?;
                taken.take_all(Duration::ZERO)?;
            }
            Err(Errno::AGAIN) if tries < 2 => {
                taken.take_all(Duration::ZERO)?;
                tries += 1;
            }
            Err(Errno::AGAIN) => return Err("it does not take what there is".to_owned()),
            Err(Errno::TOOMANYREFS) => {
                fds.clear();
                sent = Sent::WithoutFds;
            }
            Err(Errno::PIPE | Errno::CONNRESET) if taken.broken.is_some() => {
                return Ok(Sent::Refused);
            }
            Err(error) => return Err(format!("it cannot be sent: {error}")),
        }
    }
    Ok(sent)
}

impl Taken {
    /// Whatever is there, or comes before nothing has for so long.
    fn take_all(&mut self, limit: Duration) -> Result<(), String> {
        loop {
            let channel = &mut self.channel;
            let (received, memory) = match self.is_typed {
                true => {
                    let next = || channel.receive_timeout::<u64>(limit);
                    let (number, memory) = watch_memory(next);
                    (number.map(|number| number.map(|_| None)), memory)
                }
                false => {
                    let next = || channel.receive_any_timeout(limit);
                    let (envelope, memory) = watch_memory(next);
                    (envelope.map(|envelope| envelope.map(Some)), memory)
                }
            };
            // What has come of a message before, and what comes now.
            if memory.at_once > 2 * OF_A_MESSAGE + OF_A_STREAM {
                return Err(format!("a message takes {memory:?}"));
            }
            match received {
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(());
                }
                _ if self.has_ended => return Err(format!("after the end: {received:?}")),
                Err(ChannelError::TimedOut) => return Ok(()),
                Err(ChannelError::Receive(ReceiveError::Frame(error))) => {
                    if let Some(before) = self.broken.replace(error) {
                        return Err(format!("it is broken twice: {before:?}, {:?}", self.broken));
                    }
                }
                _ if self.broken.is_some() => {
                    return Err(format!("it goes on after an error: {received:?}"));
                }
                Ok(Some(envelope)) => {
                    self.count += 1;
                    match envelope {
                        None => self.ways.push_str("number "),
                        Some(envelope) => {
                            self.names.push(envelope.type_name().to_owned());
                            self.ways.push_str(&check(envelope, self.limits)?);
                        }
                    }
                }
                Err(ChannelError::Decode(_)) if self.is_typed => self.count += 1,
                Err(error) => return Err(format!("receive: {error:?}")),
            }
        }
    }

    /// With what was sent.
    fn compare(self, stream: &Stream, is_announced: bool) -> Result<String, String> {
        let is_broken = self.broken.is_some();
        if self.count > stream.frames.len() {
            return Err(format!("{} messages of {stream:?}", self.count));
        }
        if stream.end == End::NoHead && !is_broken {
            return Err(format!("not broken: {stream:?}"));
        }
        if is_announced {
            let (names, is_to_be_broken) = stream.messages(self.limits)?;
            if is_broken != is_to_be_broken {
                return Err(format!("it is broken: {:?}", self.broken));
            }
            if self.count != names.len() || !self.is_typed && self.names != names {
                let (count, received) = (self.count, self.names);
                return Err(format!(
                    "{count} messages were received, {received:?}, and not {names:?}"
                ));
            }
        }
        let broken = self.broken.as_ref().map(way_of).unwrap_or_default();
        Ok(self.ways + &broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::traffic::{Symbols, parse};

    fn read(text: &str) -> Traffic {
        parse(text, &Symbols::new()).unwrap()
    }

    #[test]
    fn what_stands_in_a_stream_is_known_beforehand() {
        for (text, frames, end, is_announced) in [
            ("00*0", 0, End::Nothing, true),
            ("stream frame 0 @u64 : 05", 1, End::Nothing, true),
            ("stream frame 0 @u64 : 05\n0a", 1, End::APart, true),
            ("28000000 0000 00*39", 0, End::APart, true),
            ("28000000 0000\n00*40 28", 1, End::APart, true),
            ("27000000 0000 00*39", 0, End::NoHead, true),
            ("ffffff7f 0000", 0, End::NoHead, true),
            ("stream frame 0 @u64 : 05 +null", 1, End::Nothing, true),
            ("28000000 0100 00*40", 1, End::Nothing, false),
            ("28000000 0000 00*40 +null", 1, End::Nothing, false),
            ("28000000 0200 +null\n00*40 +null", 1, End::Nothing, false),
            ("stream frame 0 @u64 : 05\n0a +null", 1, End::APart, false),
        ] {
            let stream = Stream::of(&read(text));
            assert_eq!(
                (stream.frames.len(), stream.end, stream.is_announced),
                (frames, end, is_announced),
                "{text}"
            );
            examine(&read(text)).unwrap_or_else(|what| panic!("{text}: {what}"));
        }
    }

    #[test]
    fn the_way_says_what_came_of_it() {
        for (text, expected) in [
            ("stream frame 0 @string : 0461626364", "0 lost / string "),
            // Of a length at which all are asked for as numbers.
            ("stream frame 0 @u64 : 80*7 01", "0 lost / number "),
            ("474554202f20485454502f312e310d0a", "TooLong / TooLong"),
            ("28000000 0100 00*40", "FdCount / FdCount"),
        ] {
            assert_eq!(examine(&read(text)).unwrap(), expected, "{text}");
        }
    }

    /// Over the one as over the other; and what carries no descriptors is not asked to.
    #[test]
    fn what_carries_it_makes_no_difference() {
        let mut over_tcp = 0;
        let long = format!("{}\nstream frame 0 @u64 : 05", "41*9000\n".repeat(200));
        // It is broken while much of it is on its way.
        let broken = "680401 00*9\n00*1754\n00*64904 6804010041 00*66665\n7d0401 00*32369 01 00*34275\n00*43";
        for text in [
            "stream frame 0 @string : 0461626364",
            "stream frame 0 @u64 : 80*7 01",
            "474554202f20485454502f312e310d0a",
            "28000000 0100 00*40",
            "stream frame 0 @u64 : 05\n0a",
            "stream frame 0 @u64 : 05 +null",
            "00*3",
            broken,
            &long,
        ] {
            let traffic = read(text);
            let stream = Stream::of(&traffic);
            let over = |carrier| receive(&traffic, &stream, Limits::default(), carrier);
            over_tcp += u32::from(Carrier::of(&traffic, &stream) == Carrier::Tcp);
            if text.contains('+') {
                assert_eq!(Carrier::of(&traffic, &stream), Carrier::Unix);
                continue;
            }
            let both = [Carrier::Unix, Carrier::Tcp].map(over);
            assert!(both[0].is_ok(), "{text}: {both:?}");
            assert_eq!(both[0], both[1], "{text}");
        }
        assert!(over_tcp > 0);
    }

    /// Whatever comes otherwise than it was sent is a finding.
    #[test]
    fn a_message_that_does_not_come_or_was_not_sent_is_seen() {
        let [one, two, broken] = [
            "stream frame 0 @string : 0161",
            "stream frame 0 @string : 0161\nstream frame 0 @string : 0162",
            "stream frame 0 @string : 0161\n00*6",
        ]
        .map(read);
        for (sent, told) in [(&one, &two), (&two, &one), (&one, &broken), (&broken, &one)] {
            let (told, limits) = (Stream::of(told), Limits::default());
            for carrier in [Carrier::Unix, Carrier::Tcp] {
                assert!(receive(sent, &Stream::of(sent), limits, carrier).is_ok());
                assert!(receive(sent, &told, limits, carrier).is_err());
            }
            assert!(cut(sent, &told).is_err());
        }
        let other = Stream::of(&read("stream frame 0 @string : 0162"));
        assert!(cut(&one, &other).is_err());
    }
}
