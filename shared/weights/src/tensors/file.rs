//! One safetensors file: checked header, tensors where they lie.

use super::stored::Stored;
use super::{Bytes, Dtype, Weight, int8};
use crate::{Error, Result};
use safetensors::tensor::{Metadata, SafeTensorError, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The tensors of one safetensors file, or of several that belong together.
pub(crate) struct TensorFile {
    /// The file; of several, their index or their folder.
    pub(crate) path: PathBuf,
    /// In order of name.
    pub(crate) weights: Vec<Weight>,
    /// Tensors of types that networks do not compute with: name and type.
    pub(crate) foreign: Vec<(String, String)>,
    /// What the file says of itself.
    pub(crate) metadata: HashMap<String, String>,
}

impl TensorFile {
    /// Maps a file and checks its header against its size.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if is_pickle(path) {
            return Err(Error::Pickle {
                path: path.to_owned(),
            });
        }
        Self::parse(path, &Bytes::map(path)?)
    }

    /// Reads the header of bytes that may be cut or garbage; `path` is for messages.
    pub(crate) fn parse(path: &Path, bytes: &Bytes) -> Result<Self> {
        let (header_len, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|e| explain(path, bytes, e))?;
        let body = 8 + header_len;
        let mut file = Self {
            path: path.to_owned(),
            weights: Vec::new(),
            foreign: Vec::new(),
            metadata: metadata.metadata().clone().unwrap_or_default(),
        };
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let range = body + start..body + end;
            if int8::is_beside(&name, &metadata) {
                continue;
            }
            if info.dtype == safetensors::Dtype::I8 {
                let shape = info.shape.clone();
                let weight = Weight::new(
                    &name,
                    Stored::As(Dtype::I8),
                    shape,
                    bytes.clone(),
                    range.clone(),
                );
                let found = int8::attach(path, &name, weight, &metadata, &bytes[body..])?;
                if let Some(weight) = found {
                    file.weights.push(weight);
                    continue;
                }
            }
            if let Some(stored) = Stored::from_safetensors(info.dtype) {
                file.weights.push(Weight::new(
                    &name,
                    stored,
                    info.shape.clone(),
                    bytes.clone(),
                    range,
                ));
            } else {
                file.foreign.push((name, info.dtype.to_string()));
            }
        }
        file.weights.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(file)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.weights
            .binary_search_by(|w| w.name().cmp(name))
            .is_ok()
            || self.foreign.iter().any(|(n, _)| n == name)
    }

    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.weights.iter().any(|w| w.name().starts_with(prefix))
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        let at = self.weights.binary_search_by(|w| w.name().cmp(name)).ok()?;
        Some(self.weights[at].shape())
    }
}

/// Whether a file's name says that it is pickled.
pub fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|e| {
        ["bin", "ckpt", "pt", "pth"]
            .iter()
            .any(|p| e.eq_ignore_ascii_case(p))
    })
}

/// Beginnings of files that are often taken for safetensors, and what to do.
const MAGICS: [(&[u8], &str); 6] = [
    (
        b"GGUF",
        "a GGUF file, which is not read; get the same model as safetensors",
    ),
    (
        b"PK\x03\x04",
        "a ZIP archive, as torch saves pickle in, which is never read; get the same model as safetensors",
    ),
    (
        b"\x80\x02",
        "pickle, which is never read, since opening it can run code; get the same model as safetensors",
    ),
    (
        b"\x80\x04",
        "pickle, which is never read, since opening it can run code; get the same model as safetensors",
    ),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
];

/// Says of a cut file how long it should be, and of anything else what the reader found.
fn explain(path: &Path, bytes: &[u8], error: SafeTensorError) -> Error {
    let (path, found) = (path.to_owned(), bytes.len() as u64);
    let bad = |reason: String| Error::BadHeader {
        path: path.clone(),
        reason,
    };
    let size = |expected| Error::WrongSize {
        path: path.clone(),
        expected,
        found,
    };
    if bytes.starts_with(b"version https://git-lfs") {
        return bad("a Git LFS pointer in the file's place; type `git lfs pull`".to_owned());
    }
    if let Some((_, what)) = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return bad((*what).to_owned());
    }
    let text = bytes[..bytes.len().min(200)].trim_ascii_start();
    if ["<!doctype", "<html", "<?xml"].iter().any(|tag| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    }) {
        return bad(
            "a web page, which a download brought in the file's place; download it again"
                .to_owned(),
        );
    }
    let Some(length) = bytes.first_chunk() else {
        return bad(format!(
            "expected a header of at least 8 bytes, found {found}"
        ));
    };
    let length = u64::from_le_bytes(*length);
    match error {
        SafeTensorError::InvalidHeaderLength if bytes.get(8).is_none_or(|b| *b == b'{') => {
            size(length.saturating_add(8))
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            // The header is whole, or the reader would have said something else.
            match serde_json::from_slice::<Metadata>(&bytes[8..8 + length as usize]) {
                Ok(metadata) => size(8 + length + metadata.data_len() as u64),
                Err(e) => bad(e.to_string()),
            }
        }
        error => bad(error.to_string()),
    }
}
