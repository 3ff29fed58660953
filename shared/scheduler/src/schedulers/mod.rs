//! The classes, named as diffusers' files.

pub(crate) mod euler_ancestral_discrete;
pub(crate) mod euler_discrete;
mod sigma_space;
