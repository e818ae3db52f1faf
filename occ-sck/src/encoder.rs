//! Values into postcard's bytes, with an error wherever the reader could not follow.
//!
//! The format is postcard's (<https://postcard.jamesmunns.com/wire-format>), and postcard reads it. What
//! writes it is here, because postcard's own serializer ignores a field that is left out
//! (`skip_serializing_if`): its reader goes by position, takes the next field for the missing one, and the
//! value that comes out is another. It also drops the words of an error that a type's own `Serialize` gives.

use std::fmt::Display;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use thiserror::Error;

use crate::out::Out;

/// Why a value has no bytes.
#[derive(Debug, Error)]
pub(crate) enum Unencodable {
    #[error(
        "field `{field}` of `{of}` is left out (`skip_serializing_if`), and the receiver reads fields by \
         position"
    )]
    Skipped {
        of: &'static str,
        field: &'static str,
    },
    #[error("a sequence or map does not know its length beforehand, as with `#[serde(flatten)]`")]
    LengthUnknown,
    #[error("a sequence or map announced {announced} elements and gave {given}")]
    Length { announced: usize, given: usize },
    #[error("{0}")]
    Custom(String),
}

/// One word wide, so that a result fits a register all the way down a value.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) struct Failure(Box<Unencodable>);

impl From<Unencodable> for Failure {
    #[cold]
    fn from(cause: Unencodable) -> Failure {
        Failure(Box::new(cause))
    }
}

impl serde::ser::Error for Failure {
    #[cold]
    fn custom<T: Display>(words: T) -> Failure {
        Unencodable::Custom(words.to_string()).into()
    }
}

pub(crate) type Done = Result<(), Failure>;

/// Writes one value.
pub(crate) struct Encoder<'a, 'o>(pub(crate) &'a mut Out<'o>);

/// A sequence or a map, which says its length first.
pub(crate) struct Counted<'a, 'o> {
    out: &'a mut Out<'o>,
    announced: usize,
    given: usize,
}

/// Fields that the reader knows by their position alone.
pub(crate) struct Fields<'a, 'o> {
    out: &'a mut Out<'o>,
    /// What the fields are of, for an error.
    of: &'static str,
}

/// A number in groups of seven bits, the lowest first; the top bit says that more follow.
#[inline]
fn number(out: &mut Out<'_>, mut value: u64) -> Done {
    while value >= 0x80 {
        out.push(value as u8 | 0x80)?;
        value >>= 7;
    }
    out.push(value as u8)
}

fn wide_number(out: &mut Out<'_>, mut value: u128) -> Done {
    let mut bytes = [0; u128::BITS.div_ceil(7) as usize];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.extend(&bytes[..=len])
}

/// A signed number with its sign in the lowest bit, so that small ones stay short.
#[inline]
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

impl<'a, 'o> Encoder<'a, 'o> {
    fn counted(self, len: Option<usize>) -> Result<Counted<'a, 'o>, Failure> {
        let announced = len.ok_or(Unencodable::LengthUnknown)?;
        number(self.0, announced as u64)?;
        Ok(Counted {
            out: self.0,
            announced,
            given: 0,
        })
    }
}

impl<'a, 'o> Serializer for Encoder<'a, 'o> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Counted<'a, 'o>;
    type SerializeMap = Counted<'a, 'o>;
    type SerializeTuple = Fields<'a, 'o>;
    type SerializeTupleStruct = Fields<'a, 'o>;
    type SerializeTupleVariant = Fields<'a, 'o>;
    type SerializeStruct = Fields<'a, 'o>;
    type SerializeStructVariant = Fields<'a, 'o>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, v: bool) -> Done {
        self.serialize_u8(v.into())
    }

    #[inline]
    fn serialize_i8(self, v: i8) -> Done {
        self.serialize_u8(v as u8)
    }

    #[inline]
    fn serialize_i16(self, v: i16) -> Done {
        self.serialize_i64(v.into())
    }

    #[inline]
    fn serialize_i32(self, v: i32) -> Done {
        self.serialize_i64(v.into())
    }

    #[inline]
    fn serialize_i64(self, v: i64) -> Done {
        self.serialize_u64(zigzag(v))
    }

    fn serialize_i128(self, v: i128) -> Done {
        self.serialize_u128((v << 1 ^ v >> 127) as u128)
    }

    #[inline]
    fn serialize_u8(self, v: u8) -> Done {
        self.0.push(v)
    }

    #[inline]
    fn serialize_u16(self, v: u16) -> Done {
        self.serialize_u64(v.into())
    }

    #[inline]
    fn serialize_u32(self, v: u32) -> Done {
        self.serialize_u64(v.into())
    }

    #[inline]
    fn serialize_u64(self, v: u64) -> Done {
        number(self.0, v)
    }

    fn serialize_u128(self, v: u128) -> Done {
        wide_number(self.0, v)
    }

    #[inline]
    fn serialize_f32(self, v: f32) -> Done {
        self.0.extend(&v.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, v: f64) -> Done {
        self.0.extend(&v.to_le_bytes())
    }

    #[inline]
    fn serialize_char(self, v: char) -> Done {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Done {
        self.serialize_bytes(v.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, v: &[u8]) -> Done {
        number(self.0, v.len() as u64)?;
        self.0.extend(v)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Done {
        self.0.text(&value)
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.0.push(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Done {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Done {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        number(self.0, index.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'a, 'o>, Failure> {
        self.counted(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'a, 'o>, Failure> {
        self.counted(len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'a, 'o>, Failure> {
        Ok(Fields {
            out: self.0,
            of: "",
        })
    }

    #[inline]
    fn serialize_tuple_struct(self, of: &'static str, _: usize) -> Result<Fields<'a, 'o>, Failure> {
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        of: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a, 'o>, Failure> {
        number(self.0, index.into())?;
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_struct(self, of: &'static str, _: usize) -> Result<Fields<'a, 'o>, Failure> {
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        of: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a, 'o>, Failure> {
        number(self.0, index.into())?;
        Ok(Fields { out: self.0, of })
    }
}

impl Counted<'_, '_> {
    #[inline]
    fn ended(self) -> Done {
        if self.given == self.announced {
            return Ok(());
        }
        Err(Unencodable::Length {
            announced: self.announced,
            given: self.given,
        }
        .into())
    }
}

impl SerializeSeq for Counted<'_, '_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.given += 1;
        value.serialize(Encoder(self.out))
    }

    #[inline]
    fn end(self) -> Done {
        self.ended()
    }
}

impl SerializeMap for Counted<'_, '_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.given += 1;
        key.serialize(Encoder(self.out))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(Encoder(self.out))
    }

    #[inline]
    fn end(self) -> Done {
        self.ended()
    }
}

/// What is by position without names: there is no leaving out that we would be told of.
macro_rules! positional {
    ($($trait:ident :: $field:ident),*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Failure;

            #[inline]
            fn $field<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                value.serialize(Encoder(self.out))
            }

            #[inline]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

positional!(
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! named {
    ($($trait:ident),*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Failure;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Done {
                value.serialize(Encoder(self.out))
            }

            #[cold]
            fn skip_field(&mut self, field: &'static str) -> Done {
                Err(Unencodable::Skipped { of: self.of, field }.into())
            }

            #[inline]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

named!(SerializeStruct, SerializeStructVariant);
