//! The first instance of the pipe, by which a broker takes its name, and what may stand in the way.
//!
//! Windows denies the first instance while the name is in use: by another process that serves it, or because a client
//! still holds its end of a pipe whose broker was killed. It also denies it to users without the right to the name.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cardbroker_local::trust::judge_pipe;
use cardbroker_pipe::{AccessList, connect, is_busy, is_missing, own_user, owner_of_pipe};
use tokio::net::windows::named_pipe::NamedPipeServer;

/// How long the remains of an earlier broker's pipe may take to go, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Why the name cannot be taken.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// Another process of this user, SYSTEM or the administrators serves the pipe.
    Served,
    /// Another user has the pipe, or this user may not make it.
    NotGranted,
    /// Another error of the operating system.
    Io(io::Error),
}

/// The look of a name at a client without the right to its first instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is no such pipe.
    Missing,
    /// No instance is free. All that is left may be the ends of clients.
    Busy,
    /// A process serves the pipe of this user, SYSTEM or the administrators.
    Served,
    /// Another user's pipe, or one that this user may not open.
    Foreign,
}

/// Takes the name. Waits for the remains of an earlier broker's pipe, for 5 s at most, and then joins them. Must be
/// called inside a runtime, which waits as well.
///
/// # Errors
/// [`Obstacle`].
pub(super) fn take(name: &str, access: &AccessList) -> Result<NamedPipeServer, Obstacle> {
    let begin = Instant::now();
    let pause = || {
        let has_time = begin.elapsed() < PATIENCE;
        if has_time {
            thread::sleep(PAUSE);
        }
        has_time
    };
    let join = || {
        let joined = access.join(name)?;
        tracing::warn!("a client holds the pipe of an earlier broker: the pipe is used again, not made anew");
        Ok(joined)
    };
    decide(|| access.create(name), || look(name), pause, join)
}

/// Looks at the name, as a client that sends nothing.
fn look(name: &str) -> Look {
    match connect(name) {
        Ok(client) => match (owner_of_pipe(&client), own_user()) {
            (Ok(owner), Ok(own)) if judge_pipe(Path::new(name), owner.as_str(), own.as_str()).is_ok() => Look::Served,
            _ => Look::Foreign,
        },
        Err(error) if is_missing(&error) => Look::Missing,
        Err(error) if is_busy(&error) => Look::Busy,
        Err(_) => Look::Foreign,
    }
}

/// Creates the first instance, again after each pause while only remains are in the way. `pause` is `false` once the
/// time is over: then `join` creates a further instance, if the pipe is this user's.
fn decide<T>(
    mut create: impl FnMut() -> io::Result<T>,
    mut look: impl FnMut() -> Look,
    mut pause: impl FnMut() -> bool,
    join: impl FnOnce() -> io::Result<T>,
) -> Result<T, Obstacle> {
    let mut was_missing = false;
    loop {
        match create() {
            Ok(first) => return Ok(first),
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(Obstacle::Io(error)),
            Err(_) => {}
        }
        match look() {
            Look::Served => return Err(Obstacle::Served),
            Look::Foreign => return Err(Obstacle::NotGranted),
            // The first time the pipe may have gone after the try.
            Look::Missing if was_missing => return Err(Obstacle::NotGranted),
            look => was_missing = look == Look::Missing,
        }
        if !pause() {
            break;
        }
    }
    join().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Obstacle::NotGranted,
        _ => Obstacle::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use cardbroker_pipe::NETWORK_SERVICE;

    use super::*;

    /// Decides with these looks, one before each pause; the first instance is granted after them if `granted`.
    fn decided(looks: &[Look], granted: bool, joined: io::Result<&'static str>) -> Result<&'static str, Obstacle> {
        let tries = Cell::new(0);
        let create = || {
            let number = tries.replace(tries.get() + 1);
            let is_granted = granted && number == looks.len();
            if is_granted { Ok("first") } else { Err(io::ErrorKind::PermissionDenied.into()) }
        };
        let more = usize::from(!granted);
        decide(create, || looks[tries.get() - 1], || tries.get() + more <= looks.len(), || joined)
    }

    fn denied<T>() -> io::Result<T> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    #[test]
    fn the_remains_of_a_pipe_are_waited_for_then_joined() {
        for looks in [&[][..], &[Look::Busy], &[Look::Busy, Look::Busy], &[Look::Missing], &[Look::Busy, Look::Missing]]
        {
            assert_eq!(decided(looks, true, denied()).unwrap(), "first", "{looks:?}");
        }
        assert_eq!(decided(&[Look::Busy; 3], false, Ok("joined")).unwrap(), "joined");
        assert!(matches!(decided(&[Look::Busy; 3], false, denied()), Err(Obstacle::NotGranted)));
        let other = Err(io::ErrorKind::OutOfMemory.into());
        assert!(matches!(decided(&[Look::Busy], false, other), Err(Obstacle::Io(_))));
    }

    #[test]
    fn a_pipe_that_is_served_or_not_granted_fails_at_once() {
        for (looks, is_served) in [
            (&[Look::Served][..], true),
            (&[Look::Busy, Look::Served], true),
            (&[Look::Foreign], false),
            (&[Look::Busy, Look::Foreign], false),
            (&[Look::Missing, Look::Missing], false),
        ] {
            // More looks would be out of bounds.
            let obstacle = decided(looks, false, Ok("joined")).unwrap_err();
            assert_eq!(matches!(obstacle, Obstacle::Served), is_served, "{looks:?}: {obstacle:?}");
            assert!(!matches!(obstacle, Obstacle::Io(_)));
        }
    }

    #[test]
    fn another_error_ends_the_tries() {
        let obstacle =
            decide(|| Err::<(), _>(io::ErrorKind::InvalidInput.into()), || Look::Busy, || true, || Ok(())).unwrap_err();
        assert!(matches!(obstacle, Obstacle::Io(error) if error.kind() == io::ErrorKind::InvalidInput));
    }

    #[tokio::test]
    async fn the_look_of_a_name_tells_its_owner() {
        let name = format!(r"\\.\pipe\cardbroker\look-{}", std::process::id());
        let access = AccessList::new(None).unwrap();
        assert_eq!(look(&name), Look::Missing);
        let pipe = access.create(&name).unwrap();
        assert_eq!(look(&name), Look::Served);
        let _client = {
            pipe.disconnect().unwrap();
            let (connected, client) = tokio::join!(pipe.connect(), async { connect(&name).unwrap() });
            connected.unwrap();
            client
        };
        assert_eq!(look(&name), Look::Busy);
        drop(pipe);
        assert_eq!(look(&name), Look::Busy, "the client still holds its end");
    }

    #[tokio::test]
    async fn the_look_of_another_users_pipe_is_foreign() {
        let name = format!(r"\\.\pipe\cardbroker\foreign-{}", std::process::id());
        let foreign = AccessList::parse(&format!("O:{NETWORK_SERVICE}D:P(A;;GA;;;WD)")).unwrap();
        // Wine does not refuse the first instance, so this test does not take the name.
        let _pipe = foreign.create(&name).unwrap();
        assert_eq!(look(&name), Look::Foreign);
    }
}
