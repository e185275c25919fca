//! Connection slots: the limits of users, and the eviction of a connection for a new one.
//!
//! A connection that has sent a request keeps its slot. A connection without a request is on probation, and the oldest
//! of these is evicted when a new connection finds no slot. So connections without requests exclude no client.
//!
//! One user has a maximum number of slots, and the last eighth is for small users, with at most a sixty-fourth of the
//! slots. So a few users with many connections exclude no other user.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use cardbroker_core::{
    caller::Principal,
    turns::places::{Places, Refused},
};
use tokio_util::sync::CancellationToken;

/// The bad tokens in a row after which a connection is closed.
const MAX_BAD_TOKENS: u32 = 5;

/// The state that a connection and its slot share. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionStatus {
    request_seen: Arc<AtomicBool>,
    bad_tokens: Arc<AtomicU32>,
    /// Cancelled when the connection has presented too many bad tokens.
    pub(super) distrusted: CancellationToken,
    /// Cancelled when the connection is evicted.
    pub(super) evicted: CancellationToken,
}

impl ConnectionStatus {
    /// Records that a request has come: from now on the connection keeps its slot.
    pub(super) fn note_request(&self) {
        self.request_seen.store(true, Ordering::Relaxed);
    }

    /// Counts a request without a valid token. Returns whether it is the one for which the connection is closed.
    pub(super) fn note_bad_token(&self) -> bool {
        let is_last = self.bad_tokens.fetch_add(1, Ordering::Relaxed) + 1 == MAX_BAD_TOKENS;
        if is_last {
            self.distrusted.cancel();
        }
        is_last
    }

    /// Records a valid token: the bad ones before it are forgiven.
    pub(super) fn note_valid_token(&self) {
        if !self.distrusted.is_cancelled() {
            self.bad_tokens.store(0, Ordering::Relaxed);
        }
    }

    /// Whether no request has come yet.
    pub(super) fn is_on_probation(&self) -> bool {
        !self.request_seen.load(Ordering::Relaxed)
    }
}

/// The decision about a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The connection has a slot now.
    Enter,
    /// The connection waits for the next free slot.
    Wait {
        /// Whether another connection was evicted for it.
        soon: bool,
    },
    /// Its user has the maximum number of connections, or too many of them for the slots that are left.
    Refuse(TooMany),
}

/// The limit that a user's further connection would exceed, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMany {
    /// The maximum of one user.
    OfUser(u64),
    /// Only the last eighth of the slots is free, which is for users with at most this number of connections.
    Reserved(u64),
}

impl fmt::Display for TooMany {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfUser(most) => write!(
                formatter,
                "this user already has {most} connections, the most allowed for one user \
                 (listen.max_connections_per_user): close one"
            ),
            Self::Reserved(few) => write!(
                formatter,
                "the last eighth of the connections (listen.max_connections) is for users with at most {few}: close \
                 some or retry later"
            ),
        }
    }
}

/// The slots in use, by the numbers of their connections: the oldest comes first.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    places: Places<User>,
    taken: BTreeMap<u64, Holder>,
}

/// The user whose connections are counted together. `None` for all connections on the TCP port, where no user is known
/// before the first request.
pub(super) type User = Option<Principal>;

#[derive(Debug)]
struct Holder {
    user: User,
    status: ConnectionStatus,
}

impl ConnectionSlots {
    /// Creates `max` free slots, of which one user may take `max_per_user`.
    pub(super) fn new(max: usize, max_per_user: usize) -> Self {
        Self { places: Places::with_per_user(max as u64, max_per_user as u64), taken: BTreeMap::new() }
    }

    /// The number of slots in use.
    pub(super) fn open(&self) -> usize {
        self.taken.len()
    }

    /// The slots in use of each user.
    pub(super) fn by_user(&self) -> BTreeMap<User, usize> {
        self.taken.values().fold(BTreeMap::new(), |mut users, holder| {
            *users.entry(holder.user.clone()).or_default() += 1;
            users
        })
    }

    /// Decides whether the new connection `number` of `user` gets a slot. If none is free, the oldest connection on
    /// probation is evicted, if there is one.
    ///
    /// For a user above the limit of small users, only its own connections are evicted, so no user can evict all
    /// others; and its new connection never waits, so no client of another user waits behind it.
    pub(super) fn enter(&mut self, number: u64, user: &User, status: &ConnectionStatus) -> Ruling {
        let has_few = self.places.held_by(user.clone()) < self.places.small_user_limit();
        match self.places.take(user.clone(), 1) {
            Ok(()) => {
                self.taken.insert(number, Holder { user: user.clone(), status: status.clone() });
                Ruling::Enter
            }
            Err(Refused::Full) if has_few => Ruling::Wait { soon: self.evict(|_| true) },
            Err(_) if self.evict(|holder| holder.user == *user) => Ruling::Wait { soon: true },
            Err(Refused::UserLimit) => Ruling::Refuse(TooMany::OfUser(self.places.per_user())),
            Err(Refused::Reserved | Refused::Full) => Ruling::Refuse(TooMany::Reserved(self.places.small_user_limit())),
        }
    }

    /// Frees the slot of a closed connection.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(holder) = self.taken.remove(&number) {
            self.places.give_back(holder.user, 1);
        }
    }

    /// Evicts the oldest connection on probation that matches `among`, if there is one. At most one eviction is
    /// pending. Returns whether one is.
    fn evict(&self, among: impl Fn(&Holder) -> bool) -> bool {
        let on_probation = || self.taken.values().filter(|holder| among(holder) && holder.status.is_on_probation());
        if on_probation().any(|holder| holder.status.evicted.is_cancelled()) {
            return true;
        }
        let oldest = on_probation().next();
        oldest.inspect(|holder| holder.status.evicted.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{sid::Sid, user::SystemUser};

    use super::*;

    /// One user of each system, and two of one.
    const ALICE: User = Some(Principal::User(SystemUser::unix(1001)));
    const BOB: User = Some(Principal::User(SystemUser::windows(Sid::LOCAL_SERVICE)));
    const CAROL: User = Some(Principal::User(SystemUser::windows(Sid::NETWORK_SERVICE)));
    const TCP: User = None;

    /// Slots, and the status of each connection in the order of their arrival.
    struct Scene {
        slots: ConnectionSlots,
        statuses: Vec<ConnectionStatus>,
    }

    impl Scene {
        fn new(max: usize, max_per_user: usize) -> Self {
            Self { slots: ConnectionSlots::new(max, max_per_user), statuses: Vec::new() }
        }

        fn connect(&mut self, user: &User) -> Ruling {
            let status = ConnectionStatus::default();
            let ruling = self.slots.enter(self.statuses.len() as u64, user, &status);
            self.statuses.push(status);
            ruling
        }

        fn request(&self, number: usize) {
            self.statuses[number].note_request();
        }

        fn evicted(&self) -> Vec<usize> {
            let evicted = self.statuses.iter().enumerate().filter(|(_, status)| status.evicted.is_cancelled());
            evicted.map(|(number, _)| number).collect()
        }
    }

    #[test]
    fn five_bad_tokens_in_a_row_end_a_connection() {
        let status = ConnectionStatus::default();
        for _ in 0..3 {
            assert_eq!([0; 4].map(|_| status.note_bad_token()), [false; 4]);
            status.note_valid_token();
        }
        assert!(!status.distrusted.is_cancelled());
        let ends = [0; 6].map(|_| status.note_bad_token());
        assert_eq!((ends, status.distrusted.is_cancelled()), ([false, false, false, false, true, false], true));
        status.note_valid_token();
        assert!(!status.note_bad_token(), "it is closed once");
    }

    #[test]
    fn the_oldest_connection_without_a_request_is_evicted() {
        let mut scene = Scene::new(3, 3);
        for _ in 0..3 {
            assert_eq!(scene.connect(&ALICE), Ruling::Enter);
        }
        scene.request(0);
        assert_eq!((scene.connect(&BOB), scene.evicted()), (Ruling::Wait { soon: true }, vec![1]));
        assert_eq!((scene.connect(&BOB), scene.evicted()), (Ruling::Wait { soon: true }, vec![1]), "one at a time");
        scene.slots.leave(1);
        assert_eq!((scene.connect(&BOB), scene.slots.open()), (Ruling::Enter, 3));
        assert_eq!((scene.connect(&CAROL), scene.evicted()), (Ruling::Wait { soon: true }, vec![1, 2]));
    }

    #[test]
    fn connections_with_a_request_stay() {
        let mut scene = Scene::new(2, 2);
        for number in 0..2 {
            assert_eq!(scene.connect(&ALICE), Ruling::Enter);
            scene.request(number);
        }
        assert_eq!((scene.connect(&BOB), scene.evicted()), (Ruling::Wait { soon: false }, vec![]));
        assert_eq!((scene.connect(&ALICE), scene.evicted()), (Ruling::Refuse(TooMany::OfUser(2)), vec![]));
    }

    #[test]
    fn a_user_at_the_limit_evicts_its_own_connection() {
        let mut scene = Scene::new(4, 2);
        for user in [&BOB, &ALICE, &ALICE] {
            assert_eq!(scene.connect(user), Ruling::Enter);
        }
        assert_eq!(
            (scene.connect(&ALICE), scene.evicted()),
            (Ruling::Wait { soon: true }, vec![1]),
            "the older one is Bob's"
        );
        assert_eq!(scene.connect(&TCP), Ruling::Enter);
        scene.slots.leave(1);
        assert_eq!(scene.connect(&ALICE), Ruling::Enter);
    }

    #[test]
    fn the_last_eighth_is_for_users_with_few_connections() {
        let mut scene = Scene::new(16, 16);
        for number in 0..14 {
            assert_eq!(scene.connect(&ALICE), Ruling::Enter);
            scene.request(number);
        }
        assert_eq!(scene.connect(&ALICE), Ruling::Refuse(TooMany::Reserved(1)));
        assert_eq!(scene.connect(&BOB), Ruling::Enter);
        let refused = Ruling::Refuse(TooMany::Reserved(1));
        assert_eq!((scene.connect(&ALICE), scene.evicted()), (refused, vec![]), "the one on probation is Bob's");
        assert_eq!((scene.connect(&BOB), scene.evicted()), (Ruling::Wait { soon: true }, vec![15]));
        assert_eq!(scene.connect(&CAROL), Ruling::Enter);
        let refused = Ruling::Refuse(TooMany::Reserved(1));
        assert_eq!(scene.connect(&ALICE), refused, "it would wait in front of clients of other users");
        assert_eq!(scene.connect(&TCP), Ruling::Wait { soon: true });
        scene.slots.leave(0);
        assert_eq!((scene.connect(&ALICE), scene.connect(&TCP)), (refused, Ruling::Enter));
    }
}
