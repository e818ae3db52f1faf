//! Our own image in memory: its headers, its bytes, the functions in it.
#![expect(unsafe_code, reason = "reads memory by address")]

use std::ptr;

unsafe extern "C" {
    /// Where the linker put the ELF header: the first byte of the image.
    #[link_name = "__ehdr_start"]
    static EHDR_START: u8;
}

pub(crate) type ElfHeader = libc::Elf64_Ehdr;
pub(crate) type ProgramHeader = libc::Elf64_Phdr;

/// The address of the first byte of the image.
pub(crate) fn image_start() -> usize {
    (&raw const EHDR_START).addr()
}

/// The image's own ELF header and program headers.
pub(crate) fn image_headers() -> (&'static ElfHeader, &'static [ProgramHeader]) {
    let start = &raw const EHDR_START;
    // SAFETY: the linker puts an ELF header at this symbol, and the segment that holds it is mapped,
    // read-only, for as long as the image is.
    let header: &ElfHeader = unsafe { &*start.cast() };
    // SAFETY: e_phoff is an offset from the start of the same file, and the program headers lie in the
    // segment that holds the ELF header: the kernel hands out their address as AT_PHDR.
    let at = unsafe { start.add(header.e_phoff as usize) };
    // SAFETY: e_phnum headers of this layout stand there, mapped like the header itself.
    let programs = unsafe { std::slice::from_raw_parts(at.cast(), usize::from(header.e_phnum)) };
    (header, programs)
}

/// `len` bytes of the image at `address`.
///
/// # Safety
///
/// The range must lie within a readable segment of the image that nothing writes to.
pub(crate) unsafe fn image_bytes(address: usize, len: usize) -> &'static [u8] {
    // SAFETY: the caller's obligation, word for word.
    unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(address), len) }
}

/// Maps the page at `address`, if it is a page of a file that is in memory.
#[doc(alias = "MADV_POPULATE_READ")]
pub(crate) fn bring_in(address: usize) {
    let page = rustix::param::page_size();
    let start = ptr::with_exposed_provenance_mut(address - address % page);
    // SAFETY: it reads the page as the processor would, and changes nothing; what it cannot do, or what the kernel does not know
    // (before Linux 5.14), it says.
    let _ = unsafe { libc::madvise(start, page, libc::MADV_POPULATE_READ) };
}

/// A value of a type that has no bytes.
///
/// # Safety
///
/// `F` must be `Copy`, and a value of it must have existed in this program.
pub(crate) unsafe fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: any aligned pointer may be read for no bytes; the caller answers for the type being inhabited.
    unsafe { ptr::NonNull::<F>::dangling().read() }
}

/// The descriptor that `address` points at, and the address of its trampoline.
///
/// # Safety
///
/// `address` must be aligned for `T`, and `size_of::<T>()` bytes there must lie within a readable segment
/// of the image.
pub(crate) unsafe fn read_at<T: Copy>(address: usize) -> T {
    // SAFETY: the caller's obligation.
    unsafe { ptr::with_exposed_provenance::<T>(address).read() }
}

/// Takes an address for a function.
///
/// # Safety
///
/// A function of exactly this type must begin at `address`.
pub(crate) unsafe fn function_at<F: Copy>(address: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    let pointer = ptr::with_exposed_provenance::<()>(address);
    // SAFETY: F is a function pointer of one word, by the assertion and the caller's word.
    unsafe { std::mem::transmute_copy(&pointer) }
}
