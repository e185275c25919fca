//! Names of tags: interindustry (ISO/IEC 7816-4 and -6), EMV's directory, and the universal ones of ASN.1.

/// The name of a tag, which depends on the template around it.
pub(super) fn name(parent: Option<u32>, tag: u32) -> Option<&'static str> {
    match parent {
        Some(0x62 | 0x64 | 0x6F) => of_a_file(tag).or_else(|| common(tag)),
        Some(0x7F49) => of_a_public_key(tag).or_else(|| common(tag)),
        _ => common(tag),
    }
}

/// Control parameters (ISO/IEC 7816-4:2013 table 10).
fn of_a_file(tag: u32) -> Option<&'static str> {
    Some(match tag {
        0x80 => "data bytes in the file",
        0x81 => "size of the file",
        0x82 => "file descriptor",
        0x83 => "file identifier",
        0x84 => "DF name",
        0x85 => "proprietary information",
        0x86 => "security attribute, proprietary",
        0x87 => "file with more control information",
        0x88 => "short file identifier",
        0x8A => "life cycle status",
        0x8B => "security attribute, referenced",
        0x8C => "security attribute, compact",
        0x8D => "security environment templates",
        0x8E => "channel security attribute",
        0xA0 => "security attributes of data objects",
        0xA1 => "security attributes, proprietary",
        0xA2 => "data objects about the file",
        0xA5 => "proprietary information",
        0xAB => "security attribute, expanded",
        0xAC => "cryptographic mechanism",
        _ => return None,
    })
}

/// The parts of public keys (ISO/IEC 7816-8).
fn of_a_public_key(tag: u32) -> Option<&'static str> {
    Some(match tag {
        0x81 => "modulus, or prime",
        0x82 => "public exponent, or coefficient",
        0x86 => "public point",
        _ => return None,
    })
}

fn common(tag: u32) -> Option<&'static str> {
    Some(match tag {
        0x02 => "INTEGER",
        0x03 => "BIT STRING",
        0x04 => "OCTET STRING",
        0x06 => "OBJECT IDENTIFIER",
        0x0C => "UTF8String",
        0x13 => "PrintableString",
        0x17 => "UTCTime",
        0x18 => "GeneralizedTime",
        0x30 => "SEQUENCE",
        0x31 => "SET",
        0x42 => "issuer identification number",
        0x4D => "extended header list",
        0x4F => "application identifier",
        0x50 => "application label",
        0x51 => "file reference",
        0x53 => "discretionary data",
        0x57 => "track 2 equivalent data",
        0x5A => "primary account number",
        0x5B => "name",
        0x5C => "tag list",
        0x5D => "header list",
        0x5E => "login data",
        0x5F20 => "cardholder name",
        0x5F24 => "expiration date",
        0x5F25 => "effective date",
        0x5F28 => "issuer country code",
        0x5F2D => "language preference",
        0x5F35 => "sex",
        0x5F50 => "address (URL)",
        0x5F52 => "historical bytes",
        0x61 => "application template",
        0x62 => "file control parameters",
        0x64 => "file management data",
        0x65 => "cardholder data",
        0x66 => "card data",
        0x6E => "application data",
        0x6F => "file control information",
        0x70 => "record template",
        0x73 => "discretionary data objects",
        0x79 => "coexistent tag allocation authority",
        0x7A => "security support template",
        0x7C => "dynamic authentication template",
        0x7E => "interindustry message template",
        0x7F21 => "cardholder certificate",
        0x7F49 => "public key template",
        0x7F66 => "extended length information",
        0x87 => "application priority",
        0x9F06 => "application identifier (terminal)",
        0x9F11 => "issuer code table index",
        0x9F12 => "application preferred name",
        0x9F38 => "processing options data objects list (PDOL)",
        0x9F4D => "log entry",
        0x9F65 => "maximum length of data",
        0xA5 => "proprietary information",
        0xBF0C => "issuer discretionary data",
        _ => return None,
    })
}
