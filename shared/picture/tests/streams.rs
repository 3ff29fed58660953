//! Pictures back to back, whole, cut and broken.

#![forbid(unsafe_code)]

use image::{DynamicImage, ImageFormat, RgbImage};
use std::io::{self, BufRead, Read};
use turbo_picture::{Alpha, Error, Format, Limits, Pictures, Rgb};

/// A picture of which no two rows or columns are alike.
fn sample(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 11) as u8, (y * 13) as u8, (x * y) as u8])
    })
}

fn encoded(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(sample(width, height))
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

fn ppm(header: &str, raster: &[u8]) -> Vec<u8> {
    [header.as_bytes(), raster].concat()
}

fn decode_all(bytes: &[u8]) -> Result<Vec<Rgb>, Error> {
    let limits = Limits::default();
    let mut pictures = Pictures::new(bytes, limits);
    let mut all = Vec::new();
    while let Some(encoded) = pictures.next()? {
        all.push(encoded.decode(Alpha::Ignored, &limits)?);
    }
    Ok(all)
}

/// An input that comes in pieces of a few bytes, and in which nobody may look beyond `ready`.
struct Live<'a> {
    bytes: &'a [u8],
    at: usize,
    ready: usize,
}

impl Read for Live<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Live<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let end = (self.at + 5).min(self.ready);
        assert!(
            end > self.at || self.ready == self.bytes.len(),
            "this would wait for the next picture"
        );
        Ok(&self.bytes[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

fn mixed() -> Vec<Vec<u8>> {
    let raster: Vec<u8> = sample(9, 4).into_raw();
    vec![
        encoded(ImageFormat::Png, 33, 17),
        encoded(ImageFormat::Jpeg, 40, 24),
        ppm("P6 9 4 255\n", &raster),
        encoded(ImageFormat::WebP, 21, 13),
        ppm("P5\n# grey\n12 9\n#\r255\n", &raster),
        encoded(ImageFormat::Jpeg, 16, 16),
        encoded(ImageFormat::Png, 1, 1),
    ]
}

#[test]
fn a_picture_is_there_before_the_next_one_comes() {
    let parts = mixed();
    let bytes = parts.concat();
    let mut ready = 0;
    for (index, part) in parts.iter().enumerate() {
        ready += part.len();
        let input = Live {
            bytes: &bytes,
            at: ready - part.len(),
            ready,
        };
        let mut pictures = Pictures::new(input, Limits::default());
        let picture = pictures.next().unwrap().unwrap();
        assert_eq!(picture.start(), 0);
        let picture = picture.decode(Alpha::Ignored, &Limits::default()).unwrap();
        let alone = decode_all(part).unwrap();
        assert_eq!([picture], alone[..], "picture {index}");
    }
}

#[test]
fn pictures_of_all_formats_lie_back_to_back() {
    let parts = mixed();
    let pictures = decode_all(&parts.concat()).unwrap();
    let sizes: Vec<_> = pictures.iter().map(Rgb::size).collect();
    assert_eq!(
        sizes,
        [
            (33, 17),
            (40, 24),
            (9, 4),
            (21, 13),
            (12, 9),
            (16, 16),
            (1, 1)
        ]
    );
    assert_eq!(pictures[0].pixels(), sample(33, 17).as_raw());
    assert_eq!(pictures[2].pixels(), sample(9, 4).as_raw());
    assert_eq!(
        pictures[3].pixels(),
        sample(21, 13).as_raw(),
        "WebP as written here is lossless"
    );
    assert_eq!(pictures[4].pixels()[3..6], [sample(9, 4).as_raw()[1]; 3]);
    assert_eq!(decode_all(b"").unwrap(), []);
}

#[test]
fn a_cut_picture_says_where_it_ends() {
    for part in mixed() {
        let format = Pictures::new(&part[..], Limits::default())
            .next()
            .unwrap()
            .unwrap()
            .format();
        for end in 2..part.len() {
            let bytes = [&encoded(ImageFormat::Png, 2, 2)[..], &part[..end]].concat();
            let mut pictures = Pictures::new(&bytes[..], Limits::default());
            assert!(pictures.next().unwrap().is_some());
            match pictures.next().unwrap_err() {
                Error::Cut {
                    byte,
                    format: found,
                } => {
                    assert_eq!((byte, found), (bytes.len() as u64, format));
                }
                other => panic!("{format} cut to {end} bytes: {other}"),
            }
        }
    }
}

#[test]
fn what_is_no_picture_is_refused_where_it_stands() {
    let png = encoded(ImageFormat::Png, 2, 2);
    let bytes = [&png[..], b"GIF89a......"].concat();
    let text = decode_all(&bytes).unwrap_err().to_string();
    let start = format!(
        "byte {}: expected a PNG, JPEG, WebP, PPM (P6) or PGM (P5) picture, found a GIF file",
        png.len()
    );
    assert!(text.starts_with(&start), "{text}");
    for (bytes, found) in [
        (&b"P3 1 1 255 0 0 0"[..], "as text"),
        (b"x", "the bytes 78"),
        (b"\x89PXX\r\n\x1a\n", "signature"),
        (b"RIFF\x04\0\0\0WAVE", "WEBP"),
        (b"P6 0 1 255\n", "0 x 1"),
        (b"P6 1 1 0\n", "1 to 65535"),
        (b"P6 1 1 65536\n", "1 to 65535"),
        (b"P6 1 x 255\n", "'x'"),
    ] {
        let text = decode_all(bytes).unwrap_err().to_string();
        assert!(text.contains(found), "{text}");
    }
}

#[test]
fn numbers_in_a_header_take_no_memory() {
    // Of 16 GB, as its header says, which the limit refuses before a pixel is read.
    let error = decode_all(b"P6 70000 70000 255\n").unwrap_err();
    assert!(
        matches!(error, Error::TooManyPixels { width: 70_000, .. }),
        "{error}"
    );
    // A chunk of 2 GiB of which nothing comes.
    let error = decode_all(b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffIDAT").unwrap_err();
    assert!(matches!(error, Error::TooManyBytes { .. }), "{error}");
    let error = decode_all(b"\x89PNG\r\n\x1a\n\x0f\xff\xff\xffIDAT").unwrap_err();
    assert!(matches!(error, Error::Cut { byte: 16, .. }), "{error}");
    // A JPEG without an end.
    let limits = Limits {
        bytes: 100,
        ..Limits::default()
    };
    let endless = [&b"\xff\xd8\xff\xda\0\x02"[..], &[0; 1000]].concat();
    let error = Pictures::new(&endless[..], limits).next().unwrap_err();
    assert!(matches!(error, Error::TooManyBytes { .. }), "{error}");
}

/// Sizes are known from the first bytes of each format.
#[test]
fn a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded() {
    let small = Limits {
        pixels: 100,
        ..Limits::default()
    };
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let bytes = encoded(format, 11, 10);
        let encoded = Pictures::new(&bytes[..], small).next().unwrap().unwrap();
        let text = encoded
            .decode(Alpha::Ignored, &small)
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            "expected at most 100 pixels, found 11 x 10; raise --max-pixels for a picture as large"
        );
    }
    let mut png = encoded(ImageFormat::Png, 11, 10);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let text = decode_all(&png).unwrap_err().to_string();
    assert!(text.contains("found 65536 x 65536"), "{text}");
}

#[test]
fn bare_pixels_are_cut_by_their_size() {
    let bytes: Vec<u8> = (0..36).collect();
    let limits = Limits::default();
    let mut pictures = Pictures::raw(&bytes[..], limits, 3, 2);
    for start in [0, 18] {
        let encoded = pictures.next().unwrap().unwrap();
        assert_eq!(encoded.start(), start);
        assert_eq!(
            encoded.format(),
            Format::Raw {
                width: 3,
                height: 2
            }
        );
        let picture = encoded.decode(Alpha::On([255; 3]), &limits).unwrap();
        assert_eq!(picture.pixels()[0], start as u8);
        assert_eq!(picture.size(), (3, 2));
    }
    assert!(pictures.next().unwrap().is_none());
    let mut pictures = Pictures::raw(&bytes[..20], limits, 3, 2);
    pictures.next().unwrap();
    assert!(matches!(pictures.next(), Err(Error::Cut { byte: 20, .. })));
}

#[test]
fn a_damaged_picture_leaves_the_next_one_readable() {
    let mut png = encoded(ImageFormat::Png, 8, 8);
    let middle = png.len() / 2;
    png[middle] ^= 0xff;
    let bytes = [&png[..], &encoded(ImageFormat::Png, 4, 4)].concat();
    let limits = Limits::default();
    let mut pictures = Pictures::new(&bytes[..], limits);
    let damaged = pictures.next().unwrap().unwrap();
    let error = damaged.decode(Alpha::Ignored, &limits).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Decode {
                format: Format::Png,
                ..
            }
        ),
        "{error}"
    );
    let next = pictures.next().unwrap().unwrap();
    assert_eq!(next.decode(Alpha::Ignored, &limits).unwrap().size(), (4, 4));
}
