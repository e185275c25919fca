//! The turns at one reader: the rule, the waiting requests themselves, the ids of users, and the group of the last
//! turn, for whose end the actor waits.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::{Caller, CallerKey, UserId, UserIds},
    turns::{
        isolation::GroupId,
        limits::{Full, QueueLimits, QueuePlaces},
        request::{Kind, Request, RequestNumber},
        schedule::{Decision, Schedule, TurnSettings},
        turn::Left,
    },
};

use super::inbox::{Purpose, Waiting};
use crate::caller::group::GroupMark;

/// A caller as the rule counts it: a connection may carry requests of several tokens, each of which is a user.
type TurnCaller = (UserId, CallerKey);

/// The turns at one reader. Owned by its actor.
pub(super) struct ReaderSchedule {
    /// The places of the waiting requests. Each request takes one, and gives it back when it no longer waits.
    places: QueuePlaces<UserId>,
    /// The rule of turns, which knows the waiting requests by number.
    rule: Schedule<UserId, TurnCaller, GroupId>,
    /// The waiting requests themselves, with their users. The numbers are the same as in the rule.
    waiting: HashMap<RequestNumber, (UserId, Waiting)>,
    /// The ids of users in the rule and the places.
    users: UserIds,
    /// The group of the last turn. Only this group may have left security state in the card.
    group: Option<GroupMark>,
}

impl ReaderSchedule {
    /// Creates a schedule without requests.
    pub(super) fn new(limits: QueueLimits, settings: TurnSettings) -> Self {
        let (waiting, users) = (HashMap::new(), UserIds::default());
        Self { places: QueuePlaces::new(limits), rule: Schedule::new(settings), waiting, users, group: None }
    }

    /// The number of waiting requests.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is no waiting request.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number of callers with a waiting request.
    pub(super) fn waiting_callers(&self) -> usize {
        self.rule.rounds().waiting_callers()
    }

    /// Whether callers of other groups wait during the current turn.
    pub(super) fn is_contended(&self) -> bool {
        self.rule.is_contended()
    }

    /// The earliest deadline of a waiting request.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.rule.rounds().next_deadline()
    }

    /// The waiting request with this number, if any.
    pub(super) fn get(&self, number: RequestNumber) -> Option<&Waiting> {
        self.waiting.get(&number).map(|(_, waiting)| waiting)
    }

    /// The requests of `caller` in the order of their turns, each with an estimate of the turns before it. The current
    /// turn is not counted.
    pub(super) fn of_caller(&self, caller: &Caller) -> impl Iterator<Item = (usize, &Waiting)> {
        let user = self.users.known(&caller.principal());
        let turns = user.map(|user| self.rule.rounds().turns_ahead_of((user, caller.key))).unwrap_or_default();
        turns.into_iter().filter_map(|(number, ahead)| Some((ahead, self.get(number)?)))
    }

    /// All requests in the estimated order of their turns. O(n log n).
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Waiting> {
        self.rule.rounds().in_order().into_iter().filter_map(|number| self.get(number))
    }

    /// Adds a request, which waits for its turn.
    ///
    /// # Errors
    /// The request, and the limit that it would exceed.
    pub(super) fn push(
        &mut self,
        number: RequestNumber,
        caller: CallerKey,
        waiting: Waiting,
        now: Instant,
    ) -> Result<(), Box<(Waiting, Full)>> {
        let user = self.users.id(&waiting.access().caller().principal());
        let caller = (user, caller);
        if let Err(full) = self.places.take(user, self.rule.rounds().len_of(caller)) {
            return Err(Box::new((waiting, full)));
        }
        let request = Request {
            number,
            user,
            caller,
            group: waiting.group.id(),
            kind: match waiting.purpose {
                Purpose::Unit(_) => Kind::Unit,
                Purpose::Session(_) => Kind::Session,
            },
            demands_reset: waiting.turn().reset_before.is_some(),
            share: waiting.access().share().into(),
            arrived: waiting.arrived(),
            deadline: waiting.deadline(),
        };
        self.rule.push(request, now);
        self.waiting.insert(number, (user, waiting));
        Ok(())
    }

    /// Removes the waiting request with this number.
    pub(super) fn remove(&mut self, number: RequestNumber, now: Instant) -> Option<Waiting> {
        self.rule.remove(number, now);
        self.leave(number)
    }

    /// Removes all requests that satisfy `condition`, in order of arrival.
    pub(super) fn remove_if(&mut self, now: Instant, condition: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let satisfy = self.waiting.iter().filter(|(_, (_, waiting))| condition(waiting));
        let mut numbers: Vec<_> = satisfy.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| self.remove(number, now)).collect()
    }

    /// Removes one request whose deadline has passed.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Waiting> {
        let expired = self.rule.pop_expired(now)?;
        self.leave(expired.number)
    }

    /// Removes the request itself, and gives its place back.
    fn leave(&mut self, number: RequestNumber) -> Option<Waiting> {
        let (user, waiting) = self.waiting.remove(&number)?;
        self.places.give_back(user);
        Some(waiting)
    }

    /// The rule's decision on what happens now. Only called while the card is not being reset, taken or released.
    pub(super) fn next(&mut self, now: Instant) -> Decision {
        self.rule.next(now)
    }

    /// Records that the turn of a request began, and removes the request.
    pub(super) fn on_turn_began(&mut self, number: RequestNumber, now: Instant) -> Option<Waiting> {
        let waiting = self.leave(number)?;
        self.rule.on_turn_began(number, now);
        self.group = Some(waiting.group.clone());
        self.check_group();
        Some(waiting)
    }

    /// Records that the turn ended. `left` is the state in which it leaves the card; `None` if it sent nothing.
    pub(super) fn on_turn_ended(&mut self, left: Option<Left>, now: Instant) {
        match left {
            Some(left) => self.rule.on_turn_ended(left, now),
            None => self.rule.on_turn_unused(now),
        }
    }

    /// Records that an operator ended the last turn.
    pub(super) fn on_released(&mut self) {
        self.rule.on_released();
    }

    /// Records that the card was reset. `isolation_took` is the time of a reset of the kind used between groups.
    pub(super) fn on_reset(&mut self, isolation_took: Option<Duration>, now: Instant) {
        self.rule.on_reset(isolation_took, now);
    }

    /// Records that the card was taken, lost or released.
    pub(super) fn on_card_changed(&mut self) {
        self.rule.on_card_changed();
    }

    /// Records that the broker stops. No further turn begins.
    pub(super) fn on_stopping(&mut self) {
        self.rule.on_stopping();
    }

    /// Whether a group may have security state in the card.
    pub(super) fn is_raised(&self) -> bool {
        self.rule.is_raised()
    }

    /// Whether a reset is due now, before any waiting request: the group that left security state in the card has
    /// ended.
    pub(super) fn is_reset_due(&self) -> bool {
        self.rule.is_reset_due()
    }

    /// Reports to the rule if the group of the last turn has ended.
    pub(super) fn check_group(&mut self) {
        if let Some(group) = self.group.as_ref().filter(|group| group.has_ended()) {
            self.rule.on_group_ended(group.id());
        }
    }

    /// Waits until the group of the last turn ends. Never completes if it has already ended, or before the first turn.
    pub(super) async fn group_ends(&self) {
        match &self.group {
            Some(group) if !group.has_ended() => group.ended().await,
            _ => std::future::pending().await,
        }
    }

    /// A planted fault: reports to the rule that the group of the last turn has ended.
    #[cfg(test)]
    pub(super) fn end_group_too_early(&mut self) {
        if let Some(group) = &self.group {
            self.rule.on_group_ended(group.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{
        card::unit::UnitRequest,
        turns::turn::{CardRequirement, Disposition, TurnRequest},
    };

    use super::*;
    use crate::{
        caller::group::{Group, GroupKey, Groups},
        reader::{handle::ReaderHandle, inbox::Message},
    };

    const LIMITS: QueueLimits = QueueLimits { per_caller: 8, per_reader: 32 };

    fn key(connection: u64) -> GroupKey {
        GroupKey::Caller(CallerKey::Connection(connection))
    }

    /// A schedule in which a caller of `group` has had a turn and left security state in the card.
    fn used(group: GroupMark) -> ReaderSchedule {
        let (mut schedule, now) = (ReaderSchedule::new(LIMITS, TurnSettings::default()), Instant::now());
        assert_eq!(ask(&mut schedule, 1, group), Some(false));
        schedule.on_turn_ended(Some(Left { raised: true, ..Left::default() }), now);
        schedule.check_group();
        schedule
    }

    /// Submits a request of `group`. Returns whether a reset precedes its turn; `None` if its turn does not begin.
    fn ask(schedule: &mut ReaderSchedule, connection: u64, group: GroupMark) -> Option<bool> {
        let (handle, mut requests) = ReaderHandle::new(
            crate::journal::JournalHandle::default(),
            LIMITS,
            tokio_util::sync::CancellationToken::new(),
        );
        let turn = TurnRequest {
            reset_before: None,
            if_insertion_id: None,
            if_state_tag: None,
            if_not_raised: false,
            wait_timeout: Duration::from_secs(3600),
            card: CardRequirement::Awaited,
        };
        let request = UnitRequest { commands: Vec::new(), turn, disposition: Disposition::Leave };
        let access = crate::policy::access::unlimited(CallerKey::Connection(connection));
        let submission = handle.submit(access, group, request, Instant::now()).unwrap();
        let Ok(Message::Submit { caller, waiting, .. }) = requests.messages.try_recv() else { panic!("no request") };
        assert!(schedule.push(connection, caller, waiting, Instant::now()).is_ok());
        drop(submission);
        // Later than the end of any linger.
        let now = Instant::now() + Duration::from_secs(60);
        match schedule.next(now) {
            Decision::Start { number, reset, .. } => schedule.on_turn_began(number, now).map(|_| reset),
            _ => None,
        }
    }

    fn member(groups: &Groups, connection: u64) -> std::sync::Arc<Group> {
        groups.join(key(connection))
    }

    #[test]
    fn a_reset_stands_between_groups_once_something_was_raised() {
        let groups = Groups::default();
        let (first, other) = (member(&groups, 1), member(&groups, 2));
        assert_eq!(ask(&mut used(first.mark()), 2, other.mark()), Some(true));
        assert_eq!(ask(&mut used(first.mark()), 1, first.mark()), Some(false));
        let mut schedule = used(first.mark());
        schedule.on_reset(None, Instant::now());
        assert_eq!(ask(&mut schedule, 2, other.mark()), Some(false));
    }

    #[test]
    fn a_group_that_has_ended_leaves_nothing_even_to_its_namesake() {
        let groups = Groups::default();
        let first = member(&groups, 1);
        let mut schedule = used(first.mark());
        assert!(!schedule.is_reset_due());
        drop(first);
        schedule.check_group();
        assert!(schedule.is_reset_due());
        assert_eq!(ask(&mut schedule, 1, member(&groups, 1).mark()), None, "before the reset");
        schedule.on_reset(None, Instant::now());
        assert!(!schedule.is_reset_due());
    }

    #[test]
    fn a_unit_that_is_alone_leaves_nothing_to_anybody() {
        let mut schedule = used(GroupMark::alone());
        assert!(schedule.is_reset_due());
        schedule.on_reset(None, Instant::now());
        schedule.check_group();
        assert!(!schedule.is_reset_due());
    }

    #[tokio::test]
    async fn the_actor_wakes_when_the_group_ends() {
        let groups = Groups::default();
        let group = member(&groups, 1);
        let schedule = used(group.mark());
        let mut waits = std::pin::pin!(schedule.group_ends());
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(group);
        assert!(futures_util::poll!(&mut waits).is_ready());
    }
}
