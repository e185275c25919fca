//! The shortest time between two looks at the readers that show the same picture.
//!
//! `SCardGetStatusChange` waits for a change, but not everywhere: Wine forgets the known states and always returns at
//! once, and macOS returns at once if the names include the pseudo-reader of new readers. Without a pause, the caller
//! would keep a processor busy.

use std::time::Duration;

use pcsc::Error;

/// The shortest time of a look without a change. An insertion may be noticed that much later, where waits do not wait.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);

/// Returns the pause before the next look, after a wait of at most `timeout` that has returned `waited` after `took`.
/// Zero if something has changed, if the wait was cancelled, and if it did wait.
pub(super) fn pause(waited: Result<(), Error>, took: Duration, timeout: Duration, has_changed: bool) -> Duration {
    match waited {
        Err(Error::Cancelled) => Duration::ZERO,
        _ if has_changed => Duration::ZERO,
        _ => SHORTEST_LOOK.min(timeout).saturating_sub(took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_that_shows_the_same_picture_at_once_is_followed_by_a_pause() {
        let ms = Duration::from_millis;
        for at_once in [Ok(()), Err(Error::Timeout), Err(Error::UnknownReader)] {
            assert_eq!(pause(at_once, ms(1), ms(1000), false), ms(49));
            assert_eq!(pause(at_once, ms(1), ms(1000), true), ms(0));
            assert_eq!(pause(at_once, ms(1), ms(20), false), ms(19), "never beyond the time limit");
            assert_eq!(pause(at_once, ms(0), ms(0), false), ms(0), "a look that was not to wait");
            assert_eq!(pause(at_once, ms(50), ms(1000), false), ms(0));
        }
        assert_eq!(pause(Err(Error::Cancelled), ms(1), ms(1000), false), ms(0));
    }
}
