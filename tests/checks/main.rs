//! Checks of the repository itself: a table of contents.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod c_interface;
#[cfg(test)]
mod descriptor;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod help;
#[cfg(test)]
mod install;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod names;
#[cfg(test)]
mod packaging;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod unsafe_code;
#[cfg(test)]
mod visibility;
#[cfg(test)]
mod words;
