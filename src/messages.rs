//! Messages: sending them, and taking them out of the inbox.

use std::os::fd::OwnedFd;
use std::time::Duration;

use occ_core::current;
use occ_core::{
    Handle, InboxInfo, InboxLimits, Message, Pid, Process, Receive, ReceiveError, Ref, SendError,
    Term,
};

/// Sends `value` to the process `to`. Waits while that one has no room for it, and takes in what others send
/// meanwhile, so that two processes that send to each other do not wait for ever.
///
/// # Errors
///
/// See [`SendError`]. A message that was sent may still go unread: a process that dies with it in its inbox
/// is found out by a monitor, not here.
pub fn send<T: Term>(to: Pid, value: T) -> Result<(), SendError> {
    sending(|process| process.send(to, &value))
}

/// Sends `value` to `to` if there is room for it now.
///
/// # Errors
///
/// As [`send`], and [`SendError::Full`].
pub fn try_send<T: Term>(to: Pid, value: T) -> Result<(), SendError> {
    sending(|process| process.try_send(to, &value))
}

/// Sends `value` to `to` if there is room for it within `limit`.
///
/// # Errors
///
/// As [`send`], and [`SendError::Full`].
pub fn send_timeout<T: Term>(to: Pid, value: T, limit: Duration) -> Result<(), SendError> {
    sending(|process| process.send_timeout(to, &value, limit))
}

/// Receives the oldest `T` in the inbox; waits for one. What is of another type stays, in order.
///
/// # Errors
///
/// A `T` that cannot be decoded is consumed, and the next can be received. [`ReceiveError::SystemDown`] when none
/// is there and none will come.
pub fn receive<T: Receive>() -> Result<T, ReceiveError> {
    receiving(Process::receive)
}

/// Receives the oldest `T`, if there is one within `limit`; zero takes what is here already.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_timeout<T: Receive>(limit: Duration) -> Result<Option<T>, ReceiveError> {
    receiving(|process| process.receive_timeout(limit))
}

/// Receives the oldest `T` that `accept` says yes to; waits for one. Each message is offered once, and a
/// panic in `accept` loses nothing.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_where<T: Receive>(accept: impl FnMut(&T) -> bool) -> Result<T, ReceiveError> {
    receiving(|process| process.receive_where(accept))
}

/// As [`receive_where`], within `limit`.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_where_timeout<T: Receive>(
    limit: Duration,
    accept: impl FnMut(&T) -> bool,
) -> Result<Option<T>, ReceiveError> {
    receiving(|process| process.receive_where_timeout(limit, accept))
}

/// Receives the oldest message of any type; waits for one.
///
/// # Errors
///
/// As [`receive`](fn@receive); decoding is up to the caller.
pub fn receive_any() -> Result<Message, ReceiveError> {
    receiving(Process::receive_any)
}

/// As [`receive_any`], within `limit`.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_any_timeout(limit: Duration) -> Result<Option<Message>, ReceiveError> {
    receiving(|process| process.receive_any_timeout(limit))
}

/// Receives the oldest message that `pick` makes something of; waits for one. Each message is offered
/// once, and a panic in `pick` loses nothing.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_map<R>(pick: impl FnMut(&Message) -> Option<R>) -> Result<R, ReceiveError> {
    receiving(|process| process.receive_map(pick))
}

/// As [`receive_map`], within `limit`.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn receive_map_timeout<R>(
    limit: Duration,
    pick: impl FnMut(&Message) -> Option<R>,
) -> Result<Option<R>, ReceiveError> {
    receiving(|process| process.receive_map_timeout(limit, pick))
}

/// A handle, for other threads of the calling process to send by.
///
/// ```
/// use occasional::{handle, receive, self_pid};
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// let (me, handle) = (self_pid(), handle()?);
/// std::thread::spawn(move || handle.send(me, "from another thread".to_string()));
/// assert_eq!(receive::<String>()?, "from another thread");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`send`].
pub fn handle() -> Result<Handle, SendError> {
    current::with(Process::handle).map_err(SendError::from)?
}

/// What waits in the inbox of the calling process: how much of which types, what has waited longest, and from whom.
///
/// ```
/// use occasional::{inbox_info, self_pid, send};
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// send(self_pid(), "nobody receives this".to_string())?;
/// let info = inbox_info()?;
/// assert_eq!((info.messages, info.bytes), (1, 21));
/// assert_eq!(info.types[0].type_name, "alloc::string::String");
/// assert_eq!(info.oldest.map(|oldest| oldest.from), Some(self_pid()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn inbox_info() -> Result<InboxInfo, ReceiveError> {
    receiving(Process::inbox_info)
}

/// A descriptor of the inbox of the calling process, for who waits in an event loop of its own: readable when something has come.
/// [`tick`] brings that in, and then [`receive_any_timeout`] and its kin, with a limit of zero, give the messages.
///
/// It is a duplicate, good for as long as the process has its inbox. What is in memory already does not make it readable: look at that
/// first. When the system is down it stays readable, and [`tick`] says so.
///
/// ```
/// use std::time::Duration;
/// use occasional::{inbox_fd, receive_timeout, self_pid, send, tick};
///
/// # fn main() -> anyhow::Result<()> {
/// # let system = occasional::start()?;
/// let inbox = inbox_fd()?;
/// send(self_pid(), "hello".to_string())?;
/// // Where a loop would wait for `inbox`, among other things.
/// assert_eq!(tick()?, 1);
/// assert_eq!(receive_timeout::<String>(Duration::ZERO)?.as_deref(), Some("hello"));
/// # drop(inbox);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`receive`](fn@receive), and where there is no room for a descriptor.
pub fn inbox_fd() -> Result<OwnedFd, ReceiveError> {
    receiving(Process::inbox_fd)
}

/// Brings what has arrived into memory, without waiting, and says how many messages are there now. All that had arrived when it was
/// called is brought in, so an edge-triggered loop misses nothing.
///
/// # Errors
///
/// As [`receive`](fn@receive). What is in memory can still be received.
pub fn tick() -> Result<usize, ReceiveError> {
    receiving(Process::tick)
}

/// Looks for up to `limit` whether something has come before the calling process sleeps in a receive. Zero, as at first, is not at
/// all.
///
/// It is for who exchanges messages with somebody on another processor, and has one of its own: an answer then takes a tenth of the
/// time, and this process burns its processor meanwhile. It adapts: as long as answers take longer than the limit, it
/// does not look. 50 µs is a good limit.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn spin(limit: Duration) -> Result<(), ReceiveError> {
    receiving(|process| process.spin(limit))
}

/// Limits what waits in the inbox of the calling process, from now on. Once as much waits, only those senders are read on that
/// have less waiting than an equal share of it; for others it is as the [`Policy`](crate::Policy) says:
///
/// - `Block`: they wait.
/// - `Reject`: they do not wait, and their [`send`] is [`SendError::Full`], once the kernel has no room for them either.
/// - `End`: nobody waits, and the calling process ends, with an error that says how much there was. A program that
///   [started](crate::start) a system gets that error from its next receive.
///
/// What waits in memory is never more than twice the limits, or one message for each sender; what the kernel holds for
/// each sender, up to a MiB, comes on top. A process that waits for room elsewhere reads a MiB past its limits for each sender, so that
/// those who send to each other within their limits do not wait for ever. What it sends to itself counts, and waits for nothing; ends of
/// processes do not count.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn limit_inbox(limits: InboxLimits) -> Result<(), ReceiveError> {
    receiving(|process| process.limit_inbox(limits))
}

/// A new reference: a name for a question, which comes back with the reply. [`since`](crate::since) it, the reply is looked for only
/// among those messages that have arrived later than the reference was made.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn make_ref() -> Result<Ref, ReceiveError> {
    receiving(Process::make_ref)
}

/// Throws away everything that has arrived, and says how many messages that was.
///
/// # Errors
///
/// As [`receive`](fn@receive).
pub fn flush() -> Result<usize, ReceiveError> {
    receiving(Process::flush)
}

fn sending(act: impl FnOnce(&mut Process) -> Result<(), SendError>) -> Result<(), SendError> {
    current::with(act).map_err(SendError::from)?
}

pub(crate) fn receiving<R>(
    act: impl FnOnce(&mut Process) -> Result<R, ReceiveError>,
) -> Result<R, ReceiveError> {
    current::with(act).map_err(ReceiveError::from)?
}
