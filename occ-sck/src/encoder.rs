//! Values into postcard's bytes, with an error wherever the reader could not follow.
//!
//! The format is postcard's (<https://postcard.jamesmunns.com/wire-format>), and postcard reads it. What
//! writes it is here, because postcard's own serializer ignores a field that is left out
//! (`skip_serializing_if`): its reader goes by position, takes the next field for the missing one, and the
//! value that comes out is another. It also drops the words of an error that a type's own `Serialize` gives.

use std::fmt::{self, Display, Write};

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use thiserror::Error;

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

type Done = Result<(), Failure>;

/// Appends one value to a buffer.
pub(crate) struct Encoder<'a>(pub(crate) &'a mut Vec<u8>);

/// A sequence or a map, which says its length first.
pub(crate) struct Counted<'a> {
    out: &'a mut Vec<u8>,
    announced: usize,
    given: usize,
}

/// Fields that the reader knows by their position alone.
pub(crate) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    /// What the fields are of, for an error.
    of: &'static str,
}

/// A number in groups of seven bits, the lowest first; the top bit says that more follow.
#[inline]
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn wide_number(out: &mut Vec<u8>, mut value: u128) {
    let mut bytes = [0; u128::BITS.div_ceil(7) as usize];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.extend_from_slice(&bytes[..=len]);
}

/// A signed number with its sign in the lowest bit, so that small ones stay short.
#[inline]
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

impl<'a> Encoder<'a> {
    fn counted(self, len: Option<usize>) -> Result<Counted<'a>, Failure> {
        let announced = len.ok_or(Unencodable::LengthUnknown)?;
        number(self.0, announced as u64);
        Ok(Counted {
            out: self.0,
            announced,
            given: 0,
        })
    }
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Counted<'a>;
    type SerializeMap = Counted<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

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
        self.0.push(v);
        Ok(())
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
        number(self.0, v);
        Ok(())
    }

    fn serialize_u128(self, v: u128) -> Done {
        wide_number(self.0, v);
        Ok(())
    }

    #[inline]
    fn serialize_f32(self, v: f32) -> Done {
        self.0.extend_from_slice(&v.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, v: f64) -> Done {
        self.0.extend_from_slice(&v.to_le_bytes());
        Ok(())
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
        number(self.0, v.len() as u64);
        self.0.extend_from_slice(v);
        Ok(())
    }

    /// Text that is made as it is written. Its length comes first and is known last, so it is moved there.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Done {
        struct Text<'a>(&'a mut Vec<u8>);

        impl Write for Text<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }

        let at = self.0.len();
        write!(Text(self.0), "{value}").map_err(<Failure as serde::ser::Error>::custom)?;
        let end = self.0.len();
        number(self.0, (end - at) as u64);
        let moved = self.0.len() - end;
        self.0[at..].rotate_right(moved);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.0.push(1);
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
        number(self.0, index.into());
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'a>, Failure> {
        self.counted(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'a>, Failure> {
        self.counted(len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, Failure> {
        Ok(Fields {
            out: self.0,
            of: "",
        })
    }

    #[inline]
    fn serialize_tuple_struct(self, of: &'static str, _: usize) -> Result<Fields<'a>, Failure> {
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        of: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Failure> {
        number(self.0, index.into());
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_struct(self, of: &'static str, _: usize) -> Result<Fields<'a>, Failure> {
        Ok(Fields { out: self.0, of })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        of: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Failure> {
        number(self.0, index.into());
        Ok(Fields { out: self.0, of })
    }
}

impl Counted<'_> {
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

impl SerializeSeq for Counted<'_> {
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

impl SerializeMap for Counted<'_> {
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
        impl $trait for Fields<'_> {
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
        impl $trait for Fields<'_> {
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
