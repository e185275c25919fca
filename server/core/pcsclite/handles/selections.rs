//! Random histories of commands by several handles against a model that looks back at all of them: which handle gets
//! the news that another program has selected its own application, and which command must not be sent for it.

use std::collections::BTreeSet;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestCaseResult},
};

use super::{tests::at, *};
use crate::properties::{holds, is_broken};

/// The processes of the handles, which have the numbers from 1 on: the rule is about handles, not about processes.
const PROCESSES: [u64; 3] = [1, 1, 2];
const HANDLES: u32 = 3;
const CARD: &str = "i1";
const LIMITS: HandleLimits = HandleLimits { total: 8, per_user: 4 };

/// A command, as far as it matters to the selection.
#[derive(Debug, Clone, Copy)]
struct Command {
    kind: Kind,
    /// Whether the broker keeps it from the card, for example a PIN that is known to be wrong.
    is_withheld: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Selects an application by name.
    ByName,
    /// Changes the selection in another way, for example to a file of the application.
    Otherwise,
    /// Works on what is selected.
    Read,
}

#[derive(Debug, Clone)]
enum Step {
    /// A turn of a handle with these commands. Without a transaction the first command is known when the turn comes.
    Turn { id: u32, begins: bool, commands: Vec<Command>, reconnects: bool },
    /// The handle reconnects between its turns.
    Reconnect(u32),
    /// A caller that is no PC/SC program selects its own application.
    Foreign,
    /// The card is reset between two turns, for example for another isolation group.
    Reset,
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![2 => Just(Kind::ByName), 1 => Just(Kind::Otherwise), 2 => Just(Kind::Read)];
    let command = || {
        let withheld = prop_oneof![5 => Just(false), 1 => Just(true)];
        (kind.clone(), withheld).prop_map(|(kind, is_withheld)| Command { kind, is_withheld })
    };
    let id = || 1..=HANDLES;
    let turn = |id, begins, commands, reconnects| Step::Turn { id, begins, commands, reconnects };
    let step = prop_oneof![
        3 => (id(), vec(command(), 0..4), any::<bool>()).prop_map(move |(id, all, back)| turn(id, true, all, back)),
        3 => (id(), vec(command(), 1..4), any::<bool>()).prop_map(move |(id, all, back)| turn(id, false, all, back)),
        1 => id().prop_map(Step::Reconnect),
        1 => Just(Step::Foreign),
        1 => Just(Step::Reset),
    ];
    vec(step, 0..40)
}

/// Something that has happened to the card, or to the knowledge of a handle.
#[derive(Debug, Clone, Copy)]
enum Past {
    /// A command of the handle has reached the card.
    Sent {
        by: u32,
        selects: bool,
    },
    /// Another caller has changed the selection.
    Selected,
    Reset,
    Reconnected(u32),
}

/// A planted fault: the handles do not hear of something, or hear something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    HidesSelections,
    CountsNamesOnly,
    SeesOldEnd,
    TakesAllForSelections,
    CountsWithheld,
    JudgesNewHandles,
    TrustsAll,
    TrustsNobody,
    MissesResets,
    ForgetsReconnects,
}

impl Fault {
    const ALL: [(Self, &str); 10] = [
        (Self::HidesSelections, MEANT),
        (Self::CountsNamesOnly, MEANT),
        (Self::SeesOldEnd, NEEDLESS),
        (Self::TakesAllForSelections, MEANT),
        (Self::CountsWithheld, MEANT),
        (Self::JudgesNewHandles, FIRST),
        (Self::TrustsAll, TRUST),
        (Self::TrustsNobody, TRUST),
        (Self::MissesResets, RESETS),
        (Self::ForgetsReconnects, STAYS),
    ];
}

// The rules.
const MEANT: &str = "no command goes to the application that another program has selected";
const NEEDLESS: &str = "without a foreign selection or a reset there is no news";
const FIRST: &str = "a handle without an earlier command gets no news";
const TRUST: &str = "a transaction begins in spite of a foreign selection if all turns so far have selected first";
const RESETS: &str = "a reset is news";
const STAYS: &str = "the news stays until the handle reconnects, and no longer";

/// The model, and the handles that must agree with it.
struct World {
    handles: Handles<u32>,
    fault: Option<Fault>,
    past: Vec<Past>,
    /// The number of commands and resets that may have changed the selection, as the card's marks count them.
    selection: u64,
    resets: u64,
    /// The handles that have got news.
    told: BTreeSet<u32>,
    /// The handles that have begun a turn with another command than a selection by name.
    careless: BTreeSet<u32>,
}

impl World {
    fn new(fault: Option<Fault>) -> Self {
        let mut handles = Handles::new(LIMITS);
        for (id, process) in (1..).zip(PROCESSES) {
            handles.connect(id, at(process, ShareMode::Shared)).unwrap();
            if fault == Some(Fault::JudgesNewHandles) {
                handles.on_sent(id, true, 0);
                handles.on_turn_over(id, 0);
            }
        }
        let (told, careless) = (BTreeSet::new(), BTreeSet::new());
        Self { handles, fault, past: Vec::new(), selection: 0, resets: 0, told, careless }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The events since the last command of the handle; `None` if it has sent none since it reconnected.
    fn since_last_command(&self, id: u32) -> Option<&[Past]> {
        let is_own = |past: &Past| matches!(past, Past::Sent { by, .. } | Past::Reconnected(by) if *by == id);
        let last = self.past.iter().rposition(is_own)?;
        matches!(self.past[last], Past::Sent { .. }).then(|| &self.past[last + 1..])
    }

    /// Whether the application that the handle works with is not selected any more.
    fn is_pulled(&self, id: u32) -> bool {
        let selects = |past: &Past| matches!(past, Past::Selected | Past::Sent { selects: true, .. });
        self.since_last_command(id).is_some_and(|past| past.iter().any(selects))
    }

    fn is_reset(&self, id: u32) -> bool {
        self.since_last_command(id).is_some_and(|past| past.iter().any(|past| matches!(past, Past::Reset)))
    }

    /// The rule that a wrong answer to the handle breaks.
    fn rule(&self, id: u32) -> &'static str {
        match () {
            () if self.told.contains(&id) => STAYS,
            () if self.since_last_command(id).is_none() => {
                if self.has_reconnected(id) {
                    STAYS
                } else {
                    FIRST
                }
            }
            () if self.is_reset(id) => RESETS,
            () if self.is_pulled(id) => MEANT,
            () => NEEDLESS,
        }
    }

    fn has_reconnected(&self, id: u32) -> bool {
        self.past.iter().any(|past| matches!(past, Past::Reconnected(by) if *by == id))
    }

    fn seen_resets(&self) -> u64 {
        if self.has(Fault::MissesResets) { 0 } else { self.resets }
    }

    fn step(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Turn { id, begins, commands, reconnects } => self.turn(*id, *begins, commands, *reconnects)?,
            Step::Reconnect(id) => self.reconnect(*id),
            Step::Foreign => {
                self.selection += 1;
                self.past.push(Past::Selected);
            }
            Step::Reset => {
                (self.selection, self.resets) = (self.selection + 1, self.resets + 1);
                self.past.push(Past::Reset);
            }
        }
        Ok(())
    }

    fn reconnect(&mut self, id: u32) {
        let resets = self.seen_resets();
        self.handles.see_resets(&at(1, ShareMode::Shared).reader, resets);
        if !self.has(Fault::ForgetsReconnects) {
            self.handles.reconnect(id, ShareMode::Shared, 2, CARD).unwrap();
        }
        self.told.remove(&id);
        self.past.push(Past::Reconnected(id));
    }

    fn turn(&mut self, id: u32, begins: bool, commands: &[Command], reconnects: bool) -> TestCaseResult {
        let resets = self.seen_resets();
        self.handles.see_resets(&at(1, ShareMode::Shared).reader, resets);
        let rule = self.rule(id);
        let is_refused = self.told.contains(&id) || self.is_reset(id);
        let expected = if is_refused { Ask::Answer(Code::RESET_CARD) } else { Ask::Turn };
        prop_assert_eq!(self.handles.ask(id, CARD), expected, "{}", rule);
        if is_refused {
            self.told.insert(id);
            if reconnects {
                self.reconnect(id);
            }
            return Ok(());
        }
        let selects_first = commands.first().is_some_and(|command| command.kind == Kind::ByName);
        let selects = if begins { None } else { Some(selects_first) };
        let is_expected_to_select = selects.unwrap_or(!self.careless.contains(&id));
        let has_news = self.is_pulled(id) && !is_expected_to_select;
        // A transaction that begins without news may be the fault of either rule.
        let further = if begins && self.is_pulled(id) { TRUST } else { "" };
        let begun = self.begin_turn(id, begins, selects);
        prop_assert_eq!(begun, if has_news { Err(Code::RESET_CARD) } else { Ok(()) }, "{} {}", rule, further);
        let mut is_fresh = !has_news;
        if has_news {
            self.told.insert(id);
            if !reconnects {
                self.end_turn(id, self.selection);
                return Ok(());
            }
            // In the same turn, which is kept for it.
            self.reconnect(id);
            prop_assert_eq!(self.handles.begin(id, CARD), Ask::Ready, "{}", STAYS);
        }
        let before = self.selection;
        for command in commands {
            if !self.command(id, *command, &mut is_fresh)? {
                break;
            }
        }
        self.end_turn(id, before);
        Ok(())
    }

    fn begin_turn(&mut self, id: u32, begins: bool, selects: Option<bool>) -> Result<(), Code> {
        let selection = if self.has(Fault::HidesSelections) { 0 } else { self.selection };
        let card = Card { insertion: CARD.into(), resets: self.seen_resets(), selection };
        let selects = match self.fault {
            Some(Fault::TrustsAll) if begins => Some(true),
            Some(Fault::TrustsNobody) if begins => Some(false),
            _ => selects,
        };
        self.handles.on_turn(id, &card, begins, selects)
    }

    /// Has the handle send a command in its turn. Returns whether the turn goes on.
    fn command(&mut self, id: u32, command: Command, is_fresh: &mut bool) -> Result<bool, TestCaseError> {
        let by_name = command.kind == Kind::ByName;
        let is_refused = self.is_pulled(id) && !by_name;
        let rule = self.rule(id);
        let told_to_select = by_name || self.has(Fault::TakesAllForSelections);
        let sent = self.handles.on_command(id, told_to_select);
        prop_assert_eq!(sent, if is_refused { Err(Code::RESET_CARD) } else { Ok(()) }, "{}", rule);
        if is_refused {
            self.told.insert(id);
            self.careless.insert(id);
            return Ok(false);
        }
        if !command.is_withheld || self.has(Fault::CountsWithheld) && self.is_pulled(id) {
            self.handles.on_sent(id, by_name, self.seen_resets());
        }
        if command.is_withheld {
            return Ok(true);
        }
        if std::mem::take(is_fresh) && !by_name {
            self.careless.insert(id);
        }
        let selects = command.kind != Kind::Read;
        let is_counted = by_name || !self.has(Fault::CountsNamesOnly);
        self.selection += u64::from(selects && is_counted);
        self.past.push(Past::Sent { by: id, selects });
        Ok(true)
    }

    fn end_turn(&mut self, id: u32, before: u64) {
        let selection = match self.fault {
            Some(Fault::HidesSelections) => 0,
            Some(Fault::SeesOldEnd) => before,
            _ => self.selection,
        };
        self.handles.on_turn_over(id, selection);
    }
}

fn play(history: &[Step], fault: Option<Fault>) -> TestCaseResult {
    let mut world = World::new(fault);
    history.iter().try_for_each(|step| world.step(step))
}

#[test]
fn foreign_selections_are_news_as_the_model_says() {
    holds(2000, histories(), |history| play(&history, None));
}

#[test]
fn each_planted_fault_breaks_its_rule() {
    for (fault, rule) in Fault::ALL {
        is_broken(4000, histories(), |history| play(&history, Some(fault)), fault, rule);
    }
}
