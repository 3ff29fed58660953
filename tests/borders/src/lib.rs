//! Reads the workspace's sources and says where a module imports what it must not know.
//!
//! - [`Source::read`]: the modules of a crate, each with what it defines and what it names.
//! - [`imports`]: which module names an item of which other one, through any number of `use`.
//! - [`circles`]: modules, or folders of modules, that import each other.
//! - [`unused`]: public names that nobody says.
//! - [`rules`]: which way imports may go, and words and numbers that a crate must not have.
#![forbid(unsafe_code)]

mod circles;
mod resolve;
pub mod rules;
mod source;
mod unused;
mod words;

pub use circles::circles;
pub use resolve::{Import, imports};
pub use source::{Module, Source};
pub use unused::{Said, unused};
