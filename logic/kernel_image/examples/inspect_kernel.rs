//! Tells what a kernel image is, and unpacks it: `cargo run --release --example inspect_kernel -- FILE [OUTPUT]`.

use kernel_image::{KernelImage, PvKernel};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("which file?")?)?;
    let image = KernelImage::open(&file).map_err(|error| error.to_string())?;
    let mut elf = vec![0; image.unpacked_size()];
    let start = Instant::now();
    image.unpack(&mut elf).map_err(|error| error.to_string())?;
    println!(
        "{}: {} bytes in {:?}",
        image.compression(),
        elf.len(),
        start.elapsed()
    );
    let kernel = PvKernel::parse(&elf).map_err(|error| error.to_string())?;
    println!(
        "entry {:x?}, memory {:x?} to {:x?}",
        kernel.entry, kernel.start, kernel.end
    );
    println!("base {:x?}, p2m {:x?}", kernel.virt_base, kernel.init_p2m);
    println!(
        "hypercall page {:x?}, initrd by frame: {}",
        kernel.hypercall_page, kernel.mod_start_pfn
    );
    println!(
        "{} {}",
        kernel.guest_os.escape_ascii(),
        kernel.guest_version.escape_ascii()
    );
    println!("{:x?}", kernel.features);
    for segment in kernel.segments() {
        println!(
            "{:x?}: {:#x} of {:#x} bytes",
            segment.address,
            segment.bytes.len(),
            segment.memory_size
        );
    }
    if let Some(output) = arguments.next() {
        std::fs::write(output, &elf)?;
    }
    Ok(())
}
