//! Postcard's bytes back into values: the counterpart of `encoder.rs`.
//!
//! postcard's own deserializer wants all bytes in one piece, or to be told of each where it may be put. Ours reads from one
//! piece as fast, and from a [`Source`] that gives its bytes a piece at a time and frees them as they are read, so that a
//! long message and its value are not both in memory. It also keeps the words of an error that a type's own
//! `Deserialize` gives.
//!
//! It believes no length: memory is taken for bytes that are there, and for as many elements as there are bytes. What it does not
//! bound is depth, as postcard does not: a type that contains itself is read by a function that calls itself, and a
//! message can make it do so once for each byte.

use std::fmt::Display;

use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use thiserror::Error;

use crate::error::BlobError;

/// Elements that may follow where there are fewer bytes than elements: each of no byte, as of `()`. The loop that makes them
/// has to end.
const BYTELESS: usize = u32::MAX as usize;

/// Why bytes are no value.
#[derive(Debug, Error)]
pub(crate) enum Undecodable {
    #[error("expected {wanted} more bytes, and {left} are left")]
    Ended { wanted: usize, left: usize },
    #[error("{byte} is neither true nor false")]
    Bool { byte: u8 },
    #[error("{byte} is neither none nor some")]
    Option { byte: u8 },
    #[error("a character of {len} bytes is none")]
    Char { len: usize },
    #[error("a text of {len} bytes is no UTF-8")]
    Text { len: usize },
    #[error("a number does not fit {bits} bits")]
    Number { bits: u32 },
    #[error("a sequence or map of {announced} elements, and {left} bytes are left")]
    Length { announced: usize, left: usize },
    #[error("no memory for {len} bytes")]
    Memory { len: usize },
    #[error(
        "the type has to be told what comes next, as with `untagged`, `tag` or `flatten`, and the format does not say"
    )]
    NotDescribed,
    #[error(transparent)]
    Blob(BlobError),
    #[error("{0}")]
    Custom(String),
}

/// One word wide, as in the encoder.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) struct Failure(pub(crate) Box<Undecodable>);

impl From<Undecodable> for Failure {
    #[cold]
    fn from(cause: Undecodable) -> Failure {
        Failure(Box::new(cause))
    }
}

impl de::Error for Failure {
    #[cold]
    fn custom<T: Display>(words: T) -> Failure {
        Undecodable::Custom(words.to_string()).into()
    }
}

/// Some bytes, wherever they are.
pub(crate) enum Taken<'de, 'a> {
    /// In the message, for as long as it is decoded.
    Lent(&'de [u8]),
    /// Until more are read.
    Passing(&'a [u8]),
    /// In memory of their own.
    Owned(Vec<u8>),
}

/// Where bytes are read from.
pub(crate) trait Source<'de> {
    /// The next one.
    fn byte(&mut self) -> Result<u8, Failure>;

    /// The next `len`, of which it is not known whether there are as many.
    fn take(&mut self, len: usize) -> Result<Taken<'de, '_>, Failure>;

    /// How many are left.
    fn left(&self) -> usize;
}

/// One piece. An iterator has two pointers, of which one moves.
pub(crate) struct Slice<'de>(std::slice::Iter<'de, u8>);

impl<'de> Slice<'de> {
    #[inline]
    pub(crate) fn new(bytes: &'de [u8]) -> Slice<'de> {
        Slice(bytes.iter())
    }
}

impl<'de> Source<'de> for Slice<'de> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Failure> {
        match self.0.next() {
            Some(byte) => Ok(*byte),
            None => Err(ended(1, 0)),
        }
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<Taken<'de, '_>, Failure> {
        let Some((taken, rest)) = self.0.as_slice().split_at_checked(len) else {
            return Err(ended(len, self.0.len()));
        };
        self.0 = rest.iter();
        Ok(Taken::Lent(taken))
    }

    #[inline]
    fn left(&self) -> usize {
        self.0.len()
    }
}

#[cold]
pub(crate) fn ended(wanted: usize, left: usize) -> Failure {
    Undecodable::Ended { wanted, left }.into()
}

/// Reads one value.
pub(crate) struct Decoder<S>(pub(crate) S);

/// Numbers in groups of seven bits, the lowest first; the top bit says that more follow. One that does not fit its type is
/// an error, one that is longer than it has to be is not.
macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {$(
        #[inline]
        fn $name(&mut self) -> Result<$type, Failure> {
            const GROUPS: u32 = <$type>::BITS.div_ceil(7);
            let first = self.0.byte()?;
            if first < 0x80 {
                return Ok(first.into());
            }
            let mut value = <$type>::from(first & 0x7f);
            for group in 1..GROUPS {
                let byte = self.0.byte()?;
                value |= <$type>::from(byte & 0x7f) << (7 * group);
                if byte < 0x80 {
                    if group == GROUPS - 1 && u32::from(byte) >> (<$type>::BITS - 7 * group) != 0 {
                        break;
                    }
                    return Ok(value);
                }
            }
            Err(Undecodable::Number { bits: <$type>::BITS }.into())
        }
    )*};
}

impl<'de, S: Source<'de>> Decoder<S> {
    numbers!(number16: u16, number32: u32, number64: u64, number128: u128);

    #[inline]
    fn length(&mut self) -> Result<usize, Failure> {
        let length = self.number64()?;
        usize::try_from(length).map_err(|_| Undecodable::Number { bits: usize::BITS }.into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut array = [0; N];
        array.copy_from_slice(match &self.0.take(N)? {
            Taken::Lent(bytes) => bytes,
            Taken::Passing(bytes) => bytes,
            Taken::Owned(bytes) => bytes,
        });
        Ok(array)
    }

    /// As many elements as it says; there may be fewer.
    #[inline]
    fn counted(&mut self) -> Result<Elements<'_, S>, Failure> {
        let announced = self.length()?;
        let left = self.0.left();
        if announced > left && announced > BYTELESS {
            return Err(Undecodable::Length { announced, left }.into());
        }
        Ok(Elements {
            decoder: self,
            left: announced,
        })
    }

    #[inline]
    fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failure> {
        let len = self.length()?;
        match self.0.take(len)? {
            Taken::Lent(bytes) => visitor.visit_borrowed_str(utf8(bytes)?),
            Taken::Passing(bytes) => visitor.visit_str(utf8(bytes)?),
            Taken::Owned(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| Undecodable::Text { len })?;
                visitor.visit_string(text)
            }
        }
    }

    #[inline]
    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failure> {
        let len = self.length()?;
        match self.0.take(len)? {
            Taken::Lent(bytes) => visitor.visit_borrowed_bytes(bytes),
            Taken::Passing(bytes) => visitor.visit_bytes(bytes),
            Taken::Owned(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn character(&mut self) -> Result<char, Failure> {
        let len = self.length()?;
        let none = || Failure::from(Undecodable::Char { len });
        if len > 4 {
            return Err(none());
        }
        let taken = self.0.take(len)?;
        let mut chars = utf8(match &taken {
            Taken::Lent(bytes) => bytes,
            Taken::Passing(bytes) => bytes,
            Taken::Owned(bytes) => bytes,
        })
        .map_err(|_| none())?
        .chars();
        match (chars.next(), chars.next()) {
            (Some(character), None) => Ok(character),
            _ => Err(none()),
        }
    }
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Undecodable::Text { len: bytes.len() }.into())
}

/// The lowest bit back to the sign.
macro_rules! signed {
    ($value:expr, $type:ty) => {{
        let value = $value;
        (value >> 1) as $type ^ -((value & 1) as $type)
    }};
}

impl<'de, S: Source<'de>> Deserializer<'de> for &mut Decoder<S> {
    type Error = Failure;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[cold]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(Undecodable::NotDescribed.into())
    }

    #[cold]
    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(Undecodable::NotDescribed.into())
    }

    #[cold]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(Undecodable::NotDescribed.into())
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            byte => Err(Undecodable::Bool { byte }.into()),
        }
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i8(self.0.byte()? as i8)
    }

    #[inline]
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i16(signed!(self.number16()?, i16))
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i32(signed!(self.number32()?, i32))
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i64(signed!(self.number64()?, i64))
    }

    #[inline]
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i128(signed!(self.number128()?, i128))
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u8(self.0.byte()?)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u16(self.number16()?)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u32(self.number32()?)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u64(self.number64()?)
    }

    #[inline]
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u128(self.number128()?)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_char(self.character()?)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.bytes(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            byte => Err(Undecodable::Option { byte }.into()),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(self.counted()?)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(self.counted()?)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_seq(Elements {
            decoder: self,
            left: len,
        })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self)
    }
}

/// What is left of a sequence, a map, or what is by position.
struct Elements<'a, S> {
    decoder: &'a mut Decoder<S>,
    left: usize,
}

impl<'de, S: Source<'de>> Elements<'_, S> {
    #[inline]
    fn next<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    /// No more than there are bytes: whoever is told takes memory for as many.
    #[inline]
    fn expected(&self) -> usize {
        self.left.min(self.decoder.0.left())
    }
}

impl<'de, S: Source<'de>> SeqAccess<'de> for Elements<'_, S> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.expected())
    }
}

impl<'de, S: Source<'de>> MapAccess<'de> for Elements<'_, S> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.expected())
    }
}

impl<'de, S: Source<'de>> EnumAccess<'de> for &mut Decoder<S> {
    type Error = Failure;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        let index = self.number32()?;
        let index: U32Deserializer<Failure> = index.into_deserializer();
        let variant = seed.deserialize(index)?;
        Ok((variant, self))
    }
}

impl<'de, S: Source<'de>> VariantAccess<'de> for &mut Decoder<S> {
    type Error = Failure;

    #[inline]
    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
