//! The classes, a line each.

use crate::keys::Keys;
use crate::schedulers::{
    ddim, ddpm, deis_multistep, dpmsolver_multistep, dpmsolver_singlestep,
    euler_ancestral_discrete, euler_discrete, heun_discrete, k_dpm_2_ancestral_discrete,
    k_dpm_2_discrete, lcm, lms_discrete, pndm, tcd, unipc_multistep,
};
use crate::{Error, Result, Scheduler, Steps};

/// A class of schedulers.
#[derive(Debug)]
pub(crate) struct Class {
    /// The name on a command line.
    pub(crate) name: &'static str,
    /// diffusers' name.
    pub(crate) diffusers: &'static str,
    /// A key that the name stands for, with its value, whatever the file says.
    pub(crate) preset: Option<(&'static str, &'static str)>,
    /// Whether it has an eta.
    pub(crate) eta: bool,
    /// Builds it for its steps.
    pub(crate) build: Build,
}

/// From the keys and the steps to a scheduler.
pub(crate) type Build = fn(&mut Keys<'_>, &Steps) -> Result<Box<dyn Scheduler>>;

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const fn class(name: &'static str, diffusers: &'static str, build: Build) -> Class {
    Class {
        name,
        diffusers,
        preset: None,
        eta: false,
        build,
    }
}

/// Every class. Where two share a name of diffusers, a file means the first.
const CLASSES: &[Class] = &[
    class("euler", "EulerDiscreteScheduler", euler_discrete::build),
    class(
        "euler-ancestral",
        "EulerAncestralDiscreteScheduler",
        euler_ancestral_discrete::build,
    ),
    class("heun", "HeunDiscreteScheduler", heun_discrete::build),
    class("dpm2", "KDPM2DiscreteScheduler", k_dpm_2_discrete::build),
    class(
        "dpm2-ancestral",
        "KDPM2AncestralDiscreteScheduler",
        k_dpm_2_ancestral_discrete::build,
    ),
    class("lms", "LMSDiscreteScheduler", lms_discrete::build),
    class(
        "dpmpp-2m",
        "DPMSolverMultistepScheduler",
        dpmsolver_multistep::build,
    ),
    Class {
        preset: Some(("algorithm_type", "sde-dpmsolver++")),
        ..class(
            "dpmpp-2m-sde",
            "DPMSolverMultistepScheduler",
            dpmsolver_multistep::build,
        )
    },
    class(
        "dpmpp-2s",
        "DPMSolverSinglestepScheduler",
        dpmsolver_singlestep::build,
    ),
    class("unipc", "UniPCMultistepScheduler", unipc_multistep::build),
    class("deis", "DEISMultistepScheduler", deis_multistep::build),
    class("pndm", "PNDMScheduler", pndm::build),
    Class {
        eta: true,
        ..class("ddim", "DDIMScheduler", ddim::build)
    },
    class("ddpm", "DDPMScheduler", ddpm::build),
    class("lcm", "LCMScheduler", lcm::build),
    Class {
        eta: true,
        ..class("tcd", "TCDScheduler", tcd::build)
    },
];

/// The short names.
pub fn names() -> Vec<&'static str> {
    CLASSES.iter().map(|class| class.name).collect()
}

/// diffusers' names, in quotes.
pub(crate) fn class_names() -> Vec<String> {
    let mut names: Vec<_> = CLASSES
        .iter()
        .map(|class| format!("\"{}\"", class.diffusers))
        .collect();
    names.dedup();
    names
}

/// The class of one of diffusers' names.
pub(crate) fn by_class_name(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.diffusers == name)
}

/// The class of a name of either kind.
pub(crate) fn by_name(name: &str) -> Result<&'static Class> {
    let short = CLASSES.iter().find(|class| class.name == name);
    short
        .or_else(|| by_class_name(name))
        .ok_or_else(|| Error::UnknownClass {
            found: name.to_owned(),
            known: names(),
        })
}
