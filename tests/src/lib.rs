//! Support for the whole-pipe tests.
