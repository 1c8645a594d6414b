//! Where the sinks stand in a file that sleeps. There may be 100,000 of those, and in nearly all of
//! them every sink stands at the end: that needs no memory of its own.

use super::place::Place;

/// The places of all sinks of a source in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resting {
    /// All stand at the same offset, with nothing begun or taken behind it.
    Together {
        /// In bytes.
        offset: u64,
        /// The guard of `offset`.
        guard: u64,
    },
    /// One place per sink.
    Apart(Box<[Place]>),
}

impl Resting {
    pub(super) fn new(places: &[Place]) -> Self {
        if let [first, rest @ ..] = places
            && *first == Place::plain(first.offset, first.guard)
            && rest.iter().all(|place| place == first)
        {
            return Self::Together {
                offset: first.offset,
                guard: first.guard,
            };
        }
        Self::Apart(places.into())
    }

    /// That of one sink.
    pub(super) fn of(&self, outlet: usize) -> Place {
        match self {
            Self::Together { offset, guard } => Place::plain(*offset, *guard),
            Self::Apart(places) => places[outlet],
        }
    }

    /// True where all of them are `accepted`.
    pub(super) fn all(&self, mut accepted: impl FnMut(&Place) -> bool) -> bool {
        match self {
            Self::Together { offset, guard } => accepted(&Place::plain(*offset, *guard)),
            Self::Apart(places) => places.iter().all(accepted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sink_is_where_it_was() {
        let (plain, cut) = (
            Place::plain(7, 1),
            Place {
                mid_line: true,
                ..Place::plain(7, 1)
            },
        );
        let cases: [&[Place]; 7] = [
            &[plain],
            &[plain, plain],
            &[plain, Place::plain(8, 2)],
            &[plain, cut],
            &[cut, plain],
            &[cut, cut],
            &[],
        ];
        for places in cases {
            let resting = Resting::new(places);
            let back: Vec<Place> = (0..places.len()).map(|n| resting.of(n)).collect();
            assert_eq!(back, places);
            assert_eq!(
                resting.all(|it| !it.mid_line),
                places.iter().all(|it| !it.mid_line)
            );
            assert_eq!(
                resting.all(|it| it.offset == 7),
                places.iter().all(|it| it.offset == 7)
            );
        }
        let together = Resting::Together {
            offset: 7,
            guard: 1,
        };
        assert_eq!(Resting::new(&[plain, plain]), together);
    }
}
