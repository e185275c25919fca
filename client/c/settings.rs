//! Settings that C fills piece by piece before a call uses them.

use std::sync::Mutex;

use crate::{
    border::{call, given, locked},
    error::Error,
};

/// A value behind setters. A failed setter returns its code and leaves the value alone; the call that uses the value
/// then fails with the message of the first such mistake, so that C may ignore what setters return.
pub(crate) struct Settings<T>(Mutex<Kept<T>>);

struct Kept<T> {
    value: T,
    mistake: Option<Vec<u8>>,
}

impl<T: Clone> Settings<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Kept { value, mistake: None }))
    }

    /// # Errors
    /// The first mistake of a setter.
    pub(crate) fn get(&self) -> Result<T, Box<Error>> {
        let kept = locked(&self.0);
        kept.mistake.clone().map_or_else(|| Ok(kept.value.clone()), |mistake| Err(Error::invalid(mistake)))
    }
}

/// Runs the body of a setter. Returns the code.
pub(crate) fn set<T>(settings: Option<&Settings<T>>, change: impl FnOnce(&mut T) -> Result<(), Box<Error>>) -> i32 {
    call(None, || {
        let mut kept = locked(&given(settings, "handle")?.0);
        let changed = change(&mut kept.value);
        if let Err(error) = &changed {
            kept.mistake.get_or_insert_with(|| error.message().to_bytes().to_vec());
        }
        changed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mistake_is_reported_at_use() {
        let settings = Settings::new(1);
        let changed = set(Some(&settings), |value| {
            *value = 2;
            Ok(())
        });
        assert_eq!(changed, 0);
        assert_eq!(settings.get().ok(), Some(2));
        for mistake in ["first", "second"] {
            assert_eq!(set(Some(&settings), |_| Err(Error::invalid(mistake))), 3);
        }
        assert_eq!(settings.get().unwrap_err().message().to_bytes(), b"first");
        assert_eq!(set::<i32>(None, |_| Ok(())), 3);
    }
}
