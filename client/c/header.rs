//! The header is that of these sources, and has one number of the ABI with the build script.

use std::{env, fs, path::Path};

use crate::version::CARDBROKER_ABI;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

#[test]
#[cfg_attr(windows, ignore = "cbindgen runs cargo")]
fn the_header_is_fresh() {
    let config = cbindgen::Config::from_file(Path::new(FOLDER).join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(FOLDER).with_config(config).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    let path = Path::new(FOLDER).join("include/cardbroker.h");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read(&path).unwrap() == text, "the header is not that of the sources: run with UPDATE_GOLDEN=1");
}

#[test]
fn the_library_has_the_name_of_its_abi() {
    let script = fs::read_to_string(Path::new(FOLDER).join("build.rs")).unwrap();
    assert!(script.contains(&format!("const ABI: u32 = {CARDBROKER_ABI};")));
}
