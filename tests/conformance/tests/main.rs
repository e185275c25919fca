//! Tests of the program that runs the kit: a table of contents.

#[cfg(test)]
mod mutants;
#[cfg(test)]
mod run_script;
#[cfg(test)]
mod runner;
