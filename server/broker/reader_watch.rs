//! A caller's watch of the readers: all of them first, and then the changes. It continues an earlier watch of the same
//! caller if the changes since then are still known.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    resume_token::ResumeTokens,
    visible_readers::{ReaderList, Visibility, VisibleReaders},
};
use crate::registry::Difference;

/// News for a watcher of readers.
pub enum ReadersNews {
    /// All readers, replacing everything that the watcher knew.
    All(ReaderList),
    /// The changes since the previous news.
    Changed(Difference),
}

/// The watch of one caller. It keeps no view, only the watcher's position.
pub struct ReaderWatch {
    visible: VisibleReaders,
    tokens: ResumeTokens,
    /// `None` before the first news of a new watch.
    known: Option<Known>,
    /// Whether the watcher has had no news in this watch.
    is_first: bool,
}

/// A watcher's position: the readers of this generation that the caller could see.
struct Known {
    generation: u64,
    visibility: Visibility,
}

impl ReaderWatch {
    /// Continues from `resume_token`, or starts anew if the token is empty, or belongs to another run, caller or
    /// policy.
    pub(super) fn new(mut visible: VisibleReaders, tokens: ResumeTokens, resume_token: &str) -> Self {
        let now = visible.list();
        let visibility = now.visibility().clone();
        let generation = tokens.open(resume_token, &visibility.identity, &visibility.policy);
        let is_past = |generation: &u64| *generation <= now.view().generation();
        let known = generation.filter(is_past).map(|generation| Known { generation, visibility });
        Self { visible, tokens, known, is_first: true }
    }

    /// Returns the news for the watcher. The first call always returns something, possibly an empty difference; later
    /// ones return `None` without news.
    pub fn news(&mut self) -> Option<ReadersNews> {
        let now = self.visible.list();
        let visibility = now.visibility();
        let latest = Known { generation: now.view().generation(), visibility: visibility.clone() };
        let known = self.known.replace(latest);
        let is_first = std::mem::replace(&mut self.is_first, false);
        let difference = known.and_then(|known| {
            let saw = |names: &_| known.visibility.shows(names);
            let has_new_rules = !Arc::ptr_eq(&known.visibility.policy, &visibility.policy);
            let saw: Option<&dyn Fn(&_) -> bool> = if has_new_rules { Some(&saw) } else { None };
            now.view().since(known.generation, saw, &|names| visibility.shows(names))
        });
        match difference {
            None => Some(ReadersNews::All(now)),
            Some(difference) => (is_first || !difference.is_empty()).then_some(ReadersNews::Changed(difference)),
        }
    }

    /// Waits until there may be news. Cancel-safe.
    ///
    /// # Errors
    /// The broker has stopped.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.visible.changed().await
    }

    /// Returns a token for a watcher that has all news so far; empty before the first ones.
    pub fn resume_token(&self) -> String {
        let seal = |known: &Known| {
            let Known { generation, visibility } = known;
            self.tokens.seal(*generation, &visibility.identity, &visibility.policy)
        };
        self.known.as_ref().map(seal).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_core::{
        caller::Caller,
        status::State,
        user::{Account, example_account},
    };

    use super::*;
    use crate::{backend::simulated::Simulated, broker::Broker, config::Config, policy::audit::AuditTrail};
    use cardbroker_core::policy::{Policy, rule::Rule};

    const FIRST: &str = "readers/simulated-reader-00";
    const SECOND: &str = "readers/simulated-reader-01";

    /// Two users of this system, the broker's own and a guest, and the guest in a rule.
    fn owner_guest_and_name() -> (Account, Account, &'static str) {
        match cfg!(windows) {
            true => (example_account(1001), example_account(1003), "sid:S-1-5-21-7-7-7-1003"),
            false => (Account::unix(1000, 0), Account::unix(1001, 0), "uid:1001"),
        }
    }

    /// Rules by which the guest sees this reader, and the broker's own user all readers.
    fn rules(reader: &str) -> Vec<Rule> {
        let (_, _, guest) = owner_guest_and_name();
        let guest = format!("principals = ['{guest}'], readers = ['{reader}'], allow = ['see', 'watch']");
        let text = format!("rule = [{{ name = 'guest', {guest} }}]");
        Config::parse("c.toml".as_ref(), &text).unwrap().rules
    }

    /// Formats news as `all` or `change`, with `+`, `-` and the names of the readers.
    fn shown(news: Option<ReadersNews>) -> String {
        let names = |sign: &str, names: Vec<&str>| names.into_iter().map(|name| format!(" {sign}{name}")).collect();
        match news {
            None => "nothing".into(),
            Some(ReadersNews::All(list)) => {
                let listed: String = names("+", list.iter().map(|reader| &*reader.name).collect());
                format!("all:{listed}")
            }
            Some(ReadersNews::Changed(difference)) => {
                let updated: String = names("+", difference.updated.iter().map(|reader| &*reader.name).collect());
                let removed: String = names("-", difference.removed.iter().map(|name| &**name).collect());
                format!("change:{updated}{removed}")
            }
        }
    }

    /// Consumes news until there are none and all readers are ready; returns the token.
    async fn settle(watch: &mut ReaderWatch, broker: &Broker, caller: &Caller) -> String {
        loop {
            watch.news();
            if broker.readers(caller).iter().all(|reader| reader.status.state == State::Ready) {
                return watch.resume_token();
            }
            watch.changed().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_watch_continues_only_for_its_caller_and_rules() {
        let (owner, guest, _) = owner_guest_and_name();
        let own_user = owner.user();
        let policy = Policy::new(rules("simulated-reader-00"), own_user);
        let (backend, trail) = (Arc::new(Simulated::new(2)), AuditTrail::default());
        let (broker, tasks) = Broker::start(backend, Config::default(), policy, trail, "e".into()).await.unwrap();
        let [owner, guest] = [owner, guest].map(|account| Caller::local(1, account, None, None));

        assert_eq!(broker.readers(&owner).iter().count(), 2, "the start waits for the first poll of the readers");
        let mut watch = broker.watch(&owner, "");
        let token = settle(&mut watch, &broker, &owner).await;
        let mut guests = broker.watch(&guest, "");
        assert_eq!(shown(guests.news()), format!("all: +{FIRST}"));
        let guest_token = guests.resume_token();

        assert_eq!(shown(broker.watch(&owner, &token).news()), "change:", "nothing has changed");
        assert_eq!(shown(broker.watch(&owner, "e").news()), format!("all: +{FIRST} +{SECOND}"));
        assert_eq!(shown(broker.watch(&guest, &token).news()), format!("all: +{FIRST}"), "another caller's token");
        assert_eq!(shown(broker.watch(&owner, &guest_token).news()), format!("all: +{FIRST} +{SECOND}"));

        broker.set_policy(Policy::new(rules("simulated-reader-01"), own_user));
        guests.changed().await.unwrap();
        assert_eq!(shown(guests.news()), format!("change: +{SECOND} -{FIRST}"));
        assert_eq!(shown(guests.news()), "nothing");
        assert_eq!(shown(broker.watch(&guest, &guest_token).news()), format!("all: +{SECOND}"), "other rules");
        assert_eq!(shown(broker.watch(&guest, &guests.resume_token()).news()), "change:");
        watch.changed().await.unwrap();
        assert_eq!(shown(watch.news()), "nothing", "the other rules are the same for the owner");
        tasks.stop().await;
    }
}
