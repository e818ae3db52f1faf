//! The notice of an end.

use occ_sck::{Address, DecodeError};

use crate::message::{Message, Receive};
use crate::pid::Pid;

/// A connection has ended: the peer has closed its inbox, or died, or broken the rules.
///
/// It comes from the inbox itself, for who [asks for it](crate::Inbox::notify_disconnects), and stands behind the last message
/// that came on the connection. Nobody can send one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnected {
    /// Who was at the other end.
    pub pid: Pid,
    /// Where that one listens, or did.
    pub address: Address,
}

impl Receive for Disconnected {
    fn from_message(message: &Message) -> Result<Disconnected, DecodeError> {
        message.decode_system()
    }
}
