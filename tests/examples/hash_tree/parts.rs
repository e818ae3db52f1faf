//! The modules of the example as they stand, to be tested without its `main`.

#[path = "../../../examples/hash_tree/boss.rs"]
pub(crate) mod boss;
#[path = "../../../examples/hash_tree/chaos.rs"]
pub(crate) mod chaos;
#[path = "../../../examples/hash_tree/line.rs"]
pub(crate) mod line;
#[path = "../../../examples/hash_tree/options.rs"]
pub(crate) mod options;
#[path = "../../../examples/hash_tree/queue.rs"]
pub(crate) mod queue;
#[path = "../../../examples/hash_tree/summary.rs"]
pub(crate) mod summary;
#[path = "../../../examples/hash_tree/walk.rs"]
pub(crate) mod walk;
#[path = "../../../examples/hash_tree/worker.rs"]
pub(crate) mod worker;
