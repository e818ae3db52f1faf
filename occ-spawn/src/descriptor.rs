//! How a function gets into a process that shares no memory with its caller: as the distance of a
//! *descriptor* from the start of the image, which is the same in every process that runs the image.
//!
//! A descriptor is a constant that the compiler makes for each type that is run. Whoever receives a
//! number looks before it leaps: the number must be aligned, in the image, at a descriptor's magic, and the code that it names in an
//! executable segment.

use std::os::fd::OwnedFd;

use occ_sck::{Blob, DecodeError, Socket, Term};
use thiserror::Error;

use crate::image::Image;
use crate::outcome::End;
use crate::sys;

/// Says that these bytes were made by this version of this crate for this purpose.
const MAGIC: u64 = 0x6f63_6320_6465_7363;

/// What a new process finds when it starts.
#[derive(Debug)]
pub struct Context {
    /// The socket to whoever started it.
    pub control: &'static Socket,
    /// What it was given: [`Context::take_args`].
    pub args: Encoded,
    /// The descriptors in it.
    pub with_args: Vec<OwnedFd>,
    /// What it was told besides by whoever asked for it.
    pub preface: Vec<u8>,
    /// File descriptors that it was given.
    pub fds: Vec<OwnedFd>,
}

/// Arguments, as they came.
#[derive(Debug)]
pub enum Encoded {
    /// In memory.
    Here(Vec<u8>),
    /// In a memory file, from this place on.
    InFile(Blob, u64),
}

impl Encoded {
    pub(crate) fn in_file(fd: OwnedFd, len: u64, at: u64) -> Result<Encoded, String> {
        let blob = Blob::from_fd(fd, len).map_err(|error| error.to_string())?;
        Ok(Encoded::InFile(blob, at))
    }
}

impl Context {
    /// The arguments, with the descriptors in them. It has none afterwards.
    ///
    /// # Errors
    ///
    /// They are no `A`.
    pub fn take_args<A: Term>(&mut self) -> Result<A, DecodeError> {
        let fds = std::mem::take(&mut self.with_args);
        match std::mem::replace(&mut self.args, Encoded::Here(Vec::new())) {
            Encoded::Here(bytes) => occ_sck::decode_with_fds(&bytes, fds),
            Encoded::InFile(blob, at) => blob.decode_with_fds(at, fds),
        }
    }
}

/// Runs a function, with what it needs, to its end.
pub type Trampoline = fn(Context) -> End;

/// Names a function to another process of the same image.
///
/// Make it a constant and take a reference to that, so that it stands in the image:
///
/// ```
/// use occ_spawn::entry::{Context, Descriptor};
/// use occ_spawn::entry::End;
///
/// fn trampoline(_: Context) -> End {
///     End::value(&())
/// }
/// const ENTRY: &Descriptor = &Descriptor::new(|| "trampoline", trampoline);
/// # let _ = ENTRY;
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Descriptor {
    magic: u64,
    name: fn() -> &'static str,
    run: Trampoline,
}

/// The words of a descriptor before anybody has said that they are one.
#[repr(C)]
#[derive(Clone, Copy)]
struct Words {
    magic: u64,
    name: usize,
    run: usize,
}

/// A number that names no function of this image.
#[derive(Debug, Error)]
#[error("{offset:#x} is not the place of a function in this image: {why}")]
pub struct NoSuchFunction {
    offset: u64,
    why: &'static str,
}

impl Descriptor {
    /// A descriptor for `run`, known to people as what `name` returns.
    pub const fn new(name: fn() -> &'static str, run: Trampoline) -> Descriptor {
        Descriptor {
            magic: MAGIC,
            name,
            run,
        }
    }

    /// What to send: the distance from the start of the image.
    pub fn offset(&'static self) -> u64 {
        Image::offset_of((&raw const *self).addr())
    }

    /// The function's name, for people.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Runs the function.
    pub fn run(&self, context: Context) -> End {
        (self.run)(context)
    }

    /// Lets the code of the function be where it is when it runs: in a new process its page is not, before it is touched.
    pub(crate) fn bring_in(&self) {
        let _ = self.name();
        sys::bring_in((self.run as *const ()).addr());
    }

    /// Finds the descriptor that another process of this image named.
    ///
    /// # Errors
    ///
    /// The number is not one that [`Descriptor::offset`] gives in this image.
    #[expect(
        unsafe_code,
        reason = "turns a checked number into a reference to our own image"
    )]
    pub fn find(offset: u64) -> Result<Descriptor, NoSuchFunction> {
        let refuse = |why| NoSuchFunction { offset, why };
        let image = Image::own();
        let address = image
            .address_of(offset, size_of::<Descriptor>())
            .ok_or(refuse("it is outside of the image"))?;
        if !address.is_multiple_of(align_of::<Descriptor>()) {
            return Err(refuse("it is not aligned"));
        }
        // SAFETY: aligned and within a segment, checked above; three words have no invalid values.
        let words: Words = unsafe { sys::read_at(address) };
        if words.magic != MAGIC {
            return Err(refuse("no descriptor stands there"));
        }
        if !image.is_code(words.run) || !image.is_code(words.name) {
            return Err(refuse("its code is not in an executable segment"));
        }
        // SAFETY: the magic says that a `Descriptor` stands there, made by `new`, whose fields are
        // functions of these types; both addresses are code of this image.
        let name = unsafe { sys::function_at::<fn() -> &'static str>(words.name) };
        // SAFETY: as above.
        let run = unsafe { sys::function_at::<Trampoline>(words.run) };
        Ok(Descriptor {
            magic: MAGIC,
            name,
            run,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Context) -> End {
        End::value(&())
    }

    const NOTHING: &Descriptor = &Descriptor::new(|| "nothing", nothing);

    #[test]
    fn a_descriptor_is_found_by_its_offset() {
        assert_eq!(
            Descriptor::find(NOTHING.offset()).expect("find").name(),
            "nothing"
        );
    }

    #[test]
    fn what_is_no_descriptor_is_refused() {
        let good = NOTHING.offset();
        for bad in [
            0,
            1,
            good + 1,
            good + 8,
            good.wrapping_neg(),
            u64::MAX,
            1 << 40,
        ] {
            assert!(Descriptor::find(bad).is_err(), "{bad:#x}");
        }
    }
}
