//! Which decoder, and where it lies.

use crate::{Networks, locate};
use std::path::Path;
use turbo_cli::Result;
use turbo_sdxl::{VaeDecoder, open_vae_decoder};
use turbo_weights::{Autoencoder, LocateOptions, VaeClass, locate_vae};

/// Where TAESDXL is published.
const TAESDXL: &str = "madebyollin/taesdxl";

/// What is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaeChoice {
    /// `full`, `tiny`, a path or a hub id.
    pub vae: String,
    /// The checkpoint, for `full`.
    pub model: String,
}

impl VaeChoice {
    /// The checkpoint's own.
    pub const FULL: &'static str = "full";
    const TINY: &'static str = "tiny";
}

/// An open decoder.
pub struct Vae {
    /// The network.
    pub decoder: Box<dyn VaeDecoder>,
    /// What the checkpoint is called in a stream, if it was used.
    pub model: Option<String>,
    /// What the decoder is called in a stream, if it is not the checkpoint's.
    pub name: Option<String>,
}

impl Vae {
    /// Opens a decoder, and lets its weights be read ahead.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn open(networks: &Networks, choice: &VaeChoice) -> Result<Self> {
        match &choice.vae[..] {
            VaeChoice::FULL => Self::of_model(networks, choice, None),
            VaeChoice::TINY => match find(TAESDXL) {
                Ok(vae) => Self::of_autoencoder(networks, &vae, VaeChoice::TINY.to_owned()),
                // The checkpoint's own may be one.
                Err(error) => {
                    match Self::of_model(networks, choice, Some(VaeClass::AutoencoderTiny)) {
                        Ok(vae) => Ok(vae),
                        Err(_) => Err(error.context("--vae tiny")),
                    }
                }
            },
            spec => {
                let vae = find(spec).map_err(|error| error.context("--vae"))?;
                let path = Path::new(spec);
                // Whoever reads the name later may be in another folder.
                let absolute = if path.exists() {
                    std::path::absolute(path).ok()
                } else {
                    None
                };
                let name = absolute.and_then(|path| path.into_os_string().into_string().ok());
                Self::of_autoencoder(networks, &vae, name.unwrap_or_else(|| spec.to_owned()))
            }
        }
    }

    /// The checkpoint's own, if it is of this class.
    fn of_model(networks: &Networks, choice: &VaeChoice, class: Option<VaeClass>) -> Result<Self> {
        let model = locate(&choice.model, turbo_demo::VAE)?;
        let vae = model.vae()?;
        if class.is_some_and(|class| class != vae.class) {
            return Err(turbo_cli::Error::new(
                "the checkpoint's own is of another class",
            ));
        }
        Ok(Self {
            decoder: decoder(networks, &vae)?,
            model: Some(model.name().to_owned()),
            name: None,
        })
    }

    fn of_autoencoder(networks: &Networks, vae: &Autoencoder, name: String) -> Result<Self> {
        Ok(Self {
            decoder: decoder(networks, vae)?,
            model: None,
            name: Some(name),
        })
    }
}

fn find(spec: &str) -> Result<Autoencoder> {
    Ok(locate_vae(
        spec,
        &LocateOptions::with_builtin(turbo_demo::VAE),
    )?)
}

fn decoder(networks: &Networks, vae: &Autoencoder) -> Result<Box<dyn VaeDecoder>> {
    Ok(open_vae_decoder(&networks.device, networks.dtype, vae)?)
}
