//! Converts between the reader's commands and the application's: command chaining and GET RESPONSE.

use iso7816::{
    Command, Data, Instruction, Status,
    command::{CommandView, FromSliceError},
};

/// The maximum length of a command and of an answer, in bytes, as required by SP 800-73.
const MOST_BYTES: usize = 7609;

/// The state that one command leaves for the next.
#[derive(Default)]
pub(super) struct Exchange {
    /// The received commands of a chain.
    chain: Option<Command<MOST_BYTES>>,
    /// The unfetched rest of the last answer.
    rest: Vec<u8>,
}

impl Exchange {
    /// The answer to a command, status word included; `application` gets whole commands.
    pub(super) fn answer(
        &mut self,
        command: &[u8],
        application: impl FnOnce(CommandView<'_>, &mut Data<MOST_BYTES>) -> iso7816::Result,
    ) -> Vec<u8> {
        let (mut answer, status) = match self.run(command, application) {
            Ok(expected) => {
                let rest = self.rest.split_off(expected.min(self.rest.len()));
                let answer = std::mem::replace(&mut self.rest, rest);
                let more = u8::try_from(self.rest.len()).unwrap_or(u8::MAX);
                (answer, if more == 0 { Status::Success } else { Status::MoreAvailable(more) })
            }
            Err(status) => (Vec::new(), status),
        };
        answer.extend(<[u8; 2]>::from(status));
        answer
    }

    /// Runs a command unless more of its chain follows; returns how many bytes of `rest` it requests.
    fn run(
        &mut self,
        command: &[u8],
        application: impl FnOnce(CommandView<'_>, &mut Data<MOST_BYTES>) -> iso7816::Result,
    ) -> Result<usize, Status> {
        let mut command = Command::<MOST_BYTES>::try_from(command).map_err(|error| match error {
            FromSliceError::InvalidClass => Status::ClassNotSupported,
            _ => Status::WrongLength,
        })?;
        if command.instruction() == Instruction::GetResponse {
            return if self.rest.is_empty() {
                Err(Status::ConditionsOfUseNotSatisfied)
            } else {
                Ok(command.expected())
            };
        }
        self.rest.clear();
        if let Some(mut chain) = self.chain.take() {
            chain.extend_from_command(&command).map_err(|_| Status::WrongLength)?;
            command = chain;
        }
        if command.class().chain().not_the_last() {
            self.chain = Some(command);
            return Ok(0);
        }
        let mut reply = Data::<MOST_BYTES>::new();
        application(command.as_view(), &mut reply)?;
        self.rest = reply.to_vec();
        Ok(command.expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with the command's data.
    fn echo(command: CommandView<'_>, reply: &mut Data<MOST_BYTES>) -> iso7816::Result {
        reply.extend_from_slice(command.data()).map_err(|_| Status::NotEnoughMemory)
    }

    #[test]
    fn get_response_fetches_the_rest_of_an_answer_once() {
        let mut exchange = Exchange::default();
        assert_eq!(exchange.answer(b"\x00\x01\x00\x00\x05HELLO\x02", echo), b"HE\x61\x03");
        assert_eq!(exchange.answer(b"\x00\xC0\x00\x00\x03", echo), b"LLO\x90\x00");
        assert_eq!(exchange.answer(b"\x00\xC0\x00\x00\x03", echo), b"\x69\x85");
    }

    #[test]
    fn the_links_of_a_chain_are_one_command() {
        let mut exchange = Exchange::default();
        assert_eq!(exchange.answer(b"\x10\x01\x00\x00\x03HEL", echo), b"\x90\x00");
        assert_eq!(exchange.answer(b"\x00\x01\x00\x00\x02LO\x00", echo), b"HELLO\x90\x00");
    }
}
