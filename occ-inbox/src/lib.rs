//! One queue for everything that a process is sent, and selective receive from it.
//!
//! - [`Pid`] names a process, for ever and on every machine.
//! - [`Inbox`] holds the connections to a process's peers and one queue for all of them. Its user never
//!   sees a connection: [`Inbox::send`] makes one where there is none.
//! - [`Connector`] is where connections come from. A coordinator may be one; [`Wired`] is one for processes that
//!   are connected already; a program with a scheme of its own makes its own.
//!
//! [`Inbox::receive`] takes the oldest message of a type, [`Inbox::receive_where`] the oldest that a
//! closure accepts, [`Inbox::receive_any`] the oldest of all; what is not taken stays, in order.
//!
//! ```
//! use occ_inbox::{Inbox, Pid, Socket, Wired};
//!
//! let [alice, bob] = [1, 2].map(|serial| Pid { node: 0, incarnation: 0, serial });
//! let (to_bob, to_alice) = Socket::pair()?;
//! let mut alices = Inbox::new(alice, Wired::new([(bob, to_bob)])?)?;
//! let mut bobs = Inbox::new(bob, Wired::new([(alice, to_alice)])?)?;
//!
//! alices.send(bob, &"good morning".to_string())?;
//! alices.send(bob, &(alice, 42))?;
//!
//! let (from, number): (Pid, i32) = bobs.receive()?;
//! assert_eq!((from, number), (alice, 42));
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
mod wait;
mod wired;

pub use connector::{Connector, Event, Lost, Refusal, Standing};
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
pub use wired::Wired;

pub use occ_sck::{Address, AddressError, PeerCredentials};
pub use occ_sck::{Bytes, Deadline, DecodeError, EncodeError, Envelope, Fd, Socket, Term};
