//! The end-to-end tests: a table of contents.

mod cards;
mod direct;
