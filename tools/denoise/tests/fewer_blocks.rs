//! Networks with fewer blocks than SDXL's, against what diffusers draws with them.

mod support;

use support::{frame, frames};
use turbo_testkit::{fewer_blocks, golden, golden_cases, relative_error};
use turbo_wire::Kind;

#[test]
fn ssd_1b_and_vega_draw_what_diffusers_draws() {
    let (golden, cases) = (golden("fewer_blocks"), golden_cases("fewer_blocks"));
    let (prompt, pooled) = (&golden["prompt_embeds"], &golden["pooled_prompt_embeds"]);
    let embeddings = frame(
        Kind::TextEmbeddings,
        &[],
        &[
            ("prompt_embeds", &prompt.shape, &prompt.f32()),
            ("pooled_prompt_embeds", &pooled.shape, &pooled.f32()),
        ],
    );
    let [size, steps, seed] = ["size", "steps", "seed"].map(|key| cases[key].to_string());
    let networks = cases["networks"].as_object().unwrap();
    assert_eq!(networks.keys().collect::<Vec<_>>(), ["ssd-1b", "vega"]);
    for name in networks.keys() {
        let folder = fewer_blocks(name);
        let mut args = vec!["-m", folder.to_str().unwrap(), "--dtype", "f32"];
        args.extend(["--steps", &steps, "--seed", &seed, "--guidance-scale", "0"]);
        args.extend(["--width", &size, "--height", &size]);
        let drawn = frames(&args, &embeddings);
        let e = relative_error(
            &drawn[0].to_f32("latents").unwrap(),
            &golden[&format!("{name}/latents")].f32(),
        );
        println!("{name}: e = {e:.1e}");
        assert!(e <= 1e-4, "{name}: {e}");
    }
}
