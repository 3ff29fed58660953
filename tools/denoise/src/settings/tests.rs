use super::*;

fn header(metadata: &[(&str, &str)]) -> Header {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Header::text_embeddings(1, 2, 3, 4, false, metadata).unwrap()
}

fn refused(metadata: &[(&str, &str)]) -> String {
    Settings::new(&header(metadata), &Flags::default(), 0, 512, None)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_frame_wins_then_the_flag_then_the_default() {
    let flags = Flags {
        steps: Some(2),
        width: Some(640),
        guidance_scale: Some(1.5),
        ..Flags::default()
    };
    let settings = Settings::new(
        &header(&[("steps", "4"), ("seed", "7")]),
        &flags,
        3,
        512,
        None,
    )
    .unwrap();
    assert_eq!((settings.steps, settings.seed), (4, 7));
    assert_eq!((settings.width, settings.height), (640, 512));
    assert!(settings.guides());
    let plain = Settings::new(&header(&[]), &Flags::default(), 0, 512, None).unwrap();
    assert_eq!(
        (plain.width, plain.height, plain.guides()),
        (512, 512, false)
    );
}

#[test]
fn seeds_count_on_over_the_stream() {
    let flags = Flags {
        seed: Some(u64::MAX),
        ..Flags::default()
    };
    let seed = |record| {
        Settings::new(&header(&[]), &flags, record, 512, None)
            .unwrap()
            .seed
    };
    assert_eq!((seed(0), seed(1), seed(2)), (u64::MAX, 0, 1));
}

#[test]
fn several_pictures_have_seeds_that_count_on_and_never_meet() {
    let flags = Flags {
        seed: Some(100),
        images: Some(3),
        ..Flags::default()
    };
    let settings =
        |record, pairs| Settings::new(&header(pairs), &flags, record, 512, None).unwrap();
    let seeds: Vec<u64> = (0..3)
        .flat_map(|record| (0..3).map(move |image| (record, image)))
        .map(|(record, image)| settings(record, &[]).seed_of(image, 0))
        .collect();
    assert_eq!(seeds, (100..109).collect::<Vec<u64>>());
    // A record's own number changes nothing for the others.
    let own = settings(1, &[("images", "5")]);
    assert_eq!((own.images, own.seed), (5, 105));
    assert_eq!(own.seed_of(4, 2), 111);
    assert_eq!(
        refused(&[("images", "0")]),
        "metadata: images: expected a whole number from 1, found \"0\""
    );
    assert_eq!(
        refused(&[("images", "-2")]),
        "metadata: images: expected a whole number from 1, found \"-2\""
    );
}

#[test]
fn each_picture_tells_its_seed_and_a_name_of_its_own() {
    let pairs = &[("images", "2"), ("id", "fox"), ("seed", "7")];
    let header = header(pairs);
    let settings = Settings::new(&header, &Flags::default(), 0, 512, None).unwrap();
    let of = |image| {
        let mut metadata = header.metadata().clone();
        settings.write(&mut metadata, image);
        assert!(!metadata.contains_key("images"));
        ["id", "seed", "image_index"].map(|key| metadata[key].clone())
    };
    assert_eq!(of(0), ["fox", "7", "0"]);
    assert_eq!(of(1), ["fox-1", "8", "1"]);
}

#[test]
fn a_record_whose_place_is_told_counts_from_there() {
    let flags = Flags {
        seed: Some(100),
        images: Some(3),
        ..Flags::default()
    };
    let header = header(&[("record_index", "4"), ("picture_index", "12")]);
    let settings = Settings::new(&header, &flags, 0, 512, None).unwrap();
    assert_eq!(settings.seed, 112);
    let number = |image| {
        let mut metadata = Metadata::new();
        settings.write(&mut metadata, image);
        metadata["picture_index"].clone()
    };
    assert_eq!([number(0), number(2)], ["12", "14"]);
}

#[test]
fn random_seeds_differ_and_are_short() {
    let seed = || {
        Settings::new(&header(&[]), &Flags::default(), 0, 512, None)
            .unwrap()
            .seed
    };
    let seeds = [seed(), seed(), seed()];
    assert!(seeds[0] != seeds[1] || seeds[1] != seeds[2]);
    assert!(seeds.iter().all(|&seed| u32::try_from(seed).is_ok()));
}

#[test]
fn guidance_is_on_above_one_only() {
    for (scale, guides) in [
        ("0", false),
        ("0.5", false),
        ("1", false),
        ("1.0001", true),
        ("-3", false),
    ] {
        let settings = Settings::new(
            &header(&[("guidance_scale", scale)]),
            &Flags::default(),
            0,
            512,
            None,
        )
        .unwrap();
        assert_eq!(settings.guides(), guides, "{scale}");
    }
}

/// What each setting may be is the table's of the wire crate, and tested there.
#[test]
fn what_cannot_be_is_named() {
    assert_eq!(
        refused(&[("width", "515")]),
        "metadata: width: expected a multiple of 8 from 8 to 16384, found \"515\"; give 512 or 520"
    );
    for (key, value) in [
        ("height", "0"),
        ("steps", "0"),
        ("images", "0"),
        ("guidance_scale", "NaN"),
        ("seed", "-1"),
        ("record_index", "one"),
        ("picture_index", ""),
        ("original_size", "512"),
        ("target_size", "0x-1"),
        ("crops_top_left", "null"),
    ] {
        let text = refused(&[(key, value)]);
        let start = format!("metadata: {key}: expected ");
        assert!(text.starts_with(&start), "{text}");
    }
}

#[test]
fn time_ids_are_height_before_width() {
    let header = header(&[
        ("original_size", "1024x768"),
        ("crops_top_left", "16x32"),
        ("width", "128"),
    ]);
    let settings = Settings::new(&header, &Flags::default(), 0, 64, None).unwrap();
    let whole = settings.time_ids().map(|id| id as u32);
    assert_eq!(whole, [1024, 768, 16, 32, 64, 128]);
}

#[test]
fn what_was_written_is_read_again() {
    let flags = Flags {
        target_size: Some(Pair(8, 9)),
        guidance_scale: Some(2.5),
        ..Flags::default()
    };
    let settings = Settings::new(&header(&[]), &flags, 0, 512, None).unwrap();
    let mut metadata = Metadata::new();
    settings.write(&mut metadata, 0);
    assert_eq!(metadata["guidance_scale"], "2.5");
    assert!(!metadata.contains_key("original_size"));
    assert!(!metadata.contains_key("image_index"));
    let again = Header::text_embeddings(1, 2, 3, 4, false, metadata).unwrap();
    let again = Settings::new(&again, &Flags::default(), 9, 64, None).unwrap();
    // Who said it is another matter.
    let levels = settings.levels.clone();
    assert_eq!(Settings { levels, ..again }, settings);
}

#[test]
fn pairs() {
    assert_eq!("1024x768".parse(), Ok(Pair(1024, 768)));
    for bad in [
        "",
        "x",
        "1x",
        "x1",
        "1x2x3",
        "-1x2",
        "+1x2",
        "1.5x2",
        "1 x 2",
        "99999999999x1",
    ] {
        assert!(bad.parse::<Pair>().is_err(), "{bad}");
    }
}

fn pictured(masked: bool) -> Pictured {
    Pictured {
        size: (4, 6),
        masked,
    }
}

/// As diffusers counts: `int(steps * strength)`, in double precision.
#[test]
fn a_picture_brings_its_size_and_a_strength() {
    let settings = |pairs: &[(&str, &str)], masked| {
        Settings::new(
            &header(pairs),
            &Flags::default(),
            0,
            512,
            Some(pictured(masked)),
        )
        .unwrap()
    };
    let plain = settings(&[], false);
    assert_eq!((plain.height, plain.width), (32, 48));
    assert_eq!((plain.steps, plain.strength), (2, Some(0.5)));
    assert_eq!(plain.time_ids().map(|id| id as u32), [32, 48, 0, 0, 32, 48]);
    let masked = settings(&[], true);
    assert_eq!((masked.steps, masked.strength), (1, Some(1.0)));
    let weak = settings(&[("strength", "0.3")], false);
    assert_eq!((weak.steps, weak.strength), (4, Some(0.3)));
    let same = settings(&[("width", "48"), ("height", "32")], false);
    assert_eq!((same.height, same.width), (32, 48));
    let mut metadata = Metadata::new();
    weak.write(&mut metadata, 0);
    assert_eq!(metadata["strength"], "0.3");
    assert_eq!(steps_run(10, 0.7), 7);
    assert_eq!(steps_run(3, 0.33), 0);
    assert_eq!(steps_run(3, 1.0 / 3.0), 1);
}

#[test]
fn less_than_a_step_says_what_would_be_one() {
    let refused = |pairs: &[(&str, &str)]| {
        Settings::new(
            &header(pairs),
            &Flags::default(),
            0,
            512,
            Some(pictured(false)),
        )
        .unwrap_err()
        .to_string()
    };
    assert_eq!(
        refused(&[("steps", "2"), ("strength", "0.3")]),
        "strength: 0.3 of 2 steps is less than one; give a strength of at least 0.5, or at least 4 steps"
    );
    assert_eq!(
        refused(&[("steps", "3"), ("strength", "0.33")]),
        "strength: 0.33 of 3 steps is less than one; give a strength of at least 0.3334, or at least 4 steps"
    );
    assert_eq!(
        refused(&[("width", "56")]),
        "width: expected 48, which the picture to start from has, found 56; leave it out, or give it to encode-image"
    );
    for steps in 1..=1000 {
        assert_eq!(steps_run(steps, least_strength(steps)), 1, "{steps}");
        let strength = 1.0 / steps as f64;
        let least = least_steps(strength);
        assert!(steps_run(least, strength) > 0 && steps_run(least - 1, strength) == 0);
    }
}

#[test]
fn seeds_count_by_their_step() {
    let seed = |record, seed_step| {
        let flags = Flags {
            seed: Some(7),
            images: Some(2),
            seed_step,
            ..Flags::default()
        };
        Settings::new(&header(&[]), &flags, record, 512, None)
            .unwrap()
            .seed
    };
    assert_eq!([0, 1, 2].map(|record| seed(record, None)), [7, 9, 11]);
    assert_eq!([0, 1, 2].map(|record| seed(record, Some(0))), [7, 7, 7]);
    assert_eq!([0, 1, 2].map(|record| seed(record, Some(10))), [7, 27, 47]);
}
