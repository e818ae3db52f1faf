//! Where a listener is: a path, an abstract name, or a TCP address; and how that is written.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::connection_error::AddressError;

/// Most bytes of a path or of an abstract name: what `struct sockaddr_un` has room for, less a zero byte (unix(7)).
const MAX_UNIX: usize = 107;

/// Where a [`Listener`](crate::Listener) is, and what carries the connections to it: byte streams, or for a Unix address
/// also `SOCK_SEQPACKET`.
///
/// | text | what |
/// |---|---|
/// | `unix:/run/x.sock` | a path, with byte streams |
/// | `unix:@name` | an abstract name, with byte streams |
/// | `seqpacket:/run/x.sock`, `seqpacket:@name` | the same, with `SOCK_SEQPACKET` |
/// | `tcp:127.0.0.1:80`, `tcp:[::1]:80` | TCP |
///
/// In a path or name `\\` is a backslash and `\x40` a byte, so that each has a text, and each text that is displayed is
/// parsed to the same address.
///
/// ```
/// use occ_sck::Address;
///
/// let address: Address = "unix:/run/x.sock".parse()?;
/// assert_eq!(address, Address::path("/run/x.sock")?);
/// assert_eq!(address.seqpacket()?.to_string(), "seqpacket:/run/x.sock");
/// assert_eq!(Address::abstract_name("a name")?.to_string(), "unix:@a name");
///
/// let error = "tcp:localhost:80".parse::<Address>().unwrap_err();
/// assert!(error.to_string().contains("expected an IP address and a port"));
/// # Ok::<(), occ_sck::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    place: Place,
    seqpacket: bool,
}

/// A place that was checked when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Path(PathBuf),
    Abstract(Vec<u8>),
    Tcp(SocketAddr),
}

impl Address {
    /// A path in the file system.
    ///
    /// # Errors
    ///
    /// No byte, more than 107, or a zero byte among them.
    pub fn path(path: impl AsRef<Path>) -> Result<Address, AddressError> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        check_len("path", bytes)?;
        if bytes.contains(&0) {
            return Err(AddressError::Nul { path: path.into() });
        }
        Ok(Place::Path(path.to_owned()).into())
    }

    /// A name in the abstract namespace, which no file stands for and which ends with its socket (unix(7)). Whoever is
    /// in the same network namespace can connect to it.
    ///
    /// # Errors
    ///
    /// No byte, or more than 107.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Result<Address, AddressError> {
        let name = name.as_ref();
        check_len("abstract name", name)?;
        Ok(Place::Abstract(name.to_owned()).into())
    }

    /// The same Unix address, with `SOCK_SEQPACKET` for its carrier.
    ///
    /// # Errors
    ///
    /// TCP has no such thing.
    pub fn seqpacket(self) -> Result<Address, AddressError> {
        if let Place::Tcp(address) = self.place {
            return Err(AddressError::SeqpacketTcp { address });
        }
        Ok(Address {
            seqpacket: true,
            ..self
        })
    }

    /// The path, if it is one.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, if it is one, without the zero byte before it.
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Abstract(name) => Some(name),
            _ => None,
        }
    }

    /// The TCP address, if it is one.
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            _ => None,
        }
    }

    /// True where the carrier is `SOCK_SEQPACKET`.
    pub fn is_seqpacket(&self) -> bool {
        self.seqpacket
    }

    pub(crate) fn family(&self) -> AddressFamily {
        match self.place {
            Place::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Place::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Place::Path(_) | Place::Abstract(_) => AddressFamily::UNIX,
        }
    }

    pub(crate) fn socket_type(&self) -> SocketType {
        match self.seqpacket {
            true => SocketType::SEQPACKET,
            false => SocketType::STREAM,
        }
    }

    /// What the kernel tells of a socket; `None` for one without a name. Of the carrier it says nothing.
    pub(crate) fn of_kernel(address: SocketAddrAny) -> Option<Address> {
        if let Ok(unix) = SocketAddrUnix::try_from(address.clone()) {
            if let Some(name) = unix.abstract_name() {
                return Address::abstract_name(name).ok();
            }
            return Address::path(OsStr::from_bytes(unix.path_bytes()?)).ok();
        }
        Some(SocketAddr::try_from(address).ok()?.into())
    }

    /// As bind(2) and connect(2) take it.
    pub(crate) fn to_rustix(&self) -> rustix::io::Result<SocketAddrAny> {
        Ok(match &self.place {
            Place::Path(path) => SocketAddrUnix::new(path.as_path())?.into(),
            Place::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?.into(),
            Place::Tcp(address) => (*address).into(),
        })
    }
}

fn check_len(what: &'static str, bytes: &[u8]) -> Result<(), AddressError> {
    let len = bytes.len();
    if (1..=MAX_UNIX).contains(&len) {
        return Ok(());
    }
    let limit = MAX_UNIX;
    Err(AddressError::Length { what, len, limit })
}

impl From<Place> for Address {
    fn from(place: Place) -> Address {
        let seqpacket = false;
        Address { place, seqpacket }
    }
}

impl From<SocketAddr> for Address {
    /// A TCP address. With port 0 a listener has one that is free: [`Listener::address`](crate::Listener::address) says
    /// which.
    fn from(address: SocketAddr) -> Address {
        Place::Tcp(address).into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.seqpacket { "seqpacket" } else { "unix" };
        match &self.place {
            Place::Path(path) => {
                write!(f, "{scheme}:")?;
                let bytes = path.as_os_str().as_bytes();
                match bytes.strip_prefix(b"@") {
                    // Else it would be an abstract name.
                    Some(rest) => f.write_str(r"\x40").and_then(|()| escape(rest, f)),
                    None => escape(bytes, f),
                }
            }
            Place::Abstract(name) => {
                write!(f, "{scheme}:@")?;
                escape(name, f)
            }
            Place::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Text as it is, and all else as `\xNN`.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => f.write_str(r"\\")?,
                char if char.is_control() => {
                    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                        write!(f, r"\x{byte:02x}")?;
                    }
                }
                char => write!(f, "{char}")?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, r"\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn unescape(text: &str) -> Result<Vec<u8>, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    return Err(AddressError::Escape { text: text.into() });
                };
                ((high * 16 + low) as u8, after)
            }
            (b'\\', _) => return Err(AddressError::Escape { text: text.into() }),
            (byte, after) => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let unix = |place: &str| match place.strip_prefix('@') {
            Some(name) => Address::abstract_name(unescape(name)?),
            None => Address::path(PathBuf::from(OsString::from_vec(unescape(place)?))),
        };
        match text.split_once(':') {
            Some(("unix", place)) => unix(place),
            Some(("seqpacket", place)) => unix(place)?.seqpacket(),
            Some(("tcp", place)) => match place.parse::<SocketAddr>() {
                Ok(address) => Ok(address.into()),
                Err(_) => Err(AddressError::Tcp { text: place.into() }),
            },
            _ => Err(AddressError::Scheme { text: text.into() }),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
