//! Links the guest at 1 MiB.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/guest.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg=-T{script}");
    println!("cargo:rustc-link-arg=--no-pie");
}
