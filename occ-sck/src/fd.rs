//! A file descriptor as a value.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::carried;

/// Something open, anywhere in a value: a `File`, a `TcpStream`, a `UnixStream`, an `OwnedFd`, a
/// [`Socket`](crate::Socket).
///
/// Who sends it keeps it; who receives it has another descriptor of the same file, as from dup(2). When a
/// value is made ready to be sent, the packet takes duplicates, so that it does not matter what becomes of the value
/// afterwards. Each is closed once, also where the message is not received, not decoded or not of the type asked for.
///
/// The bytes of the value hold its number among the descriptors of the message, so it can travel only in a
/// [`Packet`](crate::Packet): with another serializer, or with [`encode_into`](crate::encode_into), it is an error. There may
/// be [`MAX_FDS`](crate::MAX_FDS) in a message, and one less where the value travels in a memory file.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// use occ_sck::{Channel, Fd};
///
/// let (mut a, mut b) = Channel::pair()?;
/// let (mut ours, theirs) = UnixStream::pair()?;
/// a.send(&("a connection".to_string(), Fd(theirs)))?;
///
/// let Some((what, stream)) = b.receive::<(String, Fd<UnixStream>)>()? else {
///     panic!("something was sent");
/// };
/// assert_eq!(what, "a connection");
/// stream.into_inner().write_all(b"hello")?;
/// let mut hello = [0; 5];
/// ours.read_exact(&mut hello)?;
/// assert_eq!(&hello, b"hello");
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Fd<T = OwnedFd>(pub T);

impl<T> Fd<T> {
    /// What is in it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: AsFd> Serialize for Fd<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = carried::take(self.0.as_fd()).map_err(ser::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Fd<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fd<T>, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let fd = carried::give(index).map_err(de::Error::custom)?;
        Ok(Fd(T::from(fd)))
    }
}

impl<T> From<T> for Fd<T> {
    fn from(open: T) -> Fd<T> {
        Fd(open)
    }
}

impl<T> Deref for Fd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fd<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fd").field(&self.0).finish()
    }
}
