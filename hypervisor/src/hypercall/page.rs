//! The hypercall page: a stub of 32 bytes for each call, for kernels that do not make the call themselves
//! (public/arch-x86/xen.h).

use addr::PAGE_SIZE;
use xen_abi::hypercall as number;

/// Bytes of a stub.
const STUB: usize = 32;
/// Stubs in the page that are filled; the others trap.
const CALLS: u32 = 64;

/// The page's contents.
pub fn stubs() -> [u8; PAGE_SIZE as usize] {
    /// `int3`: where no stub is.
    const TRAP: u8 = 0xcc;
    let mut page = [TRAP; PAGE_SIZE as usize];
    for (call, stub) in (0..CALLS).zip(page.chunks_mut(STUB)) {
        let [n0, n1, n2, n3] = call.to_le_bytes();
        let code: &[u8] = if call == number::IRET {
            // push rcx; push r11; push rax; mov eax, nr; syscall
            &[0x51, 0x41, 0x53, 0x50, 0xb8, n0, n1, n2, n3, 0x0f, 0x05]
        } else {
            // push rcx; push r11; mov eax, nr; syscall; pop r11; pop rcx; ret
            &[
                0x51, 0x41, 0x53, 0xb8, n0, n1, n2, n3, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
            ]
        };
        for (to, from) in stub.iter_mut().zip(code) {
            *to = *from;
        }
    }
    page
}
