//! What holds in every history of turns, that each rule can be seen broken, and the figures of the rule on a slow card.

mod cases;
mod figures;
mod histories;
mod rounds;
mod world;
