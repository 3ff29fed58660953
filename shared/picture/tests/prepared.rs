//! Pictures and masks as diffusers prepares them, bit for bit.

#![forbid(unsafe_code)]

use turbo_picture::{Fit, Rgb, mask, size};
use turbo_testkit::golden;

#[test]
fn pictures_and_masks_are_diffusers_own() {
    let golden = golden("pictures");
    let mut masks = 0;
    for case in 0..8 {
        let picture = &golden[&format!("{case}/picture")];
        let [height, width, _] = picture.shape[..] else {
            panic!("a picture has three axes")
        };
        let picture = Rgb::new(width, height, picture.u8()).unwrap();
        let (width, height) = size::target(picture.size(), None, None).unwrap();
        let prepared = Fit::Stretch.apply(&picture, width, height).unwrap();
        let expected = &golden[&format!("{case}/prepared")];
        assert_eq!(expected.shape, [1, 3, height, width], "case {case}");
        let planes: Vec<u8> = (0..3)
            .flat_map(|c| prepared.pixels().iter().skip(c).step_by(3))
            .copied()
            .collect();
        let off = planes.iter().zip(expected.u8()).filter(|(a, b)| **a != *b);
        assert_eq!(off.count(), 0, "case {case}: values that differ");

        let Some(given) = golden.get(&format!("{case}/mask")) else {
            continue;
        };
        masks += 1;
        let [h, w] = given.shape[..] else {
            panic!("a mask has two axes")
        };
        let grey = given.u8().iter().flat_map(|&value| [value; 3]).collect();
        let given = Rgb::new(w, h, grey).unwrap();
        let prepared = mask::binarize(&Fit::Stretch.apply(&given, width, height).unwrap());
        let expected = golden[&format!("{case}/prepared_mask")].u8();
        let expected: Vec<f32> = expected.into_iter().map(f32::from).collect();
        assert!(prepared == expected, "case {case}: the mask differs");
    }
    assert_eq!(masks, 3);
}

/// Expected: `torch.nn.functional.interpolate(mask, size=(2, 2))` takes rows and columns 0 and 8.
#[test]
fn a_mask_in_the_size_of_the_latents_is_its_nearest_pixels() {
    let mut mask = vec![0.0; 16 * 16];
    mask[8] = 1.0; // row 0, column 8
    mask[8 * 16] = 0.25; // row 8, column 0
    mask[8 * 16 + 9] = 9.0; // is not looked at
    assert_eq!(mask::to_latents(&mask, 16, 16), [0.0, 1.0, 0.25, 0.0]);
    assert_eq!(
        mask::masked(&[1.0, -1.0, 0.5, -0.5], &[0.0, 1.0]),
        [1.0, 0.0, 0.5, 0.0]
    );
}
