//! Gives the library its name for the dynamic linker, with the number of the ABI.

/// The number in `cardbroker_abi()`; a test compares both.
const ABI: u32 = 1;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcardbroker.so.{ABI}");
    }
}
