//! Values: what may travel, how a type is told apart from another, and the bytes between.

use std::any::TypeId;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::carried::{Decoding, Encoding};
use crate::decoder::{Decoder, Failure, Slice, Source, Undecodable};
use crate::encoder::{self, Encoder};
use crate::error::{DecodeError, EncodeError};
use crate::out::{Full, Out};

/// A value that can be sent from one process to another.
///
/// Every type that is `Serialize`, `DeserializeOwned` and `'static` is a term; there is nothing to
/// implement. A `&str` is not one, because the receiver would have nobody to borrow it from.
///
/// # What cannot travel
///
/// The format tells fields and variants by position and number, and a value that asks for more is an error
/// that names the type:
///
/// - when it is sent: a field that `#[serde(skip_serializing_if)]` leaves out; `flatten`; a path that is not
///   UTF-8; a sequence or map that does not know its length, or is wrong about it;
/// - when it is received: an enum that is `untagged`, or has a `tag`.
///
/// What goes unnoticed, because reader and writer simply number differently: `skip_serializing` or
/// `skip_deserializing` alone, `skip` on a variant that others follow, and `skip_serializing_if` on a field
/// without a name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "not a term: it must be `Serialize + DeserializeOwned + 'static`",
    note = "derive `serde::Serialize` and `serde::Deserialize`, and own the data: `String` for `&str`, `Vec<T>` for `&[T]`"
)]
pub trait Term: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Term for T {}

/// Names a type, the same in every process that runs one image.
///
/// 128 bits: the hash of the type's `TypeId`, and one of its name. Two different types of one name
/// (a local `struct A` in each of two functions) have different keys, and a receiver never decodes
/// one as the other.
///
/// Between different programs there is the name alone: see [`TypeKey::by_name`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeKey([u8; 16]);

impl TypeKey {
    /// The key of `T`.
    #[inline]
    pub fn of<T: ?Sized + 'static>() -> TypeKey {
        let mut id = Fixed(0xcbf2_9ce4_8422_2325);
        TypeId::of::<T>().hash(&mut id);
        let mut name = Fixed(0x9e37_79b9_7f4a_7c15);
        name.write(std::any::type_name::<T>().as_bytes());

        let mut key = [0; 16];
        key[..8].copy_from_slice(&id.finish().to_le_bytes());
        key[8..].copy_from_slice(&name.finish().to_le_bytes());
        TypeKey(key)
    }

    /// The key of `T` by its name alone (`std::any::type_name`), the first eight bytes being zero: what two programs that were built
    /// by one compiler agree on. Connections that are made by address have it.
    ///
    /// What has the same path in both is taken for the same type. So keep the types that travel in one crate that both programs
    /// depend on, in one version: a `Message` that each defines in a file of its own has two names, and one whose fields have
    /// changed since has one name for two types, which the bytes alone may tell apart.
    pub fn by_name<T: ?Sized + 'static>() -> TypeKey {
        TypeKey::of::<T>().name_alone()
    }

    /// Without what one image alone knows: of the key of a type, that by its name.
    pub fn name_alone(mut self) -> TypeKey {
        self.0[..8].fill(0);
        self
    }

    /// The key as it stands in a frame.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// A key read from a frame.
    pub fn from_bytes(bytes: [u8; 16]) -> TypeKey {
        TypeKey(bytes)
    }
}

impl fmt::Debug for TypeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeKey({:032x})", u128::from_be_bytes(self.0))
    }
}

/// A hasher without a secret, so that every process comes to the same result. It guards against
/// mistakes, not against an adversary: whoever can write to the socket can write any key.
struct Fixed(u64);

impl Hasher for Fixed {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        // The finaliser of splitmix64 over the running state: every bit of the input reaches every
        // bit of the output.
        let mut z = (self.0.rotate_left(5) ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 31);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The name of `T` for error messages.
pub fn type_name_of<T: ?Sized>() -> &'static str {
    std::any::type_name::<T>()
}

/// Appends `value` to `out`; on an error `out` is as it was.
///
/// ```
/// let mut bytes = Vec::new();
/// occ_sck::encode_into(&(300_u16, "hi"), &mut bytes)?;
/// assert_eq!(bytes, [0xac, 2, 2, b'h', b'i']);
///
/// let (number, text): (u16, String) = occ_sck::decode(&bytes)?;
/// assert_eq!((number, text.as_str()), (300, "hi"));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
///
/// What could not be read back: a field that is left out (`#[serde(skip_serializing_if)]`), a length that
/// is not known beforehand (`#[serde(flatten)]`). What the value's own `Serialize` refuses: a path that is
/// no UTF-8, for one.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_as(value, out, Full::Grow).map(drop)
}

/// Appends `value` to `home`, or does what is to be done when that is full; on an error, and in a panic, `home` is as it
/// was. Tells how many bytes are not there.
pub(crate) fn encode_as<T: Serialize + ?Sized>(
    value: &T,
    home: &mut Vec<u8>,
    full: Full<'_>,
) -> Result<u64, EncodeError> {
    let mut lent = Lent {
        before: home.len(),
        out: Out::new(std::mem::take(home), full),
        home,
    };
    let encoded = value.serialize(Encoder(&mut lent.out));
    match encoded.and_then(|()| lent.out.finish()) {
        Ok(()) => {
            lent.before = usize::MAX;
            Ok(lent.out.counted)
        }
        Err(failure) => Err(unencodable::<T>(failure)),
    }
}

/// A buffer that has been lent to an encoder, and goes back.
struct Lent<'a, 'o> {
    out: Out<'o>,
    home: &'a mut Vec<u8>,
    /// As much of it is kept.
    before: usize,
}

impl Drop for Lent<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        *self.home = std::mem::take(&mut self.out.bytes);
        self.home.truncate(self.before);
    }
}

#[cold]
fn unencodable<T: ?Sized>(failure: encoder::Failure) -> EncodeError {
    EncodeError {
        type_name: type_name_of::<T>(),
        source: failure.into(),
    }
}

/// Appends `value` to `out`, for a message that is made otherwise than by a [`Packet`](crate::Packet), and gives duplicates
/// of the descriptors in it ([`Fd`](crate::Fd)): they have to travel with the bytes, in this order, to
/// [`decode_with_fds`]. On an error `out` is as it was, and nothing is open that was not.
///
/// ```
/// use std::os::fd::OwnedFd;
///
/// use occ_sck::{Fd, decode_with_fds, encode_with_fds};
///
/// let (reader, writer) = std::io::pipe()?;
/// let mut bytes = Vec::new();
/// let fds = encode_with_fds(&("a pipe", Fd(reader)), &mut bytes)?;
/// assert_eq!(fds.len(), 1);
/// let (what, _reader): (String, Fd) = decode_with_fds(&bytes, fds)?;
/// assert_eq!(what, "a pipe");
/// # drop(writer);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
///
/// As [`encode_into`]; more than [`MAX_FDS`](crate::MAX_FDS) descriptors, or one that could not be duplicated.
pub fn encode_with_fds<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<Vec<OwnedFd>, EncodeError> {
    let before = out.len();
    let scope = Encoding::duplicating();
    let encoded = encode_into(value, out);
    match (encoded, scope.end()) {
        (Ok(()), Ok(fds)) => Ok(fds),
        (_, Err(error)) => {
            out.truncate(before);
            Err(EncodeError {
                type_name: type_name_of::<T>(),
                source: error.into(),
            })
        }
        (Err(error), _) => Err(error),
    }
}

/// Reads a `T` that fills `bytes` to the last one, and moves those of `fds` into it that it names. The others are closed,
/// and all on an error.
///
/// # Errors
///
/// As [`decode`], and [`DecodeError::Fds`].
pub fn decode_with_fds<T: DeserializeOwned>(
    bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<T, DecodeError> {
    let scope = Decoding::giving(fds);
    let value = decode(bytes);
    match scope.end() {
        Ok(_) => value,
        Err(source) => Err(DecodeError::Fds {
            type_name: type_name_of::<T>(),
            source,
        }),
    }
}

/// Reads a `T` that fills `bytes` to the last one.
///
/// # Errors
///
/// Bytes that are no `T`, and bytes left over: both mean that writer and reader do not agree.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_from(Slice::new(bytes), bytes.len())
}

/// Reads a `T` that takes all `of` bytes of a source.
#[inline]
pub(crate) fn decode_from<'de, T: Deserialize<'de>>(
    source: impl Source<'de>,
    of: usize,
) -> Result<T, DecodeError> {
    let type_name = type_name_of::<T>();
    let mut decoder = Decoder(source);
    match T::deserialize(&mut decoder) {
        Ok(value) => match decoder.0.left() {
            0 => Ok(value),
            left => Err(DecodeError::LeftOver {
                type_name,
                left,
                of,
            }),
        },
        Err(failure) => Err(undecodable(type_name, failure)),
    }
}

#[cold]
fn undecodable(type_name: &'static str, failure: Failure) -> DecodeError {
    match *failure.0 {
        Undecodable::Blob(source) => DecodeError::Blob { type_name, source },
        other => DecodeError::Bytes {
            type_name,
            source: other.into(),
        },
    }
}
