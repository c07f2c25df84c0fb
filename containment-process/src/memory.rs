//! Copies of a few bytes, of which a short life has a thousand. musl has the processor copy them by a loop of its own
//! microcode, on x86-64, which takes longer to begin than to copy so little: a twentieth of all that `contain run` did.

/// Has the program copy by functions of its own, `memcpy` and `memmove` instead of those of libc. For a binary: in a
/// library they would be everybody's.
///
/// They are one. What is 64 bytes or less is read before any of it is written, so that the two places may overlap;
/// what is more is copied as in musl, from that end where nothing is overwritten that is still to be read.
#[macro_export]
macro_rules! copies {
    ($memcpy:literal, $memmove:literal) => {
        // SAFETY: by the calling convention of x86-64 it may change every register that it changes, and `rax` is what
        // it returns; direction is forwards again at the end. It touches what a caller has to vouch for.
        ::std::arch::global_asm!(
            concat!(".section .text.", $memcpy, ", \"ax\", @progbits"),
            concat!(".globl ", $memcpy, ", ", $memmove),
            concat!(".type ", $memcpy, ", @function"),
            concat!(".type ", $memmove, ", @function"),
            ".p2align 4",
            concat!($memcpy, ":"),
            concat!($memmove, ":"),
            ".cfi_startproc",
            "mov rax, rdi",
            "cmp rdx, 16",
            "jb 2f",
            "cmp rdx, 32",
            "ja 5f",
            // 16 to 32: the first 16 and the last 16, and so on below.
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + rdx - 16]",
            "movups [rdi], xmm0",
            "movups [rdi + rdx - 16], xmm1",
            "ret",
            // 8 to 15
            "2: cmp edx, 8",
            "jb 3f",
            "mov rcx, [rsi]",
            "mov r8, [rsi + rdx - 8]",
            "mov [rdi], rcx",
            "mov [rdi + rdx - 8], r8",
            "ret",
            // 4 to 7
            "3: cmp edx, 4",
            "jb 4f",
            "mov ecx, [rsi]",
            "mov r8d, [rsi + rdx - 4]",
            "mov [rdi], ecx",
            "mov [rdi + rdx - 4], r8d",
            "ret",
            // 1 to 3: the first, the last, and the one in the middle
            "4: test edx, edx",
            "jz 9f",
            "mov r9d, edx",
            "shr r9d",
            "movzx ecx, byte ptr [rsi]",
            "movzx r8d, byte ptr [rsi + rdx - 1]",
            "movzx r10d, byte ptr [rsi + r9]",
            "mov [rdi], cl",
            "mov [rdi + r9], r10b",
            "mov [rdi + rdx - 1], r8b",
            "9: ret",
            // 33 to 64
            "5: cmp rdx, 64",
            "ja 6f",
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + 16]",
            "movups xmm2, [rsi + rdx - 32]",
            "movups xmm3, [rsi + rdx - 16]",
            "movups [rdi], xmm0",
            "movups [rdi + 16], xmm1",
            "movups [rdi + rdx - 32], xmm2",
            "movups [rdi + rdx - 16], xmm3",
            "ret",
            // More: in eights, and the last 8 (backwards the first 8) for what is not an eight.
            "6: mov rcx, rdx",
            "shr rcx, 3",
            "mov r8, rdi",
            "sub r8, rsi",
            "cmp r8, rdx",
            "jb 7f",
            "mov r9, [rsi + rdx - 8]",
            "rep movsq",
            "mov [rax + rdx - 8], r9",
            "ret",
            // It begins within what is read: backwards.
            "7: mov r9, [rsi]",
            "lea rsi, [rsi + rdx - 8]",
            "lea rdi, [rdi + rdx - 8]",
            "std",
            "rep movsq",
            "cld",
            "mov [rax], r9",
            "ret",
            ".cfi_endproc",
            concat!(".size ", $memcpy, ", . - ", $memcpy),
            concat!(".size ", $memmove, ", . - ", $memmove),
            ".text",
        );
    };
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    copies!("memcpy_of_a_short_life", "memmove_of_a_short_life");

    unsafe extern "C" {
        fn memmove_of_a_short_life(
            to: *mut c_void,
            from: *const c_void,
            count: usize,
        ) -> *mut c_void;
    }

    /// All that is there beside all that is expected, so that a byte too many shows, too.
    #[test]
    fn any_number_of_bytes_is_copied_from_and_to_anywhere() {
        let before: Vec<u8> = (0..700).map(|at: u32| (at * 7 % 251) as u8).collect();
        for count in (0..140).chain([199, 256, 263]) {
            for (from, to) in (0..300).step_by(7).map(|to| (150, to)).chain([(150, 150), (3, 400)])
            {
                let (mut ours, mut expected) = (before.clone(), before.clone());
                expected.copy_within(from..from + count, to);
                let start = ours.as_mut_ptr();
                // SAFETY: both places are in `ours`: at most 400 + 263 of 700 bytes.
                let given = unsafe {
                    memmove_of_a_short_life(start.add(to).cast(), start.add(from).cast(), count)
                };
                assert_eq!(given as usize - start as usize, to);
                assert_eq!(ours, expected, "{count} bytes from {from} to {to}");
            }
        }
    }
}
