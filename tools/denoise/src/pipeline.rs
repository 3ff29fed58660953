//! The denoising loop of diffusers' `StableDiffusionXLPipeline`.

use crate::conditions::{Embeds, Row};
use crate::settings::Settings;
use turbo_cli::{Error, Result};
use turbo_scheduler::{Generator, SchedulerConfig, Steps};
use turbo_sdxl::{AddedConditions, ConditionedUNet, UNet, open_unet};
use turbo_stage::{Networks, locate};
use turbo_weights::Part;
use turbo_wire::Header;
use turbo_wire::names::{self, LATENT_CHANNELS, LATENT_SCALE};

/// A checkpoint's denoising network and scheduler.
pub(crate) struct Pipeline {
    /// What the model is called in a stream.
    pub(crate) name: String,
    /// `force_zeros_for_empty_prompt`: whether guidance without a negative prompt leads away from zeros.
    pub(crate) zeros_for_no_prompt: bool,
    unet: Box<dyn UNet>,
    scheduler: SchedulerConfig,
}

impl Pipeline {
    /// Opens the checkpoint that `spec` means.
    pub(crate) fn open(networks: &Networks, spec: &str) -> Result<Self> {
        let model = locate(spec, turbo_demo::UNET)?;
        let scheduler = SchedulerConfig::from_json(&model.scheduler_config()?)
            .map_err(|error| Error::from(error).context(model.name()))?;
        let zeros = match model.model_index()?.get("force_zeros_for_empty_prompt") {
            None => true,
            Some(value) => value.as_bool().ok_or_else(|| {
                Error::new(format_args!(
                    "{}: model_index.json: force_zeros_for_empty_prompt: expected true or false, found {value}",
                    model.name()
                ))
            })?,
        };
        let unet = open_unet(&networks.device, networks.dtype, &model)?;
        let (inputs, outputs) = (unet.config().in_channels, unet.config().out_channels);
        if (inputs, outputs) != (LATENT_CHANNELS, LATENT_CHANNELS) {
            return Err(Error::new(format_args!(
                "{}: expected a network with {LATENT_CHANNELS} channels in and out, found {inputs} and {outputs}; inpainting \
                 checkpoints are not supported",
                model.config_path(Part::Unet).display()
            )));
        }
        Ok(Self {
            name: model.name().to_owned(),
            zeros_for_no_prompt: zeros,
            unet,
            scheduler,
        })
    }

    /// Sides of a picture where nobody says otherwise, in pixels.
    pub(crate) fn default_size(&self) -> usize {
        self.unet.config().sample_size * LATENT_SCALE
    }

    /// Refuses embeddings of another model, by the header alone.
    pub(crate) fn check_widths(&self, header: &Header) -> Result<()> {
        let config = self.unet.config();
        let expected = [
            (names::PROMPT_EMBEDS, config.cross_attention_dim),
            (names::POOLED_PROMPT_EMBEDS, config.pooled_dim()),
        ];
        for (name, expected) in expected {
            let found = header
                .tensor(name)
                .and_then(|tensor| tensor.shape.last())
                .copied();
            if found != Some(expected) {
                return Err(Error::new(format_args!(
                    "tensor {name:?}: expected rows of {expected} values for {}, found {}; encode the prompt with \
                     the same model",
                    self.name,
                    found.unwrap_or(0)
                )));
            }
        }
        Ok(())
    }

    /// Refuses what the scheduler does not have: a key of its configuration, or so many steps.
    pub(crate) fn check_steps(&self, steps: usize) -> Result<()> {
        turbo_scheduler::build(&self.scheduler, &Steps::count(steps))
            .map_err(|error| Error::from(error).context(&self.name))?;
        Ok(())
    }

    /// Works out what depends on a row's prompt and the sizes alone: every attention's keys and values.
    pub(crate) fn condition(
        &self,
        settings: &Settings,
        conditions: &Row<'_>,
    ) -> Result<Conditioned> {
        let condition = |embeds: &Embeds<'_>| {
            self.unet.condition(&AddedConditions {
                prompt_embeds: embeds.prompt,
                tokens: conditions.tokens,
                pooled_prompt_embeds: embeds.pooled,
                time_ids: settings.time_ids(),
                size: settings.latent_size().into(),
                image: &[],
            })
        };
        Ok(Conditioned {
            positive: condition(&conditions.positive)?,
            negative: conditions.negative.as_ref().map(condition).transpose()?,
        })
    }

    /// Draws a picture of a prompt from this seed. Returns the latents `[4, height / 8, width / 8]`; `watch` sees each
    /// step as soon as it is done.
    pub(crate) fn run(
        &self,
        settings: &Settings,
        seed: u64,
        conditioned: &Conditioned,
        mut watch: impl FnMut(&Step<'_>) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let (height, width) = settings.latent_size();
        let mut scheduler = turbo_scheduler::build(&self.scheduler, &Steps::count(settings.steps))?;
        // Each picture has a generator of its own, so that it is the same alone and in any company.
        let mut generator = Generator::new(seed);
        let mut latents = generator.randn(LATENT_CHANNELS * height * width);
        scheduler.scale_initial_noise(&mut latents);

        for index in 0..scheduler.timesteps().len() {
            let timestep = scheduler.timesteps()[index];
            let input = scheduler.scale_model_input(&latents, index);
            let predict = |unet: &dyn ConditionedUNet| unet.predict(&input, timestep);
            let mut noise_pred = predict(&*conditioned.positive)?;
            if let Some(negative) = &conditioned.negative {
                let away = predict(&**negative)?;
                for (value, away) in noise_pred.iter_mut().zip(away) {
                    *value = away + settings.guidance_scale * (*value - away);
                }
            }
            let step = scheduler.step(&noise_pred, index, &latents, &mut generator);
            watch(&Step {
                index,
                timestep,
                sample: &latents,
                noise_pred: &noise_pred,
                latents: &step.prev_sample,
                pred_original_sample: &step.pred_original_sample,
                sigma: scheduler.schedule().sigmas[index],
            })?;
            latents = step.prev_sample;
        }
        Ok(latents)
    }
}

/// The network with a prompt, and with a negative one where there is guidance.
pub(crate) struct Conditioned {
    positive: Box<dyn ConditionedUNet>,
    negative: Option<Box<dyn ConditionedUNet>>,
}

/// A step that is done.
pub(crate) struct Step<'a> {
    /// From 0.
    pub(crate) index: usize,
    /// What the network was told.
    pub(crate) timestep: f32,
    /// The sample before the step.
    pub(crate) sample: &'a [f32],
    /// The network's output, after guidance.
    pub(crate) noise_pred: &'a [f32],
    /// The sample after the step.
    pub(crate) latents: &'a [f32],
    /// The sample without noise, as it is foreseen at this step.
    pub(crate) pred_original_sample: &'a [f32],
    /// Standard deviation of the noise in the sample before the step.
    pub(crate) sigma: f32,
}
