//! Where the calling thread is: return addresses, and what is mapped where. No file is read.
#![expect(
    unsafe_code,
    reason = "the unwinder's and the dynamic linker's own calls"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use super::image::ProgramHeader;

/// The unwinder's, and opaque.
#[repr(C)]
struct UnwindContext {
    _private: [u8; 0],
}

// std links the library that has these: its own panics and backtraces are made of them.
unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut UnwindContext, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut UnwindContext) -> usize;
}

/// `_URC_NO_REASON` and `_URC_NORMAL_STOP` of the Itanium C++ ABI.
const GO_ON: c_int = 0;
const STOP: c_int = 4;

struct Filling<'a> {
    into: &'a mut [usize],
    filled: usize,
}

/// Writes the return addresses of the calling thread, the innermost first, and says how many there are. It takes no memory.
#[doc(alias = "_Unwind_Backtrace")]
pub(crate) fn return_addresses(into: &mut [usize]) -> usize {
    let mut filling = Filling { into, filled: 0 };
    // SAFETY: `add` is called with this context while the call lasts, and does not unwind.
    unsafe { _Unwind_Backtrace(add, (&raw mut filling).cast()) };
    filling.filled
}

extern "C" fn add(context: *mut UnwindContext, filling: *mut c_void) -> c_int {
    // SAFETY: it is what `return_addresses` passed, which nobody else looks at meanwhile.
    let filling = unsafe { &mut *filling.cast::<Filling<'_>>() };
    // SAFETY: the unwinder passes its own context, which is valid for this call.
    let address = unsafe { _Unwind_GetIP(context) };
    let Some(place) = filling.into.get_mut(filling.filled) else {
        return STOP;
    };
    // Below the first function there is nothing, which is written as 0.
    if address == 0 {
        return STOP;
    }
    *place = address;
    filling.filled += 1;
    GO_ON
}

/// What the dynamic linker has mapped: the name, empty for the program itself, what its addresses were moved by, and its
/// program headers.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&CStr, usize, &[ProgramHeader]);

/// Shows `visit` every object that is mapped.
#[doc(alias = "dl_iterate_phdr")]
pub(crate) fn each_object(mut visit: Visit<'_>) {
    // SAFETY: `show` is called with this pointer while the call lasts.
    unsafe { libc::dl_iterate_phdr(Some(show), (&raw mut visit).cast()) };
}

unsafe extern "C" fn show(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    visit: *mut c_void,
) -> c_int {
    // SAFETY: it is what `each_object` passed, which nobody else looks at meanwhile.
    let visit = unsafe { &mut *visit.cast::<Visit<'_>>() };
    // SAFETY: the linker passes a description that is valid for this call.
    let info = unsafe { &*info };
    // SAFETY: as above, for the name.
    let name = unsafe { name_of(info.dlpi_name) };
    let programs = if info.dlpi_phdr.is_null() {
        &[][..]
    } else {
        // SAFETY: so many headers stand there, for as long as the object is mapped.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    visit(name, info.dlpi_addr as usize, programs);
    0
}

/// # Safety
///
/// A C string, valid while the result is used, or null.
unsafe fn name_of<'a>(name: *const c_char) -> &'a CStr {
    if ptr::eq(name, ptr::null()) {
        return c"";
    }
    // SAFETY: the caller's obligation.
    unsafe { CStr::from_ptr(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn here(into: &mut [usize]) -> usize {
        std::hint::black_box(return_addresses(into))
    }

    #[test]
    fn return_addresses_are_code_and_no_more_than_there_is_room_for() {
        let mut all = [0; 256];
        let count = here(&mut all);
        assert!(count > 3 && count < all.len());
        let image = crate::image::Image::own();
        assert!(image.is_code(all[0]) && image.is_code(all[1]));

        let mut few = [0; 2];
        assert_eq!(here(&mut few), 2);
        assert_eq!(here(&mut []), 0);
    }

    #[test]
    fn what_is_mapped_has_the_program_in_it() {
        let mut programs = 0;
        each_object(&mut |name, bias, headers| {
            let here = here as fn(&mut [usize]) -> usize as usize;
            let ours = headers.iter().any(|header| {
                let start = bias.wrapping_add(header.p_vaddr as usize);
                (start..start + header.p_memsz as usize).contains(&here)
            });
            programs += usize::from(ours && name.is_empty());
        });
        assert_eq!(programs, 1);
    }
}
