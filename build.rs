//! Has the linker put together what `contain run` executes, on x86-64: in a static binary, which is what is released,
//! and in others where the linker is the one that comes with the compiler. Other linkers may not understand the
//! script; they do without.

use std::env;
use std::path::Path;
use std::process::Command;

/// From here on rustc links for x86-64 and glibc by the lld that it brings.
const WITH_LINKER: u32 = 90;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/bin/contain/order.ld");
    let flags = of("CARGO_ENCODED_RUSTFLAGS");
    let has_linker_of_its_own = !of("RUSTC_LINKER").is_empty()
        || ["fuse-ld", "linker", "link-self-contained"].iter().any(|flag| flags.contains(flag));
    let is_known = match of("CARGO_CFG_TARGET_ENV").as_str() {
        "musl" => true,
        "gnu" => has_linker() && release().is_some_and(|release| release >= WITH_LINKER),
        _ => false,
    };
    let script = format!("{}/src/bin/contain/order.ld", of("CARGO_MANIFEST_DIR"));
    // A comma would end the option.
    let is_usable = is_known && !has_linker_of_its_own && !script.contains(',');
    if of("CARGO_CFG_TARGET_ARCH") == "x86_64" && is_usable {
        println!("cargo:rustc-link-arg-bin=contain=-Wl,-T,{script}");
    }
}

fn of(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Whether the linker did come with it: packages of distributions go without.
fn has_linker() -> bool {
    let linker = format!("lib/rustlib/{}/bin/gcc-ld/ld.lld", of("HOST"));
    rustc(&["--print", "sysroot"])
        .is_some_and(|sysroot| Path::new(sysroot.trim()).join(linker).exists())
}

/// The 95 of `rustc 1.95.0 (…)`.
fn release() -> Option<u32> {
    rustc(&["--version"])?.split('.').nth(1)?.parse().ok()
}

fn rustc(words: &[&str]) -> Option<String> {
    let told = Command::new(of("RUSTC")).args(words).output().ok()?;
    String::from_utf8(told.stdout).ok()
}
