//! What Pillow, which knows nothing of this project, sees in the PNG.

#![forbid(unsafe_code)]

mod support;

use support::{image, pixels, run};
use turbo_testkit::process::{feed, python};

/// Prints size, mode, hash of the pixels and all text as JSON; and `parameters` as the web UI's
/// reader takes it apart (the expression is that of its `infotext_utils.py`).
const SCRIPT: &str = r#"
import hashlib, json, re, sys
from PIL import Image
picture = Image.open(sys.argv[1])
picture.load()
param = re.compile(r'\s*([\w ]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
last = picture.text.get("parameters", "").split("\n")[-1]
print(json.dumps({
    "size": picture.size, "mode": picture.mode, "format": picture.format,
    "md5": hashlib.md5(picture.tobytes()).hexdigest(),
    "text": {key: str(value) for key, value in picture.text.items()},
    "kinds": {key: type(value).__name__ for key, value in picture.text.items()},
    "values": dict(param.findall(last)),
}))
"#;

/// What the script says of the picture made of a stream; none, with a reason printed, where no
/// Python has Pillow.
fn look(args: &[&str], file: &str, stream: &[u8]) -> Option<serde_json::Value> {
    let python = python("PIL")?;
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), args, stream);
    support::expect(&output, 0, "");
    let script = python.args(["-c", SCRIPT, file]).folder(folder.path());
    let output = feed(script, b"");
    assert!(output.status.success(), "{}", support::stderr(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const FOX: &[(&str, &str)] = &[
    ("prompt", "a red fox"),
    ("negative_prompt", "snow, rain"),
    ("seed", "41"),
    ("steps", "1"),
    ("guidance_scale", "0"),
    ("model", "stabilityai/sdxl-turbo"),
    ("id", "fox"),
    ("x-mood", "wild"),
];

#[test]
fn pixels_and_text_are_what_went_in() {
    let stream = image(1, 40, 24, FOX);
    let Some(seen) = look(&["-o", "x.png"], "x.png", &stream) else {
        return;
    };
    assert_eq!(seen["size"], serde_json::json!([24, 40]));
    assert_eq!(
        (&seen["mode"], &seen["format"]),
        (&"RGB".into(), &"PNG".into())
    );
    // python3 -c "import hashlib; print(hashlib.md5(bytes((i*7 + i//11*3) % 256
    //   for i in range(40*24*3))).hexdigest())"
    assert_eq!(
        pixels(2880)[..12],
        [0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 80]
    );
    assert_eq!(seen["md5"], "99107abe73ff654f3b749bd7ceab45d9");
    assert_eq!(
        seen["text"]["parameters"],
        "a red fox\nNegative prompt: snow, rain\nSteps: 1, Sampler: Euler a, CFG scale: 1, \
         Seed: 41, Size: 24x40, Model: stabilityai/sdxl-turbo, RNG: CPU"
    );
    assert_eq!(
        seen["values"],
        serde_json::json!({"Steps": "1", "Sampler": "Euler a", "CFG scale": "1", "Seed": "41",
            "Size": "24x40", "Model": "stabilityai/sdxl-turbo", "RNG": "CPU"})
    );
    // Plain tEXt, which Pillow gives as str, not as its iTXt type.
    assert_eq!(seen["kinds"]["parameters"], "str");
    let all: serde_json::Value =
        serde_json::from_str(seen["text"]["sdxl-turbo"].as_str().unwrap()).unwrap();
    for (key, value) in FOX {
        assert_eq!(all[key], *value);
    }
    assert_eq!(all["kind"], "image");
}

#[test]
fn text_beyond_latin_1_and_odd_values_survive() {
    let pairs = [
        ("prompt", "ein Füchslein 狐 🦊\nin two lines"),
        ("model", "m,y: \"models\"\\x"),
        ("seed", "7"),
        ("steps", "4"),
        ("tab", "a\tb\0c"),
    ];
    let stream = image(1, 1, 1, &pairs);
    let Some(seen) = look(&["-o", "x.png"], "x.png", &stream) else {
        return;
    };
    assert_eq!(seen["kinds"]["parameters"], "iTXt");
    let text = seen["text"]["parameters"].as_str().unwrap();
    assert!(
        text.starts_with("ein Füchslein 狐 🦊\nin two lines\nSteps: 4, "),
        "{text}"
    );
    let model = seen["values"]["Model"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<String>(model).unwrap(), pairs[1].1);
    let all: serde_json::Value =
        serde_json::from_str(seen["text"]["sdxl-turbo"].as_str().unwrap()).unwrap();
    assert_eq!(all["tab"], "a\tb\0c");

    // Latin-1 in tEXt would be shown wrongly by readers that take it for UTF-8. Fewer than three values are left out:
    // the web UI's reader takes their line for the prompt's last.
    let stream = image(1, 1, 1, &[("prompt", "Füchslein")]);
    let seen = look(&["-o", "x.png"], "x.png", &stream).unwrap();
    assert_eq!(seen["kinds"]["parameters"], "iTXt");
    assert_eq!(seen["text"]["parameters"], "Füchslein");
}

#[test]
fn rows_of_a_batch_have_their_own_seed_and_id() {
    let stream = image(3, 4, 4, FOX);
    let Some(seen) = look(&["-o", "{id}.png"], "fox-2.png", &stream) else {
        return;
    };
    assert_eq!(seen["values"]["Seed"], "43");
    let all: serde_json::Value =
        serde_json::from_str(seen["text"]["sdxl-turbo"].as_str().unwrap()).unwrap();
    assert_eq!((&all["seed"], &all["id"]), (&"43".into(), &"fox-2".into()));
    let seen = look(&["-o", "%d.png"], "1.png", &stream).unwrap();
    assert_eq!(seen["values"]["Seed"], "41");
}

#[test]
fn no_metadata_leaves_none() {
    let stream = image(1, 4, 4, FOX);
    let Some(seen) = look(&["--no-metadata", "-o", "x.png"], "x.png", &stream) else {
        return;
    };
    assert_eq!(seen["text"], serde_json::json!({}));
}
