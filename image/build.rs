//! Link arguments: the image's own script, a fixed address.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    for argument in [
        &format!("-T{directory}/link.ld"),
        "-no-pie",
        "--build-id=none",
        "-zmax-page-size=0x1000",
        "-znoexecstack",
        "--gc-sections",
        "--orphan-handling=error",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
