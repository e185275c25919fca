//! Tests of the rule of turns: single decisions, properties of all histories, and figures on a slow card.

mod cases;
mod figures;
mod histories;
mod rounds;
mod world;
