//! Tests of the program that runs the kit: a table of contents.

#[cfg(test)]
mod runner;
