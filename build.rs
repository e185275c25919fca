//! Compiles the contract in `proto/` into message types, service stubs and a descriptor set, without an installed `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

/// Messages that hold APDU bytes: their `Debug` is written by hand in `proto/redact.rs`.
const REDACTED: [&str; 2] = ["cardbroker.v1.Command", "cardbroker.v1.CommandResult"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["cardbroker/v1/service.proto"], ["proto"])?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure().skip_debug(REDACTED).compile_fds(descriptors)?;
    Ok(())
}
