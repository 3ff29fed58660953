//! A picture to a frame of latents.

use crate::encode::{Encode, Encoder, Size};
use crate::photos::{Photo, Photos};
use std::rc::Rc;
use turbo_stage::{Computed, Fault, Out, Planned, Stage};
use turbo_wire::{Header, Kind, Metadata, f32_bytes, keys, metadata, names};

/// Pictures by themselves.
pub(crate) struct Alone<'a>(pub(crate) Encode<'a>);

/// A picture, and what is to be done with it.
pub(crate) struct Plan {
    photo: Photo,
    size: Size,
    encoder: Rc<Encoder>,
}

impl Stage for Alone<'_> {
    type Source = Photos;
    type Plan = Plan;
    const WRITES: Kind = Kind::Latents;

    fn plan(&mut self, _: u64, photo: Photo) -> Result<Option<Planned<Plan>>, Fault> {
        let Self(encode) = self;
        // A model that is missing is no fault of the picture.
        let (encoder, open) = encode.encoder(None, None).map_err(Fault::Run)?;
        let size = encode.size(&photo, None, None)?;
        let (width, height) = size.latents();
        let mut metadata = Metadata::new();
        metadata::write(
            &mut metadata,
            [
                (keys::MODEL, encoder.model.clone()),
                (keys::VAE, encoder.name.clone()),
                (keys::WIDTH, Some(size.width.to_string())),
                (keys::HEIGHT, Some(size.height.to_string())),
                (keys::PRODUCER, Some(metadata::producer("encode-image"))),
            ],
        );
        Ok(Some(Planned {
            header: Header::latents(1, height, width, metadata)?,
            open,
            plan: Plan {
                photo,
                size,
                encoder,
            },
        }))
    }

    fn compute(&mut self, plan: Plan, (): (), out: &mut Out<'_, '_>) -> Result<(), Fault> {
        let Plan {
            photo,
            size,
            encoder,
        } = plan;
        out.first(|| {
            let image = size.prepare(&photo)?;
            let moments = size
                .encode(&encoder, &image, self.0.args.tile)
                .map_err(|error| photo.blame(error))?;
            Ok(Computed {
                body: vec![(names::LATENTS, f32_bytes(&moments.mean))],
                ..Computed::default()
            })
        })
    }
}
