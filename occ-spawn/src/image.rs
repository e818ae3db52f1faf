//! The program's image: which addresses are in it, and whether two processes run the same one.

use std::io;
use std::sync::OnceLock;

use crate::sys;

/// Tells one image from another: a hash of its headers and notes, the build id among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) u64);

/// What the ELF headers of the running image say.
pub(crate) struct Image {
    start: usize,
    segments: Vec<Segment>,
    entry: usize,
    pub(crate) fingerprint: Fingerprint,
}

struct Segment {
    start: usize,
    end: usize,
    readable: bool,
    executable: bool,
}

impl Image {
    /// The image that this code is part of.
    pub(crate) fn own() -> &'static Image {
        static OWN: OnceLock<Image> = OnceLock::new();
        OWN.get_or_init(Image::read)
    }

    fn read() -> Image {
        let start = sys::image_start();
        let (header, programs) = sys::image_headers();
        let loads = || {
            programs
                .iter()
                .filter(|program| program.p_type == libc::PT_LOAD)
        };

        // The header is the first byte of the file. What it was linked for, the segment that holds that
        // byte says; the difference is where the kernel put us.
        let linked = loads()
            .find(|load| load.p_offset == 0)
            .map_or(0, |load| load.p_vaddr as usize);
        let bias = start.wrapping_sub(linked);

        let segments = loads()
            .map(|load| Segment {
                start: bias.wrapping_add(load.p_vaddr as usize),
                end: bias.wrapping_add((load.p_vaddr + load.p_memsz) as usize),
                readable: load.p_flags & libc::PF_R != 0,
                executable: load.p_flags & libc::PF_X != 0,
            })
            .collect();

        let mut hash = Fnv::new();
        hash.add(&header.e_entry.to_le_bytes());
        for program in programs {
            hash.add(&program.p_vaddr.to_le_bytes());
            hash.add(&program.p_memsz.to_le_bytes());
            hash.add(&program.p_type.to_le_bytes());
            if program.p_type == libc::PT_NOTE {
                let at = bias.wrapping_add(program.p_vaddr as usize);
                hash.add(sys_note(at, program.p_memsz as usize));
            }
        }
        Image {
            start,
            segments,
            entry: bias.wrapping_add(header.e_entry as usize),
            fingerprint: Fingerprint(hash.0),
        }
    }

    /// True when this image is what the kernel started: not a library in another program, and not a
    /// program that was handed to the dynamic loader by name.
    ///
    /// # Errors
    ///
    /// /proc cannot be read.
    pub(crate) fn is_the_executable(&self) -> io::Result<bool> {
        // The file, not getauxval(3): glibc corrects its own copy when the loader was run by name.
        let auxv = std::fs::read("/proc/self/auxv")?;
        let word = |at: usize| {
            auxv.get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
        };
        for at in (0..auxv.len()).step_by(16) {
            if word(at) == Some(libc::AT_ENTRY) {
                return Ok(word(at + 8) == Some(self.entry as u64));
            }
        }
        Ok(false)
    }

    /// How far `address` is from the start of the image: the same number in every process that runs it.
    pub(crate) fn offset_of(address: usize) -> u64 {
        address.wrapping_sub(sys::image_start()) as u64
    }

    /// The address that is so far from the start of the image, whatever is there.
    pub(crate) fn address_at(offset: u64) -> usize {
        sys::image_start().wrapping_add(offset as usize)
    }

    /// The address of `len` bytes at `offset`, if all of them are in one segment that can be read.
    pub(crate) fn address_of(&self, offset: u64, len: usize) -> Option<usize> {
        let address = self.start.checked_add(usize::try_from(offset).ok()?)?;
        let end = address.checked_add(len)?;
        self.segments
            .iter()
            .any(|segment| segment.readable && segment.start <= address && end <= segment.end)
            .then_some(address)
    }

    /// True when code may begin at `address`.
    pub(crate) fn is_code(&self, address: usize) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.executable && segment.start <= address && address < segment.end)
    }
}

#[expect(unsafe_code, reason = "reads a note segment of our own image")]
fn sys_note(address: usize, len: usize) -> &'static [u8] {
    // SAFETY: a PT_NOTE lies within a PT_LOAD that is read-only, and nothing writes to notes.
    unsafe { sys::image_bytes(address, len) }
}

/// FNV-1a, because it is four lines and the same everywhere.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_ours_is_code_and_a_constant_is_not() {
        let image = Image::own();
        assert!(image.is_code(sys_note as fn(usize, usize) -> &'static [u8] as usize));
        static DATA: [u8; 3] = [1, 2, 3];
        assert!(!image.is_code(DATA.as_ptr().addr()));
        let offset = Image::offset_of(DATA.as_ptr().addr());
        assert_eq!(image.address_of(offset, 3), Some(DATA.as_ptr().addr()));
    }

    #[test]
    fn an_address_outside_of_the_image_is_refused() {
        let image = Image::own();
        let on_the_heap = Box::new(7_u64);
        let offset = Image::offset_of((&raw const *on_the_heap).addr());
        assert_eq!(image.address_of(offset, 8), None);
        assert_eq!(image.address_of(u64::MAX, 8), None);
        assert_eq!(image.address_of(0, usize::MAX), None);
    }

    #[test]
    fn a_test_binary_is_the_executable() {
        assert!(Image::own().is_the_executable().expect("/proc/self/auxv"));
    }
}
