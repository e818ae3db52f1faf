//! The larger examples do what they say, run as a user runs them.
#![cfg(test)]

mod area_server;
mod hash_tree;
mod program;
mod run_and_tell;
mod scratch;
