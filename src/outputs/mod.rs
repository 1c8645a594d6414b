//! The files that this process writes: how a path is made for each batch, what rotation calls the
//! ones it puts aside, and how sources know all of them, so that none is ever read back
//! and none has two writers.

mod claims;
mod own;
pub mod rotated;
mod template;

pub use claims::{Claim, Claims};
pub use own::OwnFiles;
pub use template::{Template, TemplateError, Values};
