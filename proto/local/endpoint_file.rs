//! The endpoint file of a broker with a port of its own choice (`--tcp auto`): its text, and whether its broker has
//! ended. No file and no process is read here.

use std::net::SocketAddr;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The name of the file, in the folder of the default socket; on Windows in that of the user's files.
pub const FILE_NAME: &str = "endpoint.json";

/// The maximum size of the file, in bytes.
pub const MAX_BYTES: u64 = 64 << 10;

/// The content of an endpoint file, as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFile {
    /// The port of the broker, on loopback, with TLS.
    pub address: SocketAddr,
    /// The token for this run of the broker, which wipes itself.
    pub token: SecretToken,
    /// The certificate of the broker; clients accept no other.
    pub certificate: CertificateDer<'static>,
    /// The process of the broker.
    pub broker: Process,
}

/// A token: visible ASCII characters. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretToken(Zeroizing<String>);

/// A process, by its number and the time when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The number of the process, from 1.
    pub pid: u32,
    /// Its start in clock ticks since boot (field 22 of `/proc/PID/stat`), on Windows in units of 100 ns since 1601;
    /// `None` where the system does not tell.
    pub start_time: Option<u64>,
}

/// The answer of the table of processes about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// No process has this number, or only the remains of one that has ended.
    Ended,
    /// A process has this number.
    Running {
        /// Its start, in the unit of [`Process::start_time`]; `None` where the system does not tell.
        start_time: Option<u64>,
    },
}

/// Why a text is no endpoint file. Never contains a part of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointFileError {
    /// Longer than [`MAX_BYTES`] bytes in all.
    #[error("is longer than 64 KiB")]
    TooLong,
    /// Not JSON, or another value than an object.
    #[error("is not one JSON object")]
    NoObject,
    /// A key is missing, or its value is not allowed.
    #[error("has no valid \"{0}\"")]
    Key(&'static str),
}

impl SecretToken {
    /// The token itself, to be shown to the broker alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl EndpointFile {
    /// Parses the text of the file. Unknown keys are ignored.
    ///
    /// # Errors
    /// [`EndpointFileError`], with the first problem.
    pub fn parse(text: &str) -> Result<Self, EndpointFileError> {
        let Ok(Value::Object(mut object)) = serde_json::from_str(text) else { return Err(EndpointFileError::NoObject) };
        // Taken out of the object first, so that it is wiped whatever else is wrong.
        let token = take_text(&mut object, "token").map(|token| SecretToken(Zeroizing::new(token)));
        let token = token.filter(|SecretToken(token)| is_token(token)).ok_or(EndpointFileError::Key("token"))?;
        let address = take_text(&mut object, "endpoint").and_then(|endpoint| loopback(&endpoint));
        let certificate = take_text(&mut object, "certificate").and_then(|pem| only_certificate(&pem));
        let pid = object.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
        let start_time = object.get("start_time").map(|time| time.as_u64().ok_or(EndpointFileError::Key("start_time")));
        Ok(Self {
            address: address.ok_or(EndpointFileError::Key("endpoint"))?,
            token,
            certificate: certificate.ok_or(EndpointFileError::Key("certificate"))?,
            broker: Process {
                pid: pid.filter(|pid| *pid > 0).ok_or(EndpointFileError::Key("pid"))?,
                start_time: start_time.transpose()?,
            },
        })
    }
}

/// The text of the file for a broker that listens at `address`. `certificate_pem` is its certificate in PEM.
pub fn to_text(address: SocketAddr, token: &str, certificate_pem: &str, broker: Process) -> Zeroizing<String> {
    let mut object = json!({
        "endpoint": format!("https://{address}"),
        "token": token,
        "certificate": certificate_pem,
        "pid": broker.pid,
    });
    if let (Some(start_time), Some(object)) = (broker.start_time, object.as_object_mut()) {
        object.insert("start_time".into(), start_time.into());
    }
    Zeroizing::new(format!("{object}\n"))
}

impl Process {
    /// Whether this process has ended. `lookup` is the table of processes: a later process may have the same number.
    pub fn has_ended(self, lookup: impl FnOnce(u32) -> Lookup) -> bool {
        match (lookup(self.pid), self.start_time) {
            (Lookup::Ended, _) => true,
            (Lookup::Running { start_time: Some(found) }, Some(expected)) => found != expected,
            (Lookup::Running { .. }, _) => false,
        }
    }
}

/// The certificate of a text that is exactly one certificate in PEM. Not that of an authority, which could sign others.
pub fn only_certificate(pem: &str) -> Option<CertificateDer<'static>> {
    let pem = pem.trim();
    let is_framed = pem.starts_with("-----BEGIN CERTIFICATE-----") && pem.ends_with("-----END CERTIFICATE-----");
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificate = all.next()?.ok()?;
    let is_only = all.next().is_none() && pem.matches("-----BEGIN ").count() == 1;
    (is_framed && is_only && !certificate.is_empty() && !is_authority(&certificate)).then_some(certificate)
}

/// Whether a certificate has the extension basicConstraints with CA:TRUE (RFC 5280 §4.2.1.9), by its bytes in DER.
fn is_authority(certificate: &[u8]) -> bool {
    const BASIC_CONSTRAINTS: [u8; 5] = [0x06, 0x03, 0x55, 0x1D, 0x13];
    const CRITICAL: [u8; 3] = [0x01, 0x01, 0xFF];
    let after = certificate.windows(BASIC_CONSTRAINTS.len()).enumerate().filter_map(|(at, bytes)| {
        (bytes == BASIC_CONSTRAINTS).then(|| certificate.get(at + BASIC_CONSTRAINTS.len()..)).flatten()
    });
    let mut values = after.map(|rest| rest.strip_prefix(&CRITICAL).unwrap_or(rest));
    // An octet string with a sequence whose first element is a boolean other than FALSE.
    values.any(|value| matches!(value, [0x04, _, 0x30, _, 0x01, 0x01, flag, ..] if *flag != 0))
}

/// The result of a look at `/proc/PID/stat`; `None` if the text has another form.
pub fn lookup_in(stat: &str) -> Option<Lookup> {
    // Field 2 is the program's name in parentheses, which may itself contain spaces and parentheses.
    let (_, from_third) = stat.rsplit_once(") ")?;
    let mut fields = from_third.split(' ');
    let state = fields.next()?;
    let start_time = fields.nth(22 - 4)?.parse().ok()?;
    // A process that its parent has not waited for still has its number.
    let has_ended = ["Z", "X"].contains(&state);
    Some(if has_ended { Lookup::Ended } else { Lookup::Running { start_time: Some(start_time) } })
}

fn take_text(object: &mut Map<String, Value>, key: &str) -> Option<String> {
    match object.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The address in the URL of a loopback port with TLS. The one notation that a broker writes is accepted.
fn loopback(url: &str) -> Option<SocketAddr> {
    let text = url.strip_prefix("https://")?;
    let address: SocketAddr = text.parse().ok()?;
    // Without the zone of an IPv6 address.
    let normal = SocketAddr::new(address.ip(), address.port());
    (normal.ip().is_loopback() && normal.port() != 0 && normal.to_string() == text).then_some(normal)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    #[test]
    fn files_are_read_as_in_the_conformance_table() {
        let cases: Value = serde_json::from_str(include_str!("../conformance/endpoint_files.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let read = EndpointFile::parse(case["text"].as_str().unwrap()).map(|file| {
                let mut read = json!({
                    "endpoint": format!("https://{}", file.address),
                    "token": file.token.expose(),
                    "certificate": BASE64_STANDARD.encode(&file.certificate),
                    "pid": file.broker.pid,
                });
                if let Some(start_time) = file.broker.start_time {
                    read["start_time"] = start_time.into();
                }
                read
            });
            assert_eq!(read.as_ref().ok(), case.get("read"), "{}", case["name"]);
            assert_eq!(
                read.err().map(|error| json!(error.to_string())).as_ref(),
                case.get("problem"),
                "{}",
                case["name"]
            );
        }
    }

    #[test]
    fn a_written_file_is_read_back_and_prints_no_token() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for (address, start_time) in [("127.0.0.1:7", Some(9)), ("[::1]:7", None)] {
            let (address, broker) = (address.parse().unwrap(), Process { pid: 4, start_time });
            let file = EndpointFile::parse(&to_text(address, "secret", pem, broker)).unwrap();
            assert_eq!((file.address, file.token.expose(), file.broker), (address, "secret", broker));
            assert_eq!(Some(&file.certificate), only_certificate(pem).as_ref());
            assert!(!format!("{file:?}").contains("secret"));
        }
    }

    #[test]
    fn errors_name_the_key_and_nothing_of_the_text() {
        for (text, expected) in [("secret", "is not one JSON object"), ("{\"token\": 7}", "has no valid \"token\"")] {
            assert_eq!(EndpointFile::parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_broker_has_ended_if_its_number_is_free_or_of_a_later_process() {
        let running = |start_time| Lookup::Running { start_time };
        for (expected, found, has_ended) in [
            (Some(5), Lookup::Ended, true),
            (None, Lookup::Ended, true),
            (Some(5), running(Some(5)), false),
            (Some(5), running(Some(6)), true),
            (None, running(Some(6)), false),
            (Some(5), running(None), false),
        ] {
            let process = Process { pid: 42, start_time: expected };
            let lookup = |pid| if pid == 42 { found } else { panic!("{pid}") };
            assert_eq!(process.has_ended(lookup), has_ended, "{expected:?} {found:?}");
        }
    }

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let rest = "42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        for name in ["cardbrokerd", "a b", "a) Z 1 (b", ""] {
            let running = Lookup::Running { start_time: Some(987_654) };
            assert_eq!(lookup_in(&format!("42 ({name}) S 1 {rest}")), Some(running), "{name}");
            assert_eq!(lookup_in(&format!("42 ({name}) Z 1 {rest}")), Some(Lookup::Ended), "{name}");
        }
        assert_eq!(lookup_in("42 (x) S 1"), None);
        assert_eq!(lookup_in(""), None);
    }
}
