//! Lines to bodies.
