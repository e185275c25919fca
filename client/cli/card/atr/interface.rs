//! TS, T0 and the interface bytes of an answer to reset (ISO/IEC 7816-3:2006 §8.2 and §8.3).

use super::Part;

/// The most interface bytes that an answer of 33 bytes can hold; a longer input is cut off here.
const MAX_ROUNDS: usize = 32;

/// The clock rate conversion of each value of the high half of TA1, with the highest frequency in tenths of a MHz.
const CONVERSION: [Option<(u32, u32)>; 16] = [
    Some((372, 40)),
    Some((372, 50)),
    Some((558, 60)),
    Some((744, 80)),
    Some((1116, 120)),
    Some((1488, 160)),
    Some((1860, 200)),
    None,
    None,
    Some((512, 50)),
    Some((768, 75)),
    Some((1024, 100)),
    Some((1536, 150)),
    Some((2048, 200)),
    None,
    None,
];

/// The baud rate adjustment of each value of the low half of TA1.
const ADJUSTMENT: [Option<u32>; 16] = [
    None,
    Some(1),
    Some(2),
    Some(4),
    Some(8),
    Some(16),
    Some(32),
    Some(64),
    Some(12),
    Some(20),
    None,
    None,
    None,
    None,
    None,
    None,
];

/// Reads an answer up to its historical bytes.
pub(super) struct Interface<'a> {
    pub(super) parts: Vec<Part>,
    /// The bytes that were not read yet.
    pub(super) rest: &'a [u8],
    pub(super) historical_count: usize,
    /// Each T that a TD names, once, in order; 15 included.
    pub(super) protocols: Vec<u8>,
    pub(super) has_global_tb: bool,
    /// The T whose interface bytes are read, and how many sets of it have been begun.
    of: Option<u8>,
    sets: [u8; 16],
}

impl<'a> Interface<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            parts: Vec::new(),
            rest: bytes,
            historical_count: 0,
            protocols: Vec::new(),
            has_global_tb: false,
            of: None,
            sets: [0; 16],
        }
    }

    /// Reads all interface bytes; `false` if the answer ends before them.
    pub(super) fn read(&mut self) -> bool {
        let Some(ts) = self.next() else { return false };
        let convention = match ts {
            0x3B => "direct convention",
            0x3F => "inverse convention",
            _ => "not a convention: not an answer to reset",
        };
        self.tell(ts, "TS", convention.to_owned());
        let Some(t0) = self.next() else { return false };
        self.historical_count = usize::from(t0 & 0x0F);
        let historical = match self.historical_count {
            0 => "no historical bytes".to_owned(),
            1 => "1 historical byte".to_owned(),
            count => format!("{count} historical bytes"),
        };
        self.tell(t0, "T0", format!("{}{historical}", announced(t0, 1)));
        let mut indicator = t0;
        for round in 1..=MAX_ROUNDS {
            for (bit, letter) in [(0x10, 'A'), (0x20, 'B'), (0x40, 'C')] {
                if indicator & bit == 0 {
                    continue;
                }
                let Some(byte) = self.next() else { return false };
                let meaning = self.meaning(letter, round, byte);
                self.tell(byte, &format!("T{letter}{round}"), meaning);
            }
            if indicator & 0x80 == 0 {
                return true;
            }
            let Some(td) = self.next() else { return false };
            indicator = td;
            let protocol = td & 0x0F;
            let what = match protocol {
                15 => "global interface bytes".to_owned(),
                protocol => format!("protocol T={protocol}"),
            };
            self.tell(td, &format!("TD{round}"), format!("{}{what}", announced(td, round + 1)));
            if !self.protocols.contains(&protocol) {
                self.protocols.push(protocol);
            }
            self.of = Some(protocol);
            // The bytes of the second set have fixed meanings, whatever its protocol is.
            if round >= 2 {
                let sets = &mut self.sets[usize::from(protocol)];
                *sets = sets.saturating_add(1);
            }
        }
        false
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn tell(&mut self, byte: u8, name: &str, meaning: String) {
        self.parts.push(Part::new(&[byte], name, [meaning]));
    }

    fn meaning(&mut self, letter: char, round: usize, byte: u8) -> String {
        let of = self.of.unwrap_or(0);
        let is_first = self.sets[usize::from(of)] == 1;
        match (letter, round) {
            ('A', 1) => speed(byte),
            ('B', 1 | 2) if byte == 0 => "no programming voltage; not used any more".to_owned(),
            ('B', 1 | 2) => "programming voltage; not used any more".to_owned(),
            ('C', 1) => guard_time(byte),
            ('A', 2) => mode(byte),
            ('C', 2) => match byte {
                0 => "waiting time of T=0: reserved value".to_owned(),
                byte => format!("waiting time of T=0: {byte} × 960 × Fi clock periods"),
            },
            ('A', _) if of == 1 && is_first => match byte {
                1..=254 => format!("T=1: the card takes blocks of at most {byte} bytes"),
                _ => "T=1: reserved block size".to_owned(),
            },
            ('B', _) if of == 1 && is_first => {
                let (block, character) = (byte >> 4, byte & 0x0F);
                format!("T=1: waiting times: BWI {block} for a block, CWI {character} for a character")
            }
            ('C', _) if of == 1 && is_first => {
                format!("T=1: blocks end with {}", if byte & 1 == 0 { "one check byte (LRC)" } else { "a CRC" })
            }
            ('A', _) if of == 15 && is_first => power(byte),
            ('B', _) if of == 15 && is_first => {
                self.has_global_tb = true;
                let kind = if byte & 0x80 == 0 { "in the standard way" } else { "in a proprietary way" };
                match byte {
                    0 => "contact C6 (SPU) is not used".to_owned(),
                    _ => format!("contact C6 (SPU) is used {kind}"),
                }
            }
            _ => "without a meaning in ISO 7816-3".to_owned(),
        }
    }
}

/// The interface bytes that T0 or a TD announces: `TA1, TB1; `.
fn announced(indicator: u8, round: usize) -> String {
    let bits = [(0x10, 'A'), (0x20, 'B'), (0x40, 'C'), (0x80, 'D')];
    let present = bits.iter().filter(|(bit, _)| indicator & bit != 0);
    let names: Vec<_> = present.map(|(_, letter)| format!("T{letter}{round}")).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("{} {}; ", names.join(", "), if names.len() == 1 { "follows" } else { "follow" })
    }
}

fn speed(byte: u8) -> String {
    let (conversion, adjustment) = (CONVERSION[usize::from(byte >> 4)], ADJUSTMENT[usize::from(byte & 0x0F)]);
    let (Some((conversion, tenths)), Some(adjustment)) = (conversion, adjustment) else {
        return "speed: reserved value".to_owned();
    };
    let hertz = tenths * 100_000;
    let frequency =
        if tenths % 10 == 0 { format!("{}", tenths / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) };
    let rate = f64::from(hertz) * f64::from(adjustment) / f64::from(conversion);
    format!("Fi {conversion}, Di {adjustment}; at most {frequency} MHz, that is {rate:.0} bit/s")
}

fn guard_time(byte: u8) -> String {
    match byte {
        0 => "no extra guard time".to_owned(),
        255 => "guard time: the shortest of the protocol".to_owned(),
        byte => format!("{byte} bit times more between characters"),
    }
}

fn mode(byte: u8) -> String {
    let change = if byte & 0x80 == 0 { "can change after a warm reset" } else { "cannot change" };
    let speed = if byte & 0x10 == 0 { "with the speed of TA1" } else { "with a speed known in advance" };
    format!("only T={}, {speed}; {change}", byte & 0x0F)
}

fn power(byte: u8) -> String {
    let stop = match byte >> 6 {
        0 => "the clock must not stop",
        1 => "the clock may stop low",
        2 => "the clock may stop high",
        _ => "the clock may stop",
    };
    let classes: Vec<_> = [(1, "5 V"), (2, "3 V"), (4, "1.8 V")]
        .iter()
        .filter(|(bit, _)| byte & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    let voltage = if classes.is_empty() { "reserved voltages".to_owned() } else { classes.join(", ") };
    format!("{voltage}; {stop}")
}
