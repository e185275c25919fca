//! The simulated card's command parser: the ISO 7816-4 cases on T=1, only TPDUs on T=0.

use crate::slot::Protocol;

/// The only instruction whose length the card does not check fully.
const VERIFY: u8 = 0x20;

/// A parsed command. Has no `Debug`: the data may be a PIN.
pub(super) struct Command<'a> {
    pub(super) class: u8,
    pub(super) instruction: u8,
    pub(super) p1: u8,
    pub(super) p2: u8,
    pub(super) data: &'a [u8],
    /// The maximum length of the response, 1–65,536. A T=0 header always has one, also in a command without a response.
    pub(super) le: Option<usize>,
}

impl<'a> Command<'a> {
    /// Returns `None` if the lengths disagree.
    pub(super) fn parse(protocol: Protocol, bytes: &'a [u8]) -> Option<Self> {
        let (&[class, instruction, p1, p2], body) = bytes.split_first_chunk::<4>()?;
        let (data, le) = match protocol {
            Protocol::T0 => tpdu_body(body),
            Protocol::T1 | Protocol::Raw => {
                apdu_body(body).or_else(|| careless_body(body).filter(|_| instruction == VERIFY))
            }
        }?;
        Some(Self { class, instruction, p1, p2, data, le })
    }
}

fn tpdu_body(body: &[u8]) -> Option<(&[u8], Option<usize>)> {
    match body {
        [p3] => Some((&[], Some(short(*p3)))),
        [p3, data @ ..] if data.len() == usize::from(*p3) => Some((data, None)),
        _ => None,
    }
}

fn apdu_body(body: &[u8]) -> Option<(&[u8], Option<usize>)> {
    match body {
        [] => Some((&[], None)),
        [le] => Some((&[], Some(short(*le)))),
        [0, high, low] => Some((&[], Some(extended(*high, *low)))),
        [0, high, low, rest @ ..] => {
            let (data, le) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
            match le {
                _ if data.is_empty() => None,
                [] => Some((data, None)),
                [high, low] => Some((data, Some(extended(*high, *low)))),
                _ => None,
            }
        }
        [0, ..] => None,
        [lc, rest @ ..] => {
            let (data, le) = rest.split_at_checked((*lc).into())?;
            match le {
                [] => Some((data, None)),
                [le] => Some((data, Some(short(*le)))),
                _ => None,
            }
        }
    }
}

/// Parses a body like real cards that ignore bytes after the data.
fn careless_body(body: &[u8]) -> Option<(&[u8], Option<usize>)> {
    let (lc, rest) = body.split_first().filter(|(lc, _)| **lc != 0)?;
    rest.get(..(*lc).into()).map(|data| (data, None))
}

fn short(le: u8) -> usize {
    if le == 0 { 256 } else { le.into() }
}

fn extended(high: u8, low: u8) -> usize {
    match u16::from_be_bytes([high, low]) {
        0 => 65_536,
        le => le.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(protocol: Protocol, body: &[u8]) -> Option<(usize, Option<usize>)> {
        let bytes = [&[0, 0xA4, 0, 0], body].concat();
        Command::parse(protocol, &bytes).map(|command| (command.data.len(), command.le))
    }

    #[test]
    fn t1_takes_all_cases_short_and_extended() {
        let t1 = |body: &[u8]| lengths(Protocol::T1, body);
        assert_eq!(t1(&[]), Some((0, None)));
        assert_eq!(t1(&[0]), Some((0, Some(256))));
        assert_eq!(t1(&[2, 7, 7]), Some((2, None)));
        assert_eq!(t1(&[2, 7, 7, 5]), Some((2, Some(5))));
        assert_eq!(t1(&[0, 0, 0]), Some((0, Some(65_536))));
        assert_eq!(t1(&[0, 0, 2, 7, 7]), Some((2, None)));
        assert_eq!(t1(&[0, 0, 2, 7, 7, 1, 0]), Some((2, Some(256))));
    }

    #[test]
    fn inconsistent_lengths_are_refused() {
        for body in [&[2, 7][..], &[2, 7, 7, 5, 5], &[0, 0, 0, 0], &[0, 0, 2, 7], &[0, 0, 2, 7, 7, 0], &[0, 0]] {
            assert_eq!(lengths(Protocol::T1, body), None, "{body:?}");
        }
        assert!(Command::parse(Protocol::T1, &[0, 0xA4, 0]).is_none());
    }

    #[test]
    fn a_t1_card_ignores_bytes_after_the_pin() {
        let pin = |protocol, body: &[u8]| {
            Command::parse(protocol, &[&[0, VERIFY, 0, 0x80], body].concat()).map(|command| command.data.to_vec())
        };
        assert_eq!(pin(Protocol::T1, &[2, 7, 8, 9, 9]), Some(vec![7, 8]));
        assert_eq!(pin(Protocol::T1, &[0, 7, 8, 9, 9]), None);
        assert_eq!(pin(Protocol::T1, &[3, 7, 8]), None);
        assert_eq!(pin(Protocol::T0, &[2, 7, 8, 9, 9]), None);
    }

    #[test]
    fn t0_accepts_five_header_bytes_and_p3_data_bytes_only() {
        let t0 = |body: &[u8]| lengths(Protocol::T0, body);
        assert_eq!(t0(&[0]), Some((0, Some(256))));
        assert_eq!(t0(&[2, 7, 7]), Some((2, None)));
        for body in [&[][..], &[2, 7], &[2, 7, 7, 0], &[0, 0, 0], &[0, 0, 2, 7, 7]] {
            assert_eq!(t0(body), None, "{body:?}");
        }
    }
}
