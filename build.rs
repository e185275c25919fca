//! Compiles the contract in `proto/` into message types, service stubs and a descriptor set. Needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

/// Messages with card data or a request id; `proto/redact.rs` implements their `Debug`.
const REDACTED: [&str; 9] = [
    "cardbroker.diagnostics.v1.CommandEvent",
    "cardbroker.v1.ApduCommand",
    "cardbroker.v1.ApduResult",
    "cardbroker.v1.AttributeResult",
    "cardbroker.v1.ControlCommand",
    "cardbroker.v1.ControlResult",
    "cardbroker.v1.PinPadCommand",
    "cardbroker.v1.SetAttribute",
    "cardbroker.v1.TransmitRequest",
];

/// The files with the services. What they import belongs to the contract, too.
const SERVICES: [&str; 3] =
    ["cardbroker/v1/service.proto", "cardbroker/diagnostics/v1/service.proto", "cardbroker/pcsc/v1/service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/cardbroker");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(SERVICES)?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let generator = tonic_prost_build::configure().skip_debug(REDACTED).codec_path("crate::codec::SmallCodec");
    generator.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
