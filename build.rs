//! Has the linker put together what `contain run` executes, in the binary that is released: a static one for x86-64. Other
//! linkers than the compiler's own may not understand the script; they do without.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/bin/contain/order.ld");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let is_static = of("CARGO_CFG_TARGET_ARCH") == "x86_64" && of("CARGO_CFG_TARGET_ENV") == "musl";
    let has_linker_of_its_own =
        !of("RUSTC_LINKER").is_empty() || of("CARGO_ENCODED_RUSTFLAGS").contains("fuse-ld");
    let script = format!("{}/src/bin/contain/order.ld", of("CARGO_MANIFEST_DIR"));
    // A comma would end the option.
    if is_static && !has_linker_of_its_own && !script.contains(',') {
        println!("cargo:rustc-link-arg-bin=contain=-Wl,-T,{script}");
    }
}
