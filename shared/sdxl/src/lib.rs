//! The SDXL networks, with diffusers' names.

pub mod backend;
