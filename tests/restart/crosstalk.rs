use crate::agent::Own;
pub(crate) fn agent(_: &Own) {}
pub(crate) fn hostile(_: &str) {}
pub(crate) fn two(_: &str) {}
pub(crate) fn flat(_: &str) {}
