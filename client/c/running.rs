//! A session that several threads use, until one of them ends it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::border::locked;

/// A value with users that come and go, which one of them takes away.
pub(crate) struct Running<T> {
    value: Mutex<Option<Arc<T>>>,
    left: Condvar,
}

impl<T> Running<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(Some(Arc::new(value))), left: Condvar::new() }
    }

    /// Uses the value; `None` if it was taken away. Several threads may use it at once.
    pub(crate) fn with<R>(&self, using: impl FnOnce(&T) -> R) -> Option<R> {
        /// Tells `take` of the end, even after a panic.
        struct Use<'a, T>(Option<Arc<T>>, &'a Running<T>);

        impl<T> Drop for Use<'_, T> {
            fn drop(&mut self) {
                // With the lock: otherwise `take` could miss the end between its look and its wait.
                let _value = locked(&self.1.value);
                self.0 = None;
                self.1.left.notify_all();
            }
        }

        let value = locked(&self.value).clone()?;
        let using_now = Use(Some(value), self);
        using_now.0.as_deref().map(using)
    }

    /// Takes the value away, so that nobody begins to use it, and waits until nobody does. `None` if it was taken away
    /// before.
    pub(crate) fn take(&self) -> Option<T> {
        let mut slot = locked(&self.value);
        let mut value = slot.take()?;
        loop {
            match Arc::try_unwrap(value) {
                Ok(value) => return Some(value),
                Err(shared) => value = shared,
            }
            slot = self.left.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn take_waits_for_the_users_and_refuses_new_ones() {
        let running = Running::new(7);
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let running = &running;
            let using = scope.spawn(move || {
                running.with(|value| {
                    begun.send(()).unwrap();
                    ends.recv_timeout(Duration::from_secs(30)).unwrap();
                    *value
                })
            });
            begins.recv().unwrap();
            let taking = scope.spawn(move || running.take());
            let limit = Instant::now() + Duration::from_secs(30);
            while running.with(|_| ()).is_some() {
                assert!(Instant::now() < limit, "it stays");
                thread::yield_now();
            }
            assert!(!taking.is_finished());
            end.send(()).unwrap();
            assert_eq!((using.join().unwrap(), taking.join().unwrap()), (Some(7), Some(7)));
        });
        assert_eq!(running.take(), None);
    }
}
