//! What the kernel does to an armed process, and to one that is not.
#![cfg(test)]

mod family;
mod limits;
mod parent_ends;
mod parent_is_gone;
mod setting;
