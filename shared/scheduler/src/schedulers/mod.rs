//! The classes, named as diffusers' files.

pub(crate) mod ddim;
pub(crate) mod ddpm;
pub(crate) mod deis_multistep;
pub(crate) mod dpmsolver_multistep;
pub(crate) mod dpmsolver_singlestep;
pub(crate) mod euler_ancestral_discrete;
pub(crate) mod euler_discrete;
pub(crate) mod heun_discrete;
pub(crate) mod k_dpm_2_ancestral_discrete;
pub(crate) mod k_dpm_2_discrete;
pub(crate) mod lcm;
pub(crate) mod lms_discrete;
pub(crate) mod pndm;
pub(crate) mod tcd;
pub(crate) mod unipc_multistep;

// What several of them share.
mod alpha_space;
mod distilled;
mod dpmsolver;
mod midpoint;
mod sigma_space;
mod solver;
