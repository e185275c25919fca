//! How thoroughly a run measures, and the order of the ways in a round.

/// How thoroughly to measure: the full run, the quick one, or the one for CI.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Whether everything is shorter than in the full run.
    pub(crate) quick: bool,
    /// How often each measurement is repeated.
    pub(crate) rounds: u32,
}

impl Effort {
    /// Chooses the number for this run.
    pub(crate) fn choose<T>(self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}

/// The order of `ways` ways in a round, counted from 1: each round begins with another way, so that none always has the
/// same predecessor's warm caches or the machine's first minutes.
pub(crate) fn order(round: u32, ways: usize) -> impl Iterator<Item = usize> {
    let first = (round as usize).saturating_sub(1);
    // Backwards in every second pass, so that the neighbours change, too.
    let backwards = ways > 0 && (first / ways) % 2 == 1;
    (0..ways).map(move |place| {
        let index = (first + place) % ways;
        if backwards { ways - 1 - index } else { index }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_all_ways_and_begins_with_another() {
        let rounds: Vec<Vec<usize>> = (1..=7).map(|round| order(round, 3).collect()).collect();
        assert_eq!(rounds[..4], [vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]]);
        for round in rounds {
            assert_eq!((0..3).filter(|way| round.contains(way)).count(), 3);
        }
        assert_eq!(order(1, 0).count(), 0);
        assert_eq!([1, 2].map(|round| order(round, 2).next()), [Some(0), Some(1)]);
    }
}
