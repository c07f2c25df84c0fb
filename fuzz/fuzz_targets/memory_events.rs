#![no_main]

#[path = "../entries.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "each target takes one of them")]
mod entries;

libfuzzer_sys::fuzz_target!(|text: &[u8]| entries::memory_events(text));
