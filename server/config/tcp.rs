//! The TCP port beside the socket, as `listen.tcp` and `--tcp` name it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Where the broker listens for TCP. Written `auto`, or as an IP address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpPort {
    /// A free port on 127.0.0.1, which clients find by the endpoint file.
    Auto,
    /// This address; for port 0 the system chooses one.
    At(SocketAddr),
}

impl FromStr for TcpPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            "must be an IP address and a port in quotes, such as \"127.0.0.1:7777\" or \"[::1]:7777\", or \"auto\""
                .to_owned()
        })?;
        let (ip, canonical) = (address.ip(), address.ip().to_canonical());
        if canonical.is_unspecified() {
            let certificate = "the certificate and the check of host names need it";
            return Err(format!("{ip} means every address of the machine: name one of them, for {certificate}"));
        }
        if canonical != ip {
            return Err(format!("{ip} is an IPv4 address in IPv6 form: write it as {canonical}:{}", address.port()));
        }
        if ip.is_multicast() {
            return Err(format!(
                "{ip} is a multicast address, where nobody can connect: name one of the machine's own"
            ));
        }
        if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(format!(
                "{ip} is the broadcast address, where nobody can connect: name one of the machine's own"
            ));
        }
        match address {
            SocketAddr::V6(scoped) if scoped.scope_id() != 0 => Err(format!(
                "{ip} has a scope (%{}), which neither the certificate nor an endpoint can name: use another address",
                scoped.scope_id()
            )),
            _ => Ok(Self::At(address)),
        }
    }
}

impl fmt::Display for TcpPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::At(address) => address.fmt(formatter),
        }
    }
}

impl<'de> Deserialize<'de> for TcpPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).unwrap_or_default();
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for TcpPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a port without TLS is refused; `None` if it is not.
pub(super) fn plain_problem(port: TcpPort) -> Option<String> {
    match port {
        TcpPort::Auto => Some("not allowed with listen.tcp = \"auto\" (--tcp auto), which always has TLS".to_owned()),
        TcpPort::At(address) if !address.ip().is_loopback() => Some(format!(
            "only allowed on loopback: on the way to {} others could read tokens and PINs: use TLS, or 127.0.0.1 or \
             [::1]",
            address.ip()
        )),
        TcpPort::At(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_auto_or_one_address() {
        for text in ["auto", "127.0.0.1:7777", "127.9.0.1:0", "[::1]:7777", "192.168.0.1:7777", "[fd00::7]:7777"] {
            assert_eq!(text.parse::<TcpPort>().map(|port| port.to_string()), Ok(text.to_owned()));
        }
        for (text, expected) in [
            ("", "must be an IP address and a port"),
            ("Auto", "must be an IP address and a port"),
            ("localhost:7777", "must be an IP address and a port"),
            ("127.0.0.1", "must be an IP address and a port"),
            ("0.0.0.0:7777", "0.0.0.0 means every address of the machine: name one"),
            ("[::]:7777", ":: means every address"),
            ("[::ffff:0.0.0.0]:7777", "::ffff:0.0.0.0 means every address"),
            ("[::ffff:10.0.0.1]:7777", "write it as 10.0.0.1:7777"),
            ("224.0.0.1:7777", "224.0.0.1 is a multicast address, where nobody can connect"),
            ("[ff02::1]:7777", "ff02::1 is a multicast address"),
            ("255.255.255.255:7777", "255.255.255.255 is the broadcast address, where nobody can connect"),
            ("[fe80::1%2]:7", "fe80::1 has a scope (%2), which neither the certificate nor an endpoint can name"),
        ] {
            let problem = text.parse::<TcpPort>().unwrap_err();
            assert!(problem.starts_with(expected) || problem.ends_with(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn a_port_without_tls_is_a_named_one_on_loopback() {
        for (port, expected) in [
            ("auto", Some("not allowed with listen.tcp = \"auto\"")),
            ("10.0.0.1:7", Some("only allowed on loopback: on the way to 10.0.0.1 others")),
            ("[fd00::7]:7", Some("only allowed on loopback")),
            ("127.0.0.1:7", None),
            ("[::1]:7", None),
        ] {
            let problem = plain_problem(port.parse().unwrap());
            assert!(
                problem.as_deref().map_or(expected.is_none(), |text| text.starts_with(expected.unwrap())),
                "{port}"
            );
        }
    }
}
