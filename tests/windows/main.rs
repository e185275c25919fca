//! Stories with the Windows programs in Wine: a table of contents. Run them by `make windows`: they need
//! `in-wine-namespace`.

#[cfg(test)]
mod pcsc;
#[cfg(test)]
mod pipe;
#[cfg(test)]
mod wine;
