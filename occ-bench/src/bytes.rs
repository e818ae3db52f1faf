//! Bytes that are encoded in one piece, and cost their sender nothing to have.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) struct Bytes(pub(crate) Cow<'static, [u8]>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        serde_bytes::ByteBuf::deserialize(deserializer)
            .map(|bytes| Bytes(Cow::Owned(bytes.into_vec())))
    }
}
