//! Whether /proc/self/exe is the image that this code is part of.
#![expect(unsafe_code, reason = "reads the image's own header")]

unsafe extern "C" {
    /// Where the linker put the ELF header: the first byte of the image.
    #[link_name = "__ehdr_start"]
    static EHDR_START: u8;
}

/// False where our code is a library in another program, or the program was started through the dynamic loader.
pub(crate) fn is_the_executable() -> bool {
    let start = &raw const EHDR_START;
    // SAFETY: the linker puts an ELF header at this symbol, and the segment that holds it is mapped, read-only, for as long
    // as the image is.
    let header: &libc::Elf64_Ehdr = unsafe { &*start.cast() };
    let base = if header.e_type == libc::ET_DYN {
        start.addr() as u64
    } else {
        0
    };
    // The file, not getauxval(3): glibc corrects its own copy when the loader was run by name.
    let Ok(auxv) = std::fs::read("/proc/self/auxv") else {
        return false;
    };
    let entry = auxv.chunks_exact(16).find_map(|pair| {
        let (name, value) = pair.split_at(8);
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
        (word(name) == Some(libc::AT_ENTRY)).then(|| word(value))?
    });
    entry == Some(base.wrapping_add(header.e_entry))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_binary_is_the_executable() {
        assert!(super::is_the_executable());
    }
}
