//! The rest of a response, which the simulated card keeps until it is fetched, normally by the very next command.

use super::{CONTINUE, GET_RESPONSE, OK, SimulatedCard, UNKNOWN_CLASS, UNKNOWN_INSTRUCTION, command::Command};
use crate::slot::Protocol;

pub(super) struct Offered {
    data: Vec<u8>,
    /// The instruction that fetches the rest.
    instruction: u8,
    /// The only class that fetches it; `None` for 00 and 80.
    class: Option<u8>,
    /// Whether a GET RESPONSE in another class leaves it available.
    is_kept: bool,
}

impl Offered {
    /// A rest that GET RESPONSE fetches in one class alone.
    pub(super) fn picky(class: u8, is_kept: bool) -> Self {
        Self { data: b"picky".to_vec(), instruction: GET_RESPONSE, class: Some(class), is_kept }
    }

    /// `61xx`, with 00 for 256 bytes and more.
    pub(super) fn status(&self) -> u16 {
        0x6100 | u16::try_from(self.data.len()).ok().filter(|length| *length < 256).unwrap_or(0)
    }
}

impl SimulatedCard {
    /// Keeps `data` for `instruction` and returns the status word that announces it.
    pub(super) fn offer(&mut self, data: Vec<u8>, instruction: u8) -> u16 {
        self.offered.insert(Offered { data, instruction, class: None, is_kept: false }).status()
    }

    /// The offered bytes, if this command fetches them.
    pub(super) fn fetch(&mut self, command: &Command<'_>, offered: Option<Offered>) -> Result<Vec<u8>, u16> {
        let usual = matches!(command.class, 0x00 | 0x80);
        match offered {
            Some(offered) if offered.class.is_some_and(|class| class != command.class) => {
                self.offered = Some(offered).filter(|offered| offered.is_kept);
                Err(UNKNOWN_CLASS)
            }
            Some(offered) if offered.instruction == command.instruction && (usual || offered.class.is_some()) => {
                Ok(offered.data)
            }
            _ if usual => Err(UNKNOWN_INSTRUCTION),
            _ => Err(UNKNOWN_CLASS),
        }
    }

    /// Fits the response to Le: offers the bytes beyond Le; on T=0 refuses an Le that is too large.
    pub(super) fn fit(&mut self, mut data: Vec<u8>, command: &Command<'_>) -> (Vec<u8>, u16) {
        let le = command.le.unwrap_or(0);
        let continued = if command.instruction == CONTINUE { CONTINUE } else { GET_RESPONSE };
        if self.options.protocol == Protocol::T0 && !data.is_empty() && le > data.len() {
            let status = 0x6C00 | data.len() as u16;
            if command.instruction == continued {
                // The rest must survive until the command is repeated after 6Cxx.
                self.offer(data, continued);
            }
            return (Vec::new(), status);
        }
        let rest = data.split_off(le.min(data.len()));
        let status = if rest.is_empty() { OK } else { self.offer(rest, continued) };
        (data, status)
    }
}
