//! Which autoencoder, and where it lies.

use crate::locate;
use std::path::Path;
use turbo_cli::Result;
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

/// An open half of an autoencoder: `N` is `dyn VaeDecoder` or `dyn VaeEncoder`.
pub struct Vae<N: ?Sized> {
    /// The network.
    pub network: Box<N>,
    /// Its class.
    pub class: VaeClass,
    /// What the checkpoint is called in a stream, if it was used.
    pub model: Option<String>,
    /// What the autoencoder is called in a stream, if it is not the checkpoint's.
    pub name: Option<String>,
}

impl<N: ?Sized> Vae<N> {
    /// Finds an autoencoder, and opens the half of it that `open` opens.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn open(choice: &VaeChoice, open: impl Fn(&Autoencoder) -> Result<Box<N>>) -> Result<Self> {
        match &choice.vae[..] {
            VaeChoice::FULL => Self::of_model(choice, None, open),
            VaeChoice::TINY => match find(TAESDXL) {
                Ok(vae) => Self::of_autoencoder(&vae, VaeChoice::TINY.to_owned(), open),
                // The checkpoint's own may be one.
                Err(error) => Self::of_model(choice, Some(VaeClass::AutoencoderTiny), open)
                    .map_err(|_| error.context("--vae tiny")),
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
                Self::of_autoencoder(&vae, name.unwrap_or_else(|| spec.to_owned()), open)
            }
        }
    }

    /// The checkpoint's own, if it is of this class.
    fn of_model(
        choice: &VaeChoice,
        class: Option<VaeClass>,
        open: impl Fn(&Autoencoder) -> Result<Box<N>>,
    ) -> Result<Self> {
        let model = locate(&choice.model, turbo_demo::VAE)?;
        let vae = model.vae()?;
        if class.is_some_and(|class| class != vae.class) {
            return Err(turbo_cli::Error::new(
                "the checkpoint's own is of another class",
            ));
        }
        Ok(Self {
            network: open(&vae)?,
            class: vae.class,
            model: Some(model.name().to_owned()),
            name: None,
        })
    }

    fn of_autoencoder(
        vae: &Autoencoder,
        name: String,
        open: impl Fn(&Autoencoder) -> Result<Box<N>>,
    ) -> Result<Self> {
        Ok(Self {
            network: open(vae)?,
            class: vae.class,
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
