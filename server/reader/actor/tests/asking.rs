//! The callers' steps of a history: they submit, cancel, close and disconnect.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    apdu::CommandApdu,
    caller::CallerKey,
    card::unit::{UnitCommand, UnitRequest},
    turns::turn::{CardRequirement, TurnRequest},
};

use super::{
    super::*,
    clients::{Hand, Item, LIMITS, SessionUnitItem, Stage, group_key},
    faults::{Fault, forgetful, overstay},
    history::{CALLERS, Step, Wish, user_of},
    witness::Promise,
    world::World,
};
use crate::reader::session::SessionRequest;

impl World {
    pub(super) fn client_step(&mut self, step: Step) {
        let clients = &mut self.clients;
        let session = |which| clients.pick(which, |hand| matches!(hand, Hand::Session(_)));
        match step {
            Step::Submit(wish) => self.submit(wish),
            Step::Drop(which) => {
                if let Some(item) = clients.pick(which, |hand| !matches!(hand, Hand::Empty)) {
                    if let Item { hand: Hand::Session(_), stage: Stage::Begun, .. } = &clients.items[item] {
                        self.witness.owes(item, Some(ResetKind::Warm));
                    }
                    clients.drop_item(item);
                }
            }
            Step::Die(caller) => clients.drop_all(|item| item.wish.caller == caller),
            Step::GroupEnds(group) => {
                // The group's connections end, and with them their requests.
                clients.drop_all(|item| item.group.0 == group);
                let (generation, member) = clients.members.remove(group);
                if self.fault == Some(Fault::ImmortalGroup) {
                    std::mem::forget(Arc::clone(&member));
                }
                drop(member);
                clients.members.insert(group, (generation + 1, clients.groups.join(group_key(group))));
            }
            Step::Ask { which, raises, commands, restart } => {
                if let Some(item) = session(which) {
                    self.ask(item, raises, commands, restart);
                }
            }
            Step::AskReset(which) => {
                if let Some(item) = session(which)
                    && let Hand::Session(session) = &clients.items[item].hand
                    && let Ok(reset) = session.reset(ResetKind::Warm, true)
                {
                    clients.resets.push((item, reset));
                }
            }
            Step::Close(which) => {
                if let Some(item) = session(which) {
                    clients.close(item);
                }
            }
            _ => {}
        }
    }

    fn submit(&mut self, wish: Wish) {
        let clients = &mut self.clients;
        let number = clients.items.len();
        if number == 255 {
            return;
        }
        let (generation, member) = &clients.members[wish.group];
        let group = (wish.group, *generation);
        let turn = TurnRequest {
            reset_before: wish.reset_before,
            if_insertion_id: None,
            if_state_tag: wish.if_unchanged.then(|| self.actor.lifecycle.state_tag()),
            if_not_raised: false,
            wait_timeout: wish.wait_timeout + overstay(self.fault),
            card: if wish.wait_for_card { CardRequirement::Awaited } else { CardRequirement::Required },
        };
        let disposition = forgetful(self.fault, wish.disposition);
        let of_caller = clients.waiting().filter(|item| item.wish.caller == wish.caller).count();
        let of_user = clients.waiting().filter(|item| user_of(item.wish.caller) == user_of(wish.caller)).count();
        let is_full = of_caller >= LIMITS.per_caller || of_user >= LIMITS.per_reader / 4;
        let is_turned_away = self.actor.lifecycle.refusal().is_some_and(|refusal| turn.is_refused_by(&refusal));
        let caller = CallerKey::Connection(wish.caller as u64);
        let uid = if self.fault == Some(Fault::OneUser) { 0 } else { user_of(wish.caller) as u32 };
        let access = crate::policy::access::unlimited_for(caller, uid);
        let hand = if wish.session {
            let request = SessionRequest {
                turn,
                idle_timeout: Duration::from_secs(1),
                disposition,
                records: crate::policy::audit::SessionRecords::Each,
            };
            clients.handle.open_session(access, member.mark(), request, self.now).map(Hand::Opening)
        } else {
            let commands = commands(number, 0, wish.commands, wish.raises);
            let request = UnitRequest { commands, turn, disposition };
            clients.handle.submit(access, member.mark(), request, self.now).map(Hand::Unit)
        };
        let Ok(hand) = hand else { return };
        clients.items.push(Item {
            deadline: self.now + wish.wait_timeout,
            stage: Stage::Waiting,
            hand,
            group,
            insertion: String::new(),
            ahead: of_caller,
            turns: [0; CALLERS],
            overtaken: [false; CALLERS],
            commands: 0,
            wish,
        });
        self.turn_of(number, is_full && !is_turned_away);
    }

    /// Checks whether the new request was rightly refused because the queue is full.
    fn turn_of(&mut self, number: usize, must_be_full: bool) {
        self.last_full = None;
        self.turn();
        let is_full = self.last_full == Some(number);
        let detail = || format!("{number} finds the queue full: {is_full}");
        self.witness.expect(Promise::Limits, is_full == must_be_full || self.actor.phase.is_ending(), detail);
    }

    fn ask(&mut self, number: usize, raises: bool, count: usize, restart: bool) {
        let item = &mut self.clients.items[number];
        let Hand::Session(session) = &item.hand else { return };
        let first = item.commands;
        if let Ok(unit) = session.transmit(commands(number, first, count, raises), restart, self.now) {
            item.commands += count as u8;
            self.clients.requested.push(SessionUnitItem { item: number, first, count, unit });
        }
    }
}

/// `count` commands of `item`: VERIFY, which raises security state, or SELECT. Their parameters identify them.
fn commands(item: usize, first: u8, count: usize, raises: bool) -> Vec<UnitCommand> {
    let instruction = if raises { 0x20 } else { 0xA4 };
    let command = |number| {
        let apdu = CommandApdu::parse(vec![0x00, instruction, number, item as u8, 0x01, 0x31]).unwrap();
        UnitCommand::from(apdu)
    };
    (first..).take(count).map(command).collect()
}
