//! One queue for everything that a process is sent, and selective receive from it.
//!
//! - [`Inbox`] holds the connections to a process's peers and one queue for all of them. Its user never
//!   sees a connection: [`Inbox::send`] makes one where there is none.
//! - [`Inbox::listen`] opens one at an [`Address`] that anybody can send to, in this program or another.
//! - [`Pid`] names who has one. Of an inbox that listens it follows from the address; those that a coordinator gives are
//!   never another's.
//! - [`Connector`] is where connections come from. [`Listening`] is one, and a coordinator may be; [`Wired`] is one for processes that
//!   are connected already; a program with a scheme of its own makes its own.
//!
//! [`Inbox::receive`] takes the oldest message of a type, [`Inbox::receive_where`] the oldest that a
//! closure accepts, [`Inbox::receive_any`] the oldest of all; what is not taken stays, in order.
//!
//! ```
//! use occ_inbox::Inbox;
//!
//! let mut alices = Inbox::listen_anywhere()?;
//! let mut bobs = Inbox::listen_anywhere()?;
//!
//! alices.send_to(&bobs.address(), &"good morning".to_string())?;
//! alices.send_to(&bobs.address(), &(alices.address(), 42))?;
//!
//! let (from, number): (occ_inbox::Address, i32) = bobs.receive()?;
//! assert_eq!((from, number), (alices.address(), 42));
//! let greeting: String = bobs.receive()?;
//! assert_eq!(greeting, "good morning");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod connector;
mod core;
mod error;
mod flow;
mod handle;
mod hold;
mod home;
mod inbox;
mod info;
mod listening;
mod message;
mod news;
mod peer;
mod pid;
mod pump;
mod queue;
mod receive;
mod reference;
#[doc(hidden)]
pub mod select;
mod send;
mod sent;
mod since;
mod site;
mod spin;
mod tally;
mod wait;
mod wired;

pub use connector::{Connector, Event, Lost, NotAsked, Refusal, Standing};
pub use error::{ReceiveError, SendError};
pub use flow::{InboxLimits, Policy};
pub use handle::Handle;
pub use hold::ConnectorGuard;
pub use inbox::Inbox;
pub use info::{InboxInfo, OldestInfo, PeerInfo, TypeInfo};
pub use listening::{Disconnected, ListenError, Listening};
pub use message::{Message, Receive};
pub use pid::Pid;
pub use reference::{Mark, Ref};
pub use since::Since;
pub use tally::Tallies;
pub use wired::Wired;

pub use occ_sck::{Address, AddressError, PeerCredentials};
pub use occ_sck::{Bytes, Deadline, DecodeError, EncodeError, Envelope, Fd, Socket, Term};
