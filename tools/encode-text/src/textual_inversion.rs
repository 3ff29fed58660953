//! Textual inversion: tokens that the vocabulary lacks, and the vectors that stand for them.
//!
//! Gal et al. 2022, arXiv:2208.01618. diffusers: `loaders/textual_inversion.py`. A file for SDXL has a tensor for each
//! text encoder, `clip_l` and `clip_g`, of one or several vectors.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use turbo_cli::{Error, Result};
use turbo_weights::{Weights, open_file};

/// The tensors of a file, in the order of the encoders.
const NAMES: [&str; 2] = ["clip_l", "clip_g"];

/// `FILE` or `FILE=TOKEN`, as a flag has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingArg {
    text: String,
    file: PathBuf,
    token: String,
}

impl fmt::Display for EmbeddingArg {
    /// As the user wrote it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for EmbeddingArg {
    type Err = String;

    /// `FILE=TOKEN`, or `FILE`, whose name without its ending is then the token. A text that is the name of a file as a
    /// whole is taken as `FILE`, also with `=` in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (file, token) = match text.rsplit_once('=') {
            Some((file, token)) if !Path::new(text).is_file() => (file, token.to_owned()),
            _ => {
                let stem = Path::new(text).file_stem().unwrap_or_default();
                (text, stem.to_string_lossy().into_owned())
            }
        };
        if file.is_empty() || token.trim().is_empty() {
            return Err("expected a file, or a file, = and a token".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            file: file.into(),
            token,
        })
    }
}

/// A token and its vectors.
#[derive(Clone, Debug)]
pub(crate) struct TextualInversion {
    file: PathBuf,
    /// What stands in a prompt.
    pub(crate) token: String,
    /// The vectors for each encoder, one at least.
    pub(crate) vectors: [Vec<Vec<f32>>; 2],
}

impl TextualInversion {
    /// Reads the file.
    ///
    /// # Errors
    /// There is none, it is no safetensors file, or it is not made for both of SDXL's encoders.
    pub(crate) fn open(arg: &EmbeddingArg) -> Result<Self> {
        let tensors = open_file(&arg.file)?;
        let read = |name| vectors(&tensors, name).map_err(|error| error.in_file(&*arg.file));
        Ok(Self {
            vectors: [read(NAMES[0])?, read(NAMES[1])?],
            file: arg.file.clone(),
            token: arg.token.clone(),
        })
    }

    /// Checks that the vectors are as wide as the encoders.
    ///
    /// # Errors
    /// They are not: the file was made for another model.
    pub(crate) fn expect_widths(&self, widths: [usize; 2]) -> Result<()> {
        for ((name, vectors), width) in NAMES.iter().zip(&self.vectors).zip(widths) {
            let found = vectors.first().map_or(0, Vec::len);
            if found != width {
                let error = Error::new(format_args!(
                    "{name}: expected vectors of {width} values, as this model's text encoder is wide, found {found}"
                ));
                return Err(error.in_file(&*self.file));
            }
        }
        Ok(())
    }

    /// All that numbers depend on, for a cache's keys.
    pub(crate) fn identity(&self) -> impl Iterator<Item = Vec<u8>> {
        let vectors = self.vectors.iter().map(|vectors| {
            let values = vectors.iter().flatten();
            values.flat_map(|value| value.to_le_bytes()).collect()
        });
        std::iter::once(self.token.clone().into_bytes()).chain(vectors)
    }

    /// Its name in an error.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

/// The vectors of a tensor `[width]` or `[vectors, width]`.
fn vectors(tensors: &Weights, name: &str) -> Result<Vec<Vec<f32>>> {
    let Some(shape) = tensors.shape(name).map(<[usize]>::to_vec) else {
        let found: Vec<_> = tensors.names().take(4).collect();
        return Err(Error::new(format_args!(
            "expected a textual inversion for SDXL, with tensors `clip_l` and `clip_g`, found {}; those for Stable \
             Diffusion 1 and 2 do not fit",
            found.join(", ")
        )));
    };
    let width = shape.last().copied().unwrap_or(0);
    if shape.len() > 2 || shape.contains(&0) || width == 0 {
        return Err(Error::new(format_args!(
            "{name}: expected a vector or several, found shape {shape:?}"
        )));
    }
    let values = tensors.get(name, &shape)?.to_f32();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Error::new(format_args!(
            "{name}: expected finite values, found NaN or infinity"
        )));
    }
    Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_testkit::{golden_dir, write_safetensors};

    fn arg(text: &str) -> EmbeddingArg {
        text.parse().unwrap()
    }

    fn parts(text: &str) -> (PathBuf, String) {
        let EmbeddingArg { file, token, .. } = arg(text);
        (file, token)
    }

    #[test]
    fn the_token_is_what_is_said_or_the_files_name() {
        assert_eq!(
            parts("a/cat.safetensors"),
            ("a/cat.safetensors".into(), "cat".into())
        );
        assert_eq!(parts("a=b/c.x=<d>"), ("a=b/c.x".into(), "<d>".into()));
        for wrong in ["", "=a", "a=", "a= ", "="] {
            assert!(wrong.parse::<EmbeddingArg>().is_err(), "{wrong:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a=b.safetensors");
        std::fs::write(&file, "").unwrap();
        assert_eq!(parts(file.to_str().unwrap()).1, "a=b");
    }

    #[test]
    fn a_file_has_vectors_for_both_encoders() {
        let file = golden_dir().join("adapters/inversion.safetensors");
        let found = TextualInversion::open(&arg(file.to_str().unwrap())).unwrap();
        assert_eq!(found.token, "inversion");
        let sizes = found.vectors.each_ref().map(|v| (v.len(), v[0].len()));
        assert_eq!(sizes, [(2, 64), (2, 96)]);
        assert!(found.expect_widths([64, 96]).is_ok());
        let error = found.expect_widths([768, 1280]).unwrap_err().to_string();
        assert!(
            error.contains("clip_l: expected vectors of 768 values"),
            "{error}"
        );
        assert!(error.contains("inversion.safetensors"), "{error}");
    }

    #[test]
    fn other_files_are_told_as_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.safetensors");
        let refused = |tensors: &[(&str, &[usize], Vec<u8>)]| {
            write_safetensors(&file, "F32", tensors);
            let opened = TextualInversion::open(&arg(file.to_str().unwrap()));
            opened.unwrap_err().to_string()
        };
        let of = |values: usize| 1f32.to_le_bytes().repeat(values);
        let message = refused(&[("emb_params", &[2, 3], of(6))]);
        assert!(
            message.contains("x.safetensors: expected a textual inversion"),
            "{message}"
        );
        assert!(message.contains("found emb_params; those for"), "{message}");
        let message = refused(&[("clip_l", &[2], of(2)), ("clip_g", &[1, 1, 2], of(2))]);
        assert!(
            message.contains("clip_g: expected a vector or several"),
            "{message}"
        );
        let nan = f32::NAN.to_le_bytes().to_vec();
        let message = refused(&[("clip_l", &[1], nan), ("clip_g", &[1], of(1))]);
        assert!(
            message.contains("clip_l: expected finite values"),
            "{message}"
        );
    }
}
