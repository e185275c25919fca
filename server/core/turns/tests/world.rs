//! A model of callers that send requests, pause and end, and of a card that takes time. The model carries out each
//! decision as the actor does, and checks it.

mod acting;
mod callers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use proptest::{prelude::*, test_runner::TestCaseResult};

pub(super) use self::callers::{Caller, Fault, caller, ms};
use crate::turns::{
    quantum::MAX_LINGER,
    request::Request,
    schedule::{Schedule, TurnSettings},
    turn::Left,
};

/// The time of one command. A unit stops only after a command.
const COMMAND: Duration = ms(5);

/// One turn that has ended.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) caller: usize,
    pub(super) arrived: Duration,
    pub(super) began: Duration,
    /// The beginning of the first command.
    pub(super) sent: Duration,
    pub(super) ended: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    ResetDone(bool),
    CommandDone,
    Look,
}

pub(super) struct World {
    pub(super) callers: Vec<Caller>,
    pub(super) schedule: Schedule<u8, usize, (u8, u8)>,
    reset: Duration,
    fault: Option<Fault>,
    base: Instant,
    pub(super) now: Duration,
    events: BTreeSet<(Duration, u64, Event)>,
    serial: u64,
    /// The deadlines that are among the events.
    looks: BTreeSet<Duration>,
    /// The caller, arrival, true deadline and maximum wait of each waiting request.
    waiting: BTreeMap<u64, (usize, Duration, Duration, Duration)>,
    asked: Vec<usize>,
    answered: Vec<usize>,
    under_way: Option<(Turn, Duration)>,
    /// The time from which callers of other groups have waited during the current turn.
    contended: Option<Duration>,
    is_stopped: bool,
    is_resetting: bool,
    /// For each pair of callers of a user, the number of times that the first was picked while the second waited.
    picked: HashMap<(usize, usize), usize>,
    ended: BTreeSet<(u8, u8)>,
    pub(super) turns: Vec<Turn>,
    pub(super) expired: usize,
    pub(super) stopped: usize,
    pub(super) resets: usize,
    /// The time of resets and turns of each user.
    pub(super) charged: BTreeMap<u8, Duration>,
    pub(super) lingered: Duration,
}

impl World {
    pub(super) fn new(callers: Vec<Caller>, reset: Duration, settings: TurnSettings, fault: Option<Fault>) -> Self {
        let mut world = Self {
            schedule: Schedule::new(settings),
            reset,
            fault,
            base: Instant::now(),
            now: Duration::ZERO,
            events: BTreeSet::new(),
            serial: 0,
            looks: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asked: vec![0; callers.len()],
            answered: vec![0; callers.len()],
            under_way: None,
            contended: None,
            is_stopped: false,
            is_resetting: false,
            picked: HashMap::new(),
            ended: BTreeSet::new(),
            turns: Vec::new(),
            expired: 0,
            stopped: 0,
            resets: 0,
            charged: BTreeMap::new(),
            lingered: Duration::ZERO,
            callers,
        };
        for index in 0..world.callers.len() {
            for _ in 0..world.callers[index].depth.min(world.callers[index].count) {
                world.at(world.callers[index].start, Event::Arrive(index));
            }
        }
        world
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.serial += 1;
        self.events.insert((time, self.serial, event));
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// Runs the model until `end`, or until no event is left.
    pub(super) fn run(&mut self, end: Duration) -> TestCaseResult {
        while self.events.first().is_some_and(|(time, ..)| *time <= end) {
            let Some((time, _, event)) = self.events.pop_first() else { break };
            self.now = time;
            match event {
                Event::Arrive(caller) => self.arrive(caller),
                Event::ResetDone(for_turn) => self.reset_done(for_turn),
                Event::CommandDone => self.command_done(),
                Event::Look => {}
            }
            // All events of one moment precede the decision.
            if self.events.first().is_none_or(|(next, ..)| *next > self.now) {
                self.advance()?;
            }
        }
        self.now = self.now.max(end);
        let is_late = |&(_, arrived, _, bound): &(usize, Duration, Duration, Duration)| end > arrived + bound;
        prop_assert!(!self.waiting.values().any(is_late), "waits longer than the bound");
        Ok(())
    }

    fn group(&self, caller: usize) -> (u8, u8) {
        (self.callers[caller].user, self.callers[caller].group)
    }

    fn arrive(&mut self, index: usize) {
        self.asked[index] += 1;
        let group = self.group(index);
        let Caller { user, kind, wait, share, .. } = self.callers[index];
        self.serial += 1;
        let number = self.serial;
        let told = if self.fault == Some(Fault::HiddenDeadline) { Duration::from_secs(3600) } else { wait };
        let older = self.schedule.rounds().len_of(index);
        if older == 0 {
            self.picked.retain(|(_, waiting), _| *waiting != index);
        }
        let bound = self.bound(index, older);
        self.waiting.insert(number, (index, self.now, self.now + wait, bound));
        let deadline = self.instant() + told;
        let arrived = self.instant();
        let request =
            Request { number, user, caller: index, group, kind, demands_reset: false, share, arrived, deadline };
        self.schedule.push(request, self.instant());
        if self.fault == Some(Fault::ForgottenCycle) {
            self.schedule.rounds.users.values_mut().for_each(|user| user.cycle = 0);
        }
        self.own_contention();
        self.look_for_contention();
    }

    /// Updates whether callers of other groups wait during the current turn.
    fn look_for_contention(&mut self) {
        let Some((turn, _)) = &self.under_way else {
            self.contended = None;
            return;
        };
        let group = self.group(turn.caller);
        let is_contended = self.waiting.values().any(|(caller, ..)| self.group(*caller) != group);
        self.contended = is_contended.then(|| self.contended.unwrap_or(self.now));
    }

    /// The maximum wait of a request with `older` older ones of its caller: `2 (m + 2) k (V + 1) H + E`, where m is
    /// `older`.
    fn bound(&self, index: usize, older: usize) -> Duration {
        let user = self.callers[index].user;
        let k = self.callers.iter().filter(|caller| caller.user == user).count();
        let mut shares: BTreeMap<u8, u32> = self.callers.iter().map(|caller| (caller.user, caller.share)).collect();
        shares.insert(user, 1);
        let visits = 2 * (older + 2) * k * shares.values().sum::<u32>() as usize;
        let settings = &self.schedule.settings;
        let unit = if self.callers.iter().any(|caller| caller.opens_pairs) {
            settings.bounds.unit(1, Duration::ZERO)
        } else {
            let turn =
                |caller: &Caller| caller.length.min(settings.bounds.turn(caller.kind, 1, Duration::ZERO) + COMMAND);
            self.callers.iter().map(turn).max().unwrap_or_default()
        };
        let rests = self.callers.iter().any(|caller| caller.rests);
        let quantum = settings.quantum.length(self.reset).max(if rests { settings.burst } else { Duration::ZERO });
        let longest = self.callers.iter().map(|caller| caller.length).max().unwrap_or_default();
        (self.reset + quantum + unit + MAX_LINGER) * visits as u32 + longest + self.reset
    }

    fn own_contention(&mut self) {
        if self.fault == Some(Fault::OwnContention)
            && let Some(turn) = &mut self.schedule.turn
            && !self.waiting.is_empty()
        {
            let since = turn.contention.map_or(self.base + self.now, |contention| contention.since);
            let (users, oldest) = (self.waiting.len(), since);
            turn.contention = Some(crate::turns::bounds::Contention { since, users, oldest });
        }
    }

    fn reset_done(&mut self, for_turn: bool) {
        self.is_resetting = false;
        self.schedule.on_reset(Some(self.reset), self.instant());
        if for_turn && let Some((turn, _)) = &mut self.under_way {
            turn.sent = self.now;
            self.next_command();
        }
    }

    fn next_command(&mut self) {
        let Some((_, left)) = &mut self.under_way else { return };
        let command = COMMAND.min(*left);
        *left -= command;
        self.at(self.now + command, Event::CommandDone);
    }

    fn command_done(&mut self) {
        let Some((_, left)) = &self.under_way else { return };
        if !left.is_zero() && !self.is_stopped {
            self.next_command();
            return;
        }
        let Some((mut turn, _)) = self.under_way.take() else { return };
        turn.ended = self.now;
        let caller = self.callers[turn.caller].clone();
        *self.charged.entry(caller.user).or_default() += turn.ended - turn.sent;
        let left = Left { raised: caller.raises, rests: caller.rests, is_pair_open: caller.opens_pairs };
        self.schedule.on_turn_ended(left, self.instant());
        self.is_stopped = false;
        if self.fault == Some(Fault::RestartedQuantum)
            && let Some(visit) = &mut self.schedule.visit
        {
            visit.began = self.base + self.now;
        }
        self.answer(turn.caller);
        self.turns.push(turn);
    }

    /// Ends a request of the caller, and schedules the next one.
    fn answer(&mut self, index: usize) {
        let caller = self.callers[index].clone();
        self.answered[index] += 1;
        if self.asked[index] + caller.depth - 1 < caller.count {
            // A pause is required: a request with a wait of zero would otherwise return without an end.
            self.at(
                self.now + caller.think.max(if caller.wait < ms(5) { ms(20) } else { Duration::from_micros(200) }),
                Event::Arrive(index),
            );
        }
        let is_done = |(other, of): (usize, &Caller)| {
            (of.user, of.group) != (caller.user, caller.group) || self.answered[other] >= of.count
        };
        if self.callers.iter().enumerate().all(is_done) {
            self.ended.insert(self.group(index));
            if self.fault != Some(Fault::ForgottenEnd) {
                self.schedule.on_group_ended(self.group(index));
            }
        }
    }
}
