//! What the kernel does to an armed process, and to one that is not; and what is left of a tree that was taken down.
#![cfg(test)]

mod family;
mod limits;
mod parent_ends;
mod parent_is_gone;
mod setting;

#[cfg(feature = "tree")]
mod tree {
    //! Whole trees: by a command, and by the program `yeshup`.

    mod at_a_terminal;
    mod grace;
    mod of_a_command;
    mod signals;
    mod strays;
    mod taken_down;
    mod yeshup;
}
