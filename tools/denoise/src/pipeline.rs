//! The denoising loop of diffusers' `StableDiffusionXLPipeline` and its siblings for pictures.

use crate::conditions::{Embeds, Row};
use crate::sampling::Sampling;
use crate::settings::Settings;
use crate::start::{Begin, Beginning, Kept, Starts};
use std::cell::RefCell;
use std::rc::Rc;
use turbo_cli::{Error, Result};
use turbo_scheduler::{Generator, Scheduler, SchedulerConfig, Start};
use turbo_sdxl::{AddedConditions, ConditionedUNet, Sample, UNet, open_unet};
use turbo_stage::{Loras, Networks, locate};
use turbo_weights::{LoraSpec, Part};
use turbo_wire::Header;
use turbo_wire::names::{self, LATENT_CHANNELS, LATENT_SCALE};

/// A checkpoint's denoising network and scheduler.
pub(crate) struct Pipeline {
    /// What the model is called in a stream.
    pub(crate) name: String,
    /// How a frame names the LoRAs that are added to it.
    pub(crate) loras: Option<String>,
    /// `force_zeros_for_empty_prompt`: whether guidance without a negative prompt leads away from zeros.
    pub(crate) zeros_for_no_prompt: bool,
    unet: Box<dyn UNet>,
    scheduler: SchedulerConfig,
    /// The conditions of the pictures that were drawn last, and the network's keys and values for them. All pictures of a
    /// prompt use these, and so do later frames with an equal prompt. No others are kept, as each takes up to 50 MB for
    /// SDXL.
    kept: RefCell<Vec<(Told, Rc<Conditioned>)>>,
}

/// All that the network is told beside sample and timestep.
#[derive(PartialEq)]
struct Told {
    row: Row,
    time_ids: [f32; 6],
    size: (usize, usize),
    channels: Vec<f32>,
}

/// Channels in of a network for inpainting: the sample's, the mask, the masked picture's.
const INPAINTING: usize = 2 * LATENT_CHANNELS + 1;

impl Pipeline {
    /// Opens the checkpoint that `spec` means, and adds LoRAs to it.
    pub(crate) fn open(networks: &Networks, spec: &str, loras: &[LoraSpec]) -> Result<Self> {
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
        let loras = Loras::open(loras)?;
        let unet = open_unet(&networks.device, networks.dtype, &model, &loras.to_add())?;
        let (inputs, outputs) = (unet.config().in_channels, unet.config().out_channels);
        if ![LATENT_CHANNELS, INPAINTING].contains(&inputs) || outputs != LATENT_CHANNELS {
            return Err(Error::new(format_args!(
                "{}: expected a network with {LATENT_CHANNELS} channels in and out, or with {INPAINTING} in for \
                 inpainting, found {inputs} and {outputs}",
                model.config_path(Part::Unet).display()
            )));
        }
        Ok(Self {
            name: model.name().to_owned(),
            loras: loras.named(),
            zeros_for_no_prompt: zeros,
            unet,
            scheduler,
            kept: RefCell::default(),
        })
    }

    /// Whether the network sees mask and masked picture beside the sample.
    fn sees_mask(&self) -> bool {
        self.unet.config().in_channels == INPAINTING
    }

    /// Refuses a frame that lacks what an inpainting network has to see, by the header alone.
    pub(crate) fn check_picture(&self, header: &Header) -> Result<()> {
        if self.sees_mask() && header.tensor(names::MASKED_IMAGE_MEAN).is_none() {
            return Err(Error::new(format_args!(
                "tensor {:?}: expected it for {}, which is for inpainting, found none; join a picture by `encode-image \
                 --join - --mask MASK --model {}`",
                names::MASKED_IMAGE_MEAN,
                self.name,
                self.name
            )));
        }
        Ok(())
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

    /// Settles how a picture with these settings is sampled, and refuses what its scheduler does not have.
    pub(crate) fn sampling(&self, settings: &Settings) -> Result<Sampling> {
        let sampling =
            settings
                .levels
                .settle(self.scheduler.clone(), settings.steps, settings.start);
        sampling.map_err(|error| error.context(&self.name))
    }

    /// What depends on a row's prompt, sizes and picture alone, of several pictures: every attention's keys and values. What
    /// is alike is worked out once, and not again if the last pictures had it.
    fn condition(&self, told: Vec<Told>) -> Result<Vec<Rc<Conditioned>>> {
        let mut kept = self.kept.borrow_mut();
        // Before there are more of them.
        kept.retain(|(known, _)| told.contains(known));
        let conditioned = told.into_iter().map(|told| {
            if let Some((_, conditioned)) = kept.iter().find(|(known, _)| *known == told) {
                return Ok(Rc::clone(conditioned));
            }
            let condition = |embeds: &Embeds| {
                self.unet.condition(&AddedConditions {
                    prompt_embeds: &embeds.prompt,
                    tokens: told.row.tokens,
                    pooled_prompt_embeds: &embeds.pooled,
                    time_ids: told.time_ids,
                    size: told.size.into(),
                    image: &told.channels,
                })
            };
            let negative = told.row.negative.as_ref();
            let conditioned = Rc::new(Conditioned {
                positive: condition(&told.row.positive)?,
                negative: negative.map(condition).transpose()?,
            });
            kept.push((told, Rc::clone(&conditioned)));
            Ok(conditioned)
        });
        conditioned.collect()
    }

    /// Draws pictures of one size that are sampled alike, step by step together. The network sees at most `batch` samples
    /// at once; a picture has two where there is guidance. Returns the latents `[4, height / 8, width / 8]` of each;
    /// `watch` sees each step of each picture, by its index, as soon as it is done.
    pub(crate) fn run(
        &self,
        sampling: &Sampling,
        pictures: Vec<Asked<'_>>,
        batch: usize,
        mut watch: impl FnMut(usize, &Step<'_>) -> Result<()>,
    ) -> Result<Vec<Vec<f32>>> {
        let begun = pictures
            .into_iter()
            .map(|asked| self.begin(sampling, asked));
        let (mut drawing, told) = begun.collect::<Result<(Vec<_>, Vec<_>)>>()?;
        let conditioned = self.condition(told)?;
        let Some(first) = drawing.first() else {
            return Ok(Vec::new());
        };
        let calls = sampling.span.calls(&*first.scheduler);
        for call in calls.clone() {
            let outputs = self.predict(&drawing, &conditioned, call, batch)?;
            for (i, (drawing, output)) in drawing.iter_mut().zip(outputs).enumerate() {
                let (scale, rescale) = (drawing.guidance_scale, sampling.guidance_rescale);
                let noise_pred = match output.without {
                    Some(without) => guide(scale, rescale, &output.with, &without),
                    None => output.with,
                };
                let timestep = drawing.scheduler.timesteps()[call];
                let step = drawing.step(&noise_pred, call, calls.end);
                watch(
                    i,
                    &Step {
                        index: call - calls.start,
                        timestep,
                        sample: &drawing.latents,
                        noise_pred: &noise_pred,
                        latents: &step.prev_sample,
                        pred_original_sample: &step.pred_original_sample,
                        sigma: drawing.scheduler.schedule().sigmas[call],
                    },
                )?;
                drawing.latents = step.prev_sample;
            }
        }
        Ok(drawing.into_iter().map(|drawing| drawing.latents).collect())
    }

    /// A picture before its first step, and what the network is told of it.
    fn begin(&self, sampling: &Sampling, asked: Asked<'_>) -> Result<(Drawing, Told)> {
        let settings = asked.settings;
        let (height, width) = settings.latent_size();
        let scheduler = sampling.scheduler()?;
        let beginning = Beginning {
            scheduler: &*scheduler,
            first: sampling.span.calls(&*scheduler).start,
            len: LATENT_CHANNELS * height * width,
            sees_mask: self.sees_mask(),
            whole: settings.strength == Some(1.0),
            noisy: matches!(settings.start, Start::Share(_)),
        };
        let Begin {
            generator,
            sample: latents,
            kept,
            channels,
        } = beginning.draw(asked.seed, asked.starts);
        let drawing = Drawing {
            scheduler,
            generator,
            latents,
            kept,
            guidance_scale: settings.guidance_scale,
        };
        let told = Told {
            row: asked.row,
            time_ids: settings.time_ids(),
            size: (height, width),
            channels,
        };
        Ok((drawing, told))
    }

    /// The network's output for each picture, and the one without the prompt where there is guidance, `batch` at a time.
    fn predict(
        &self,
        drawing: &[Drawing],
        conditioned: &[Rc<Conditioned>],
        call: usize,
        batch: usize,
    ) -> Result<Vec<Output>> {
        let inputs: Vec<_> = drawing
            .iter()
            .map(|drawing| drawing.scheduler.scale_model_input(&drawing.latents, call))
            .collect();
        let pictures = drawing.iter().zip(&inputs).zip(conditioned);
        let samples = pictures.flat_map(|((drawing, input), conditioned)| {
            conditioned.both().map(|conditioned| Sample {
                conditioned,
                sample: input,
                timestep: drawing.scheduler.timesteps()[call],
            })
        });
        let samples: Vec<_> = samples.collect();
        let mut outputs = Vec::with_capacity(samples.len());
        for samples in samples.chunks(batch) {
            outputs.extend(self.unet.predict(samples)?);
        }
        let mut outputs = outputs.into_iter();
        let mut next = || outputs.next().expect("an output for each sample");
        Ok(conditioned
            .iter()
            .map(|conditioned| Output {
                with: next(),
                without: conditioned.negative.is_some().then(&mut next),
            })
            .collect())
    }
}

/// What the network gives for a picture.
struct Output {
    /// With the prompt.
    with: Vec<f32>,
    /// Without it, where there is guidance.
    without: Option<Vec<f32>>,
}

/// A picture that is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) seed: u64,
    /// The prompt.
    pub(crate) row: Row,
    /// Another picture to start from: that row of it.
    pub(crate) starts: Option<(&'a Starts, usize)>,
}

/// A picture that is being drawn.
struct Drawing {
    scheduler: Box<dyn Scheduler>,
    generator: Generator,
    latents: Vec<f32>,
    kept: Option<Kept>,
    guidance_scale: f32,
}

impl Drawing {
    /// Does step `call`, `end` being the one behind the last.
    fn step(&mut self, noise_pred: &[f32], call: usize, end: usize) -> turbo_scheduler::Step {
        let (scheduler, latents) = (&mut self.scheduler, &self.latents);
        let mut step = scheduler.step(noise_pred, call, latents, &mut self.generator);
        if let Some(kept) = &self.kept {
            let next = Some(call + 1).filter(|&next| next < end);
            kept.put_back(&mut step.prev_sample, &**scheduler, next);
        }
        step
    }
}

/// Classifier-free guidance: from the output without the prompt through the one with it, by `scale`; and back to the
/// standard deviation of the one with it, by `rescale` (section 3.4 of <https://arxiv.org/abs/2305.08891>).
fn guide(scale: f32, rescale: f32, with: &[f32], without: &[f32]) -> Vec<f32> {
    let mut guided: Vec<f32> = with
        .iter()
        .zip(without)
        .map(|(with, without)| without + scale * (with - without))
        .collect();
    if rescale > 0.0 {
        let ratio = (standard_deviation(with) / standard_deviation(&guided)) as f32;
        for value in &mut guided {
            *value = rescale * (*value * ratio) + (1.0 - rescale) * *value;
        }
    }
    guided
}

/// With Bessel's correction, as torch has it.
fn standard_deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / (n - 1.0)).sqrt()
}

/// The network with a prompt, and with a negative one where there is guidance.
struct Conditioned {
    positive: Box<dyn ConditionedUNet>,
    negative: Option<Box<dyn ConditionedUNet>>,
}

impl Conditioned {
    /// With the prompt, then with the negative one where there is guidance.
    fn both(&self) -> impl Iterator<Item = &dyn ConditionedUNet> {
        let all = [Some(&self.positive), self.negative.as_ref()];
        all.into_iter().flatten().map(|conditioned| &**conditioned)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_sdxl::{DType, Device};

    #[test]
    fn a_prompt_is_worked_out_once_as_long_as_it_stays() {
        let networks = Networks {
            device: Device::Cpu,
            dtype: DType::F32,
        };
        let folder = turbo_testkit::tiny();
        let pipeline = Pipeline::open(&networks, folder.to_str().unwrap(), &[]).unwrap();
        let config = pipeline.unet.config();
        let (width, pooled) = (config.cross_attention_dim, config.pooled_dim());
        let row = |value: f32| Row {
            tokens: 2,
            positive: Embeds {
                prompt: vec![value; 2 * width],
                pooled: vec![value; pooled],
            },
            negative: None,
        };
        let condition = |pictures: &[(f32, usize)]| {
            let told = pictures.iter().map(|&(value, side)| Told {
                row: row(value),
                time_ids: [0.0; 6],
                size: (side, side),
                channels: Vec::new(),
            });
            pipeline.condition(told.collect()).unwrap()
        };
        let alone = |value, side| condition(&[(value, side)]).remove(0);
        let first = alone(0.5, 8);
        assert!(Rc::ptr_eq(&first, &alone(0.5, 8)));
        assert!(!Rc::ptr_eq(&first, &alone(0.25, 8)));
        assert!(!Rc::ptr_eq(&first, &alone(0.5, 8)), "one is kept");
        let other = alone(0.5, 8);
        assert!(!Rc::ptr_eq(&other, &alone(0.5, 16)));
        // Of pictures that are drawn together, in whatever order they have them.
        let together = condition(&[(0.5, 8), (0.25, 8), (0.5, 8), (0.25, 8)]);
        assert!(Rc::ptr_eq(&together[0], &together[2]));
        assert!(Rc::ptr_eq(&together[1], &together[3]));
        assert!(Rc::ptr_eq(&together[1], &alone(0.25, 8)));
    }
}
