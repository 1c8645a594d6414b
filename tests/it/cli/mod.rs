//! The command line as a whole: its help, pages and completions, its life on a terminal and in pipes,
//! and what it must never show.

mod help;
mod judge;
mod pipes;
mod screen;
mod secrets;
