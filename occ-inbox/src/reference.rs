//! Marks in the inbox: what is younger than a question cannot stand before it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pid::Pid;

/// A name for a question, as Erlang's reference: no other is like it, in this process or elsewhere.
///
/// It goes with the question and comes back with the reply, and [`Inbox::since`](crate::Inbox::since) looks for the reply
/// among those messages alone that have arrived since the reference was made, however many wait before them.
///
/// ```
/// use occ_inbox::{Inbox, Pid, Ref, Socket, Wired};
///
/// let [client, server] = [1, 2].map(|serial| Pid { node: 0, incarnation: 0, serial });
/// let (to_server, to_client) = Socket::pair()?;
/// let mut clients = Inbox::new(client, Wired::new([(server, to_server)])?)?;
/// let mut servers = Inbox::new(server, Wired::new([(client, to_client)])?)?;
///
/// let question = clients.make_ref();
/// clients.send(server, &(question, 20_u32))?;
///
/// let (tag, number): (Ref, u32) = servers.receive()?;
/// servers.send(client, &(tag, number + 1))?;
///
/// let (_, reply) = clients
///     .since(question)
///     .receive_where(|(tag, _): &(Ref, u32)| *tag == question)?;
/// assert_eq!(reply, 21);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref {
    /// Who made it.
    of: Pid,
    /// Its place in the inbox of that one, where there is no message.
    place: u64,
}

impl Ref {
    pub(crate) fn new(of: Pid, place: u64) -> Ref {
        Ref { of, place }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pid { node, serial, .. } = self.of;
        write!(f, "#Ref<{node}.{serial}.{}>", self.place)
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A moment in the life of an inbox: what has arrived since is younger.
///
/// A [`Ref`] is one, for whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose; `None` where whoever has it can be nobody else.
    of: Option<Pid>,
    place: u64,
}

impl Mark {
    /// The mark of something that was numbered by [`Inbox::pass`](crate::Inbox::pass).
    pub fn numbered(number: u64) -> Mark {
        Mark {
            of: None,
            place: number,
        }
    }

    /// From where on the process `me` has to look.
    pub(crate) fn place_for(self, me: Pid) -> u64 {
        match self.of {
            // It says nothing of the order of things here.
            Some(of) if of != me => 0,
            _ => self.place,
        }
    }
}

impl From<Ref> for Mark {
    fn from(reference: Ref) -> Mark {
        Mark {
            of: Some(reference.of),
            place: reference.place,
        }
    }
}
