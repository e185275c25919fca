//! The calls and events of a history, played to the handles and in the model.

use proptest::test_runner::TestCaseError;

use super::{
    world::{Program, Reader, World, context, user},
    *,
};

impl World {
    /// The turn comes, from a handle that does not keep it.
    fn grant(&mut self, id: u32, begins: bool, selects: Option<bool>) -> Result<(), Code> {
        let reader = self.programs[&id].reader;
        if let Some(before) = self.readers[reader].holder.replace(id)
            && !self.has(Fault::KeepsTurn)
        {
            self.handles.on_turn_over(before, 0);
        }
        let card = Card { insertion: self.insertion(reader), resets: self.resets(reader), selection: 0 };
        self.handles.on_turn(id, &card, begins, selects)
    }

    fn end_turn(&mut self, id: u32) {
        let reader = self.programs[&id].reader;
        if self.readers[reader].holder == Some(id) {
            self.readers[reader].holder = None;
            self.handles.on_turn_over(id, 0);
            if let Some(program) = self.programs.get_mut(&id) {
                program.depth = 0;
            }
        }
    }

    pub(super) fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Connect { id, .. } if self.programs.contains_key(&id) => Ok(()),
            Step::Connect { id, process, reader, share } => self.connect(id, process, reader, share),
            Step::Event(reader, event) => {
                self.event(reader, event);
                Ok(())
            }
            Step::Begin(id)
            | Step::Transmit(id)
            | Step::End { id, .. }
            | Step::Reconnect { id, .. }
            | Step::Status(id)
            | Step::Disconnect(id)
            | Step::Rest(id)
                if !self.programs.contains_key(&id) =>
            {
                prop_assert_eq!(self.handles.begin(id, "i1"), Ask::Answer(Code::INVALID_HANDLE), "{}", CONNECTED);
                Ok(())
            }
            Step::Begin(id) => self.ask(id, true),
            Step::Transmit(id) => self.ask(id, false),
            Step::End { id, resets } => self.end(id, resets),
            Step::Reconnect { id, share, end } => self.reconnect(id, share, end),
            Step::Status(id) => {
                let program = self.programs[&id].clone();
                let news = self.news(&program).unwrap_or(Code::SUCCESS);
                prop_assert_eq!(self.handles.status(id, &self.insertion(program.reader)), news, "{}", NEWS);
                Ok(())
            }
            Step::Disconnect(id) => {
                self.end_turn(id);
                if !self.has(Fault::StaysConnected) {
                    self.handles.disconnect(id);
                }
                self.programs.remove(&id);
                Ok(())
            }
            Step::Rest(id) => {
                if !self.keeps(id) {
                    self.end_turn(id);
                }
                Ok(())
            }
        }
    }

    fn event(&mut self, reader: usize, event: Event) {
        match event {
            Event::Reset => {
                // A turn that is kept goes on: a program outside of the broker has reset the card.
                let resting = self.readers[reader].holder.filter(|holder| !self.keeps(*holder));
                resting.into_iter().for_each(|holder| self.end_turn(holder));
                self.readers[reader].resets += 1;
                self.see_resets(reader);
            }
            Event::Revoke => {
                if let Some(keeper) = self.keeper(reader)
                    && let Some(program) = self.programs.get_mut(&keeper)
                {
                    let is_exclusive = program.share == ShareMode::Exclusive;
                    let code = if is_exclusive { Code::REMOVED_CARD } else { Code::RESET_CARD };
                    program.told = Some(code);
                    self.handles.tell(keeper, code);
                    self.end_turn(keeper);
                }
            }
            Event::Swap => {
                self.readers[reader].holder.into_iter().for_each(|holder| self.end_turn(holder));
                self.readers[reader].insertion += 2;
            }
        }
    }

    fn connect(&mut self, id: u32, process: u64, reader: usize, share: ShareMode) -> TestCaseResult {
        self.see_resets(reader);
        self.protocol += 1;
        let Reader { insertion, resets, .. } = self.readers[reader];
        let at = Connected {
            user: user(process),
            process: if self.has(Fault::MixesProcesses) { u64::from(id % 2) } else { process },
            context: context(process),
            reader: READERS[reader].into(),
            rule: self.rule(),
            share,
            protocol: self.protocol,
            insertion: self.insertion(reader),
        };
        let connected = self.handles.connect(id, at);
        if self.is_excluded(process, reader, share, None) {
            prop_assert_eq!(connected, Err(Code::SHARING_VIOLATION), "{}", EXCLUDES);
            return Ok(());
        }
        prop_assert_ne!(connected, Err(Code::SHARING_VIOLATION), "{}", EXCLUDES);
        let held = self.programs.values().filter(|other| user(other.process) == user(process)).count() as u64;
        prop_assert_eq!(connected.is_ok(), held < LIMITS.per_user, "{}", PLACES);
        if connected.is_err() {
            return Ok(());
        }
        let (protocol, depth) = (self.protocol, 0);
        let (has_used, sent_at) = (false, None);
        let program =
            Program { process, reader, share, protocol, depth, insertion, resets, has_used, sent_at, told: None };
        self.programs.insert(id, program);
        if !self.takes_exclusive_turn(id)? {
            // The program has waited in vain.
            self.handles.disconnect(id);
            self.programs.remove(&id);
        }
        Ok(())
    }

    /// Gets an exclusive handle its turn, as the door does. Returns whether that has succeeded.
    fn takes_exclusive_turn(&mut self, id: u32) -> Result<bool, TestCaseError> {
        let Program { share, reader, .. } = self.programs[&id];
        match self.readers[reader].holder {
            _ if share != ShareMode::Exclusive => Ok(true),
            Some(holder) if holder == id => Ok(true),
            Some(holder) if self.keeps(holder) => Ok(false),
            _ if self.has(Fault::TakesNoTurn) => {
                self.readers[reader].holder = Some(id);
                Ok(true)
            }
            _ => {
                let granted = self.grant(id, false, None);
                prop_assert_eq!(granted, Ok(()), "{}", NEWS);
                Ok(true)
            }
        }
    }

    fn reconnect(&mut self, id: u32, share: ShareMode, end: Reconnected) -> TestCaseResult {
        let before = self.programs[&id].clone();
        let reader = before.reader;
        self.see_resets(reader);
        self.protocol += 1;
        let told = if self.has(Fault::KeepsOldShare) { before.share } else { share };
        let reconnected = self.handles.reconnect(id, told, self.protocol, &self.insertion(reader));
        if self.is_excluded(before.process, reader, share, Some(id)) {
            prop_assert_eq!(reconnected, Err(Code::SHARING_VIOLATION), "{}", EXCLUDES);
            return Ok(());
        }
        let Ok(undo) = reconnected else { return Err(TestCaseError::fail(EXCLUDES)) };
        let Reader { insertion, resets, .. } = self.readers[reader];
        let sent_at = before.sent_at.filter(|_| before.insertion == insertion);
        let (depth, protocol) = (before.depth, self.protocol);
        let (has_used, told) = (false, None);
        let program = Program { share, protocol, insertion, resets, has_used, sent_at, told, depth, ..before.clone() };
        self.programs.insert(id, program);
        let fails = match end {
            Reconnected::Succeeds => !self.takes_exclusive_turn(id)?,
            Reconnected::Fails(event) => {
                event.into_iter().for_each(|event| self.event(reader, event));
                true
            }
        };
        if fails {
            // Of two pieces of news, the removal counts, and otherwise the first one.
            let Program { depth, told: later, .. } = self.programs[&id];
            let told = later.filter(|code| *code == Code::REMOVED_CARD).or(before.told).or(later);
            self.programs.insert(id, Program { depth, told, ..before });
            if !self.has(Fault::KeepsNewShare) {
                self.handles.undo_reconnect(id, undo);
            }
        }
        Ok(())
    }

    fn ask(&mut self, id: u32, begins: bool) -> TestCaseResult {
        let program = self.programs[&id].clone();
        let (reader, insertion) = (program.reader, self.insertion(program.reader));
        let keeper = self.keeper(reader).filter(|keeper| *keeper != id);
        let is_own = self.is_own_process_busy(id, &program);
        let ask = if begins { self.handles.begin(id, &insertion) } else { self.handles.ask(id, &insertion) };
        prop_assert_eq!(
            ask == Ask::Ready,
            self.news(&program).is_none() && self.readers[reader].holder == Some(id),
            "{}",
            READY
        );
        let code = match ask {
            Ask::Answer(code) => code,
            Ask::Ready => Code::SUCCESS,
            Ask::Turn if keeper.is_some() => {
                prop_assert!(!is_own, "{}", BUSY);
                return Ok(());
            }
            Ask::Turn => self.grant(id, begins, if begins { None } else { Some(false) }).err().unwrap_or(Code::SUCCESS),
        };
        match self.news(&program) {
            Some(news) => prop_assert_eq!(code, news, "{}", NEWS),
            None if is_own => prop_assert_eq!(code, Code::SHARING_VIOLATION, "{}", BUSY),
            None => prop_assert_eq!(code, Code::SUCCESS, "{}", NEWS),
        }
        if !code.is_success() {
            return Ok(());
        }
        if !begins {
            prop_assert_eq!(self.handles.on_command(id, false), Ok(()), "{}", NEWS);
            if !self.has(Fault::ForgetsCommands) {
                self.handles.on_sent(id, false, self.readers[reader].resets);
            }
        }
        let resets = self.readers[reader].resets;
        if let Some(program) = self.programs.get_mut(&id) {
            (program.depth, program.resets) = (program.depth + u32::from(begins), resets);
            if !begins {
                (program.has_used, program.sent_at) = (true, Some(resets));
            }
        }
        Ok(())
    }

    fn end(&mut self, id: u32, does_reset: bool) -> TestCaseResult {
        let reader = self.programs[&id].reader;
        if self.programs[&id].depth > 0 && does_reset && self.programs[&id].insertion == self.readers[reader].insertion
        {
            self.readers[reader].resets += 1;
            let resets = self.resets(reader);
            self.handles.on_reset(id, resets, false);
            if let Some(program) = self.programs.get_mut(&id) {
                program.told = program.told.or(Some(Code::RESET_CARD));
            }
        }
        let program = self.programs[&id].clone();
        if self.has(Fault::KeepsTransaction) {
            if let Some(program) = self.programs.get_mut(&id) {
                program.depth = program.depth.saturating_sub(1);
            }
            return Ok(());
        }
        let end = self.handles.end(id, &self.insertion(reader));
        let news = self.news(&program);
        let is_own = self.is_own_process_busy(id, &program);
        prop_assert_eq!(end.was_open, program.depth > 0, "{}", KEEPS);
        let code = match program.depth {
            0 if is_own => news.unwrap_or(Code::SHARING_VIOLATION),
            0 => news.unwrap_or(Code::NOT_TRANSACTED),
            _ => news.unwrap_or(Code::SUCCESS),
        };
        prop_assert_eq!(end.code, code, "{}", NEWS);
        if let Some(program) = self.programs.get_mut(&id) {
            program.depth = program.depth.saturating_sub(1);
        }
        Ok(())
    }
}
