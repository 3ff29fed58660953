//! A picture's encoding beside the text embeddings of a frame.

use crate::encode::{Encode, Encoder, Moments, Size};
use crate::photos::{Photo, Photos};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use turbo_cli::{Error, Result};
use turbo_stage::{Beside, Body, Computed, Fault, Frames, Out, Planned, Slot, Stage, locate};
use turbo_weights::{Part, VaeClass};
use turbo_wire::{Dtype, Frame, Header, Kind, TensorSpec, f32_bytes, keys, metadata, names};

/// Frames and pictures in pairs.
pub(crate) struct Joined<'a> {
    encode: Encode<'a>,
    /// A picture that a record names, and a mask, kept for as long as records name the same.
    own_picture: Slot<PathBuf, Photo>,
    mask: Slot<PathBuf, Photo>,
    /// Whether a checkpoint's network sees the picture under the mask.
    sees_masked: Slot<String, bool>,
    /// The last encoding, for a picture that is repeated.
    last: Option<(Key, Rc<Encoding>)>,
}

/// What an encoding is made of.
#[derive(Clone)]
struct Key {
    photo: Photo,
    mask: Option<Photo>,
    size: Size,
    encoder: Rc<Encoder>,
    masked: bool,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Photo, b: &Photo| Rc::ptr_eq(&a.picture, &b.picture);
        let mask = match (&self.mask, &other.mask) {
            (Some(a), Some(b)) => same(a, b),
            (None, None) => true,
            _ => false,
        };
        same(&self.photo, &other.photo)
            && mask
            && self.size == other.size
            && Rc::ptr_eq(&self.encoder, &other.encoder)
            && self.masked == other.masked
    }
}

/// What a picture adds to a frame.
struct Encoding {
    image: Moments,
    /// In the size of the latents.
    mask: Option<Vec<f32>>,
    masked: Option<Moments>,
}

/// A frame's picture, and what is to be done with it.
pub(crate) struct Plan {
    key: Key,
    /// Rows of the frame, each of which has the picture.
    batch: usize,
}

impl<'a> Joined<'a> {
    pub(crate) fn new(encode: Encode<'a>) -> Self {
        Self {
            encode,
            own_picture: Slot::default(),
            mask: Slot::default(),
            sees_masked: Slot::default(),
            last: None,
        }
    }

    /// The picture of a frame: its record's own, else the one beside it.
    fn photo(&mut self, header: &Header, beside: Option<Photo>) -> Result<Photo> {
        let encode = &self.encode;
        match (path(header, keys::IMAGE)?, beside) {
            (Some(path), _) => {
                let own = self.own_picture.get(&path, || encode.read(&path))?.0;
                Ok(Photo::clone(&own))
            }
            (None, Some(photo)) => Ok(photo),
            (None, None) => Err(Error::new(
                "expected a picture, found none; put \"image\" into the record, or name a PICTURE",
            )),
        }
    }

    /// The mask of a frame: its record's own, else that of the flag, if there is any.
    fn mask(&mut self, header: &Header) -> Result<Option<Photo>> {
        let encode = &self.encode;
        let Some(path) = path(header, keys::MASK)?.or_else(|| encode.args.mask.clone()) else {
            return Ok(None);
        };
        let mask = self.mask.get(&path, || encode.read_mask(&path))?.0;
        Ok(Some(Photo::clone(&mask)))
    }

    /// Whether the frame's network has nine channels: noise, mask, and the picture under the mask. A checkpoint that
    /// is not here is taken for one with four; where it is, `denoise` knows.
    fn sees_masked(&mut self, header: &Header) -> Result<bool> {
        let spec = self.encode.args.model.choose(header.get(keys::MODEL));
        let channels = || {
            let model = locate(&spec, turbo_demo::VAE).ok();
            let config = model.and_then(|model| model.config(Part::Unet).ok());
            Ok(config.is_some_and(|config| config["in_channels"] == serde_json::json!(9)))
        };
        Ok(*self.sees_masked.get(&spec, channels)?.0)
    }
}

/// A record's path; empty is none.
fn path(header: &Header, key: &str) -> Result<Option<PathBuf>> {
    match header.get(key) {
        None | Some("") => Ok(None),
        Some("-") => Err(Error::new(format_args!(
            "metadata: {key}: expected the path of a picture, found \"-\"; stdin is named on the command line"
        ))),
        Some(text) => Ok(Some(Path::new(text).to_owned())),
    }
}

impl Stage for Joined<'_> {
    type Source = Beside<Frames, Photos>;
    type Plan = Plan;
    const WRITES: Kind = Kind::TextEmbeddings;

    fn plan(
        &mut self,
        _: u64,
        (frame, photo): (Header, Option<Photo>),
    ) -> Result<Option<Planned<Plan>>, Fault> {
        if frame.tensor(names::IMAGE_MEAN).is_some() {
            return Err(Fault::Item(Error::new(format_args!(
                "tensor {:?}: expected a frame without a picture, found one with (is encode-image in the pipe \
                 twice?)",
                names::IMAGE_MEAN
            ))));
        }
        let photo = self.photo(&frame, photo)?;
        let mask = self.mask(&frame)?;
        let side = |key| metadata::read(frame.metadata(), key);
        let size = self
            .encode
            .size(&photo, side(keys::WIDTH)?, side(keys::HEIGHT)?)?;
        let (encoder, open) = self
            .encode
            .encoder(frame.get(keys::VAE), frame.get(keys::MODEL))?;
        let masked = mask.is_some() && self.sees_masked(&frame)?;
        let key = Key {
            photo,
            mask,
            size,
            encoder,
            masked,
        };
        Ok(Some(Planned {
            header: header(&frame, &key)?,
            open,
            plan: Plan {
                key,
                batch: frame.batch(),
            },
        }))
    }

    fn compute(
        &mut self,
        plan: Plan,
        (frame, _): (Frame, Option<()>),
        out: &mut Out<'_, '_>,
    ) -> Result<(), Fault> {
        let Plan { key, batch } = plan;
        let (last, tile) = (&mut self.last, self.encode.args.tile);
        out.first(|| {
            let encoding = match last.take() {
                Some((known, encoding)) if known == key => encoding,
                _ => Rc::new(encode(&key, tile).map_err(|error| key.photo.blame(error))?),
            };
            *last = Some((key, Rc::clone(&encoding)));
            Ok(Computed {
                body: body(&encoding, batch),
                passed: Some(frame),
                ..Computed::default()
            })
        })
    }
}

/// Computes what a picture adds.
fn encode(key: &Key, tile: bool) -> Result<Encoding> {
    let size = key.size;
    let image = size.prepare(&key.photo)?;
    let moments = size.encode(&key.encoder, &image, tile)?;
    let Some(mask) = &key.mask else {
        return Ok(Encoding {
            image: moments,
            mask: None,
            masked: None,
        });
    };
    let mask = size.prepare_mask(mask)?;
    let masked = key.masked.then(|| {
        let image = turbo_picture::mask::masked(&image, &mask);
        size.encode(&key.encoder, &image, tile)
    });
    Ok(Encoding {
        image: moments,
        masked: masked.transpose()?,
        mask: Some(turbo_picture::mask::to_latents(
            &mask,
            size.width,
            size.height,
        )),
    })
}

/// The frame's header with the tensors of its picture.
fn header(frame: &Header, key: &Key) -> Result<Header> {
    let (width, height) = key.size.latents();
    let spec = |name: &str, channels| {
        TensorSpec::new(name, Dtype::F32, &[frame.batch(), channels, height, width])
    };
    let channels = names::LATENT_CHANNELS;
    let has_logvar = key.encoder.class == VaeClass::AutoencoderKl;
    let mut tensors = frame.tensors().to_vec();
    tensors.push(spec(names::IMAGE_MEAN, channels));
    tensors.extend(has_logvar.then(|| spec(names::IMAGE_LOGVAR, channels)));
    tensors.extend(key.mask.is_some().then(|| spec(names::MASK, 1)));
    if key.masked {
        tensors.push(spec(names::MASKED_IMAGE_MEAN, channels));
        tensors.extend(has_logvar.then(|| spec(names::MASKED_IMAGE_LOGVAR, channels)));
    }
    let mut metadata = frame.metadata().clone();
    metadata.remove(keys::VAE);
    let model = frame.get(keys::MODEL).map(str::to_owned);
    metadata::write(
        &mut metadata,
        [
            (keys::MODEL, model.or_else(|| key.encoder.model.clone())),
            (keys::VAE, key.encoder.name.clone()),
            (keys::PRODUCER, Some(metadata::producer("encode-image"))),
        ],
    );
    Ok(Header::new(Kind::TextEmbeddings, tensors, metadata)?)
}

/// The tensors of the picture, for each row.
fn body(encoding: &Encoding, batch: usize) -> Body {
    let Encoding {
        image,
        mask,
        masked,
    } = encoding;
    let tensors = [
        (names::IMAGE_MEAN, Some(&image.mean)),
        (names::IMAGE_LOGVAR, image.logvar.as_ref()),
        (names::MASK, mask.as_ref()),
        (names::MASKED_IMAGE_MEAN, masked.as_ref().map(|m| &m.mean)),
        (
            names::MASKED_IMAGE_LOGVAR,
            masked.as_ref().and_then(|m| m.logvar.as_ref()),
        ),
    ];
    let each =
        |(name, values): (_, Option<&Vec<f32>>)| Some((name, f32_bytes(values?).repeat(batch)));
    tensors.into_iter().filter_map(each).collect()
}
