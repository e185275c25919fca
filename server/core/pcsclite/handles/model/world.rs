//! The model: programs with their handles, readers with their cards, and the comparison with the handles under test.

use super::*;

pub(super) fn user(process: u64) -> u32 {
    if process < PROCESSES { 7 } else { 8 }
}

pub(super) fn context(process: u64) -> u32 {
    u32::try_from(process).unwrap()
}

/// A handle as its program has reason to see it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) process: u64,
    pub(super) reader: usize,
    pub(super) share: ShareMode,
    pub(super) protocol: u32,
    pub(super) depth: u32,
    pub(super) insertion: u64,
    pub(super) resets: u64,
    pub(super) has_used: bool,
    /// The resets of the card at the last command.
    pub(super) sent_at: Option<u64>,
    /// The news of the program's own doing, or of its turn.
    pub(super) told: Option<Code>,
}

#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) insertion: u64,
    pub(super) resets: u64,
    pub(super) holder: Option<u32>,
}

/// The model, and the handles that must agree with it.
pub(super) struct World {
    pub(super) handles: Handles<u32>,
    pub(super) fault: Option<Fault>,
    pub(super) is_strict: bool,
    pub(super) programs: BTreeMap<u32, Program>,
    pub(super) readers: [Reader; 2],
    pub(super) protocol: u32,
}

impl World {
    pub(super) fn new(is_strict: bool, fault: Option<Fault>) -> Self {
        let limits = if fault == Some(Fault::NoLimit) { HandleLimits { per_user: 64, ..LIMITS } } else { LIMITS };
        let readers = [1, 2].map(|insertion| Reader { insertion, resets: 0, holder: None });
        let (handles, programs) = (Handles::new(limits), BTreeMap::new());
        Self { handles, fault, is_strict, programs, readers, protocol: 0 }
    }

    /// The rule of all readers.
    pub(super) fn rule(&self) -> ExclusiveRule {
        match self.is_strict != self.has(Fault::SwapsRules) {
            true => ExclusiveRule::Strict,
            false => ExclusiveRule::Virtual,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn insertion(&self, reader: usize) -> String {
        format!("i{}", self.readers[reader].insertion)
    }

    pub(super) fn resets(&self, reader: usize) -> u64 {
        if self.has(Fault::MissesResets) { 0 } else { self.readers[reader].resets }
    }

    pub(super) fn see_resets(&mut self, reader: usize) {
        let resets = self.resets(reader);
        self.handles.see_resets(&READERS[reader].into(), resets);
    }

    /// The handle that has the turn at the reader and keeps it.
    pub(super) fn keeper(&self, reader: usize) -> Option<u32> {
        self.readers[reader].holder.filter(|id| self.keeps(*id))
    }

    pub(super) fn keeps(&self, id: u32) -> bool {
        self.programs.get(&id).is_some_and(|program| program.share == ShareMode::Exclusive || program.depth > 0)
    }

    /// Whether another handle of the program's process keeps the turn at its reader.
    pub(super) fn is_own_process_busy(&self, id: u32, program: &Program) -> bool {
        let keeper = self.keeper(program.reader).filter(|keeper| *keeper != id);
        keeper.is_some_and(|keeper| self.programs[&keeper].process == program.process)
    }

    pub(super) fn is_excluded(&self, process: u64, reader: usize, share: ShareMode, except: Option<u32>) -> bool {
        let others = self.programs.iter().filter(|(id, other)| Some(**id) != except && other.reader == reader);
        let mut others = others.filter(|(_, other)| self.is_strict || other.process == process);
        others.any(|(_, other)| [share, other.share].contains(&ShareMode::Exclusive))
    }

    /// The news that the program must get.
    pub(super) fn news(&self, program: &Program) -> Option<Code> {
        let reader = &self.readers[program.reader];
        match () {
            () if program.insertion != reader.insertion => Some(Code::REMOVED_CARD),
            () if program.told.is_some() => program.told,
            () if program.has_used && program.resets != reader.resets => Some(Code::RESET_CARD),
            () => None,
        }
    }

    /// Compares all that the handles can be asked with the model.
    pub(super) fn agrees(&self) -> TestCaseResult {
        for id in 1..=HANDLES {
            let program = self.programs.get(&id);
            prop_assert_eq!(self.handles.contains(id), program.is_some(), "{}", CONNECTED);
            let Some(program) = program else { continue };
            let terms = |at: &Connected<u32>| (at.share, at.protocol, at.insertion.clone());
            let expected = (program.share, program.protocol, format!("i{}", program.insertion));
            let found = self.handles.get(context(program.process), id).map(terms);
            prop_assert_eq!(found, Some(expected), "{}", TERMS);
            prop_assert!(self.handles.get(context(program.process) + 1, id).is_none(), "{}", CONNECTED);
            let exclusive = (program.share == ShareMode::Exclusive).then(|| READERS[program.reader].into());
            prop_assert_eq!(self.handles.exclusive_reader(id), exclusive, "{}", TERMS);
            prop_assert_eq!(self.handles.keeps_turn(id), self.keeps(id), "{}", KEEPS);
            prop_assert_eq!(self.handles.is_own_process_busy(id), self.is_own_process_busy(id, program), "{}", BUSY);
            let Reader { insertion, resets, .. } = self.readers[program.reader];
            let has_effect = program.insertion == insertion && program.sent_at == Some(resets);
            let insertion = self.insertion(program.reader);
            prop_assert_eq!(self.handles.has_effect(id, &insertion, resets), has_effect, "{}", SENT);
        }
        for process in 1..=PROCESSES {
            for (reader, name) in READERS.iter().enumerate() {
                let own = self.programs.values().filter(|one| (one.process, one.reader) == (process, reader));
                let own: Vec<_> = own.map(|one| one.share).collect();
                let sharing =
                    if own.contains(&ShareMode::Exclusive) { EXCLUSIVE } else { i32::try_from(own.len()).unwrap() };
                prop_assert_eq!(self.handles.sharing(process, name), sharing, "{}", SHARING);
            }
            let own = self.programs.iter().filter(|(_, one)| one.process == process).map(|(id, _)| *id);
            prop_assert_eq!(self.handles.of_context(context(process)), own.collect::<Vec<_>>(), "{}", CONNECTED);
        }
        Ok(())
    }
}
