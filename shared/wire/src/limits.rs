//! Caps on what a header may announce.

use crate::{Error, TensorSpec};

/// Caps that a reader holds a frame to, before it reads the frame's body.
///
/// The defaults leave room for any frame of an SDXL pipe (a header takes under 4 KiB, a batch of
/// 64 pictures of 1024 x 1024 takes 192 MiB). The tools' flags (`--max-frame-bytes`
/// and the like) raise them for those who need more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of JSON header, padding included. Default 1 MiB.
    pub header_bytes: u64,
    /// Tensors in a frame. Default 64.
    pub tensors: usize,
    /// Dimensions of a tensor. Default 8.
    pub rank: usize,
    /// Bytes of a tensor's name in UTF-8. Default 256.
    pub name_bytes: usize,
    /// Bytes of a whole frame: 8, the header and the body. Default 1 GiB.
    pub frame_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 1 << 20,
            tensors: 64,
            rank: 8,
            name_bytes: 256,
            frame_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Number of tensors, their names and their ranks.
    pub(crate) fn check_tensors(&self, tensors: &[TensorSpec]) -> Result<(), Error> {
        if tensors.len() > self.tensors {
            return Err(Error::TooManyTensors {
                found: tensors.len(),
                limit: self.tensors,
            });
        }
        for tensor in tensors {
            if tensor.name.len() > self.name_bytes {
                return Err(Error::NameTooLong {
                    tensor: crate::quote::clip(&tensor.name),
                    found: tensor.name.len(),
                    limit: self.name_bytes,
                });
            }
            if tensor.shape.len() > self.rank {
                return Err(Error::RankTooLarge {
                    tensor: tensor.name.clone(),
                    found: tensor.shape.len(),
                    limit: self.rank,
                });
            }
        }
        Ok(())
    }

    /// Size of the whole frame, from the lengths of its header and its body.
    pub(crate) fn check_frame(&self, header_bytes: u64, body_bytes: u64) -> Result<(), Error> {
        let found = body_bytes.saturating_add(header_bytes).saturating_add(8);
        if found > self.frame_bytes {
            return Err(Error::FrameTooLarge {
                found,
                limit: self.frame_bytes,
            });
        }
        Ok(())
    }
}
