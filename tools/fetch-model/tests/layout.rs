//! What lies where after a fetch, and what a second fetch asks for.

mod support;

use std::fs;
use std::path::Path;
use support::repository::{COMMIT, ID, Repository, UNET, UNET_F32};
use support::{Hub, Tool, names, stderr};

/// Paths below `folder` and their content; a link counts as what it shows.
fn read_tree(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            read_tree(&path, &format!("{prefix}{name}/"), files);
        } else {
            files.push((format!("{prefix}{name}"), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn files_are_whole_and_laid_out_as_python_does_it() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    let folder = tool.cache().join("models--owner--turbo");
    assert_eq!(snapshot, folder.join("snapshots").join(COMMIT));
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );

    let mut files = Vec::new();
    read_tree(&snapshot, "", &mut files);
    assert_eq!(files.len(), 18);
    for (path, content) in &files {
        let file = hub.repository().file(path);
        assert!(*content == file.content, "{path}");
        let up = "../".repeat(path.split('/').count() + 1);
        let link = fs::read_link(snapshot.join(path)).unwrap();
        assert_eq!(
            link,
            Path::new(&format!("{up}blobs/{}", file.hash)),
            "{path}"
        );
    }
    let unwanted = ["bin", "onnx", "md"];
    let is_unwanted = |path: &str| {
        path.rsplit('.')
            .next()
            .is_some_and(|end| unwanted.contains(&end))
    };
    assert!(!files.iter().any(|(path, _)| is_unwanted(path)));
    assert!(!files.iter().any(|(path, _)| path == UNET_F32));
    // Nothing else is left: no partial, no temporary.
    assert_eq!(names(&folder), ["blobs", "refs", "snapshots"]);
    let mut hashes: Vec<_> = files
        .iter()
        .map(|(path, _)| hub.repository().file(path).hash.clone())
        .collect();
    hashes.sort();
    assert_eq!(names(&folder.join("blobs")), hashes);
}

#[test]
fn the_hub_client_for_rust_finds_every_file() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    let cache = hf_hub::Cache::new(tool.cache());
    let repo = cache.model(ID.to_owned());
    let mut files = Vec::new();
    read_tree(&snapshot, "", &mut files);
    assert!(!files.is_empty());
    for (path, _) in files {
        assert_eq!(repo.get(&path), Some(snapshot.join(&path)), "{path}");
    }
}

#[test]
fn a_second_run_asks_for_the_revision_only() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let first = tool.fetch(&[ID]);
    hub.take_log();
    assert_eq!(tool.fetch(&[ID]), first);
    assert_eq!(hub.take_log(), [format!("/api/models/{ID}/revision/main")]);

    assert_eq!(tool.fetch(&[&format!("{ID}@{COMMIT}")]), first);
    assert_eq!(
        tool.fetch(&[ID, "--only", "unet,vae"]).file_name().unwrap(),
        COMMIT
    );
    assert_eq!(hub.take_log(), [format!("/api/models/{ID}/revision/main")]);

    let offline = tool.var("HF_HUB_OFFLINE", "1");
    assert_eq!(offline.fetch(&[ID]), first);
    assert_eq!(offline.fetch(&[ID, "--verify"]), first);
    let text = offline.refusal(&[ID, "--dtype", "f32"]);
    assert!(
        text.contains("HF_HUB_OFFLINE") && text.contains("text_encoder"),
        "{text}"
    );
    let text = offline.refusal(&[&format!("{ID}@refs/pr/1")]);
    assert!(text.contains("never fetched"), "{text}");
    assert!(hub.take_log().is_empty());
}

#[test]
fn other_revisions_share_the_content() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    tool.fetch(&[ID]);
    hub.take_log();
    let refs = tool.cache().join("models--owner--turbo/refs");
    tool.fetch(&[&format!("{ID}@refs/pr/1")]);
    assert_eq!(fs::read_to_string(refs.join("refs/pr/1")).unwrap(), COMMIT);
    tool.fetch(&[&format!("{ID}@{}", &COMMIT[..7])]);
    assert_eq!(fs::read_to_string(refs.join(&COMMIT[..7])).unwrap(), COMMIT);
    assert!(
        hub.take_log()
            .iter()
            .all(|path| path.contains("/revision/"))
    );
}

#[test]
fn single_precision_and_only_some_parts() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID, "--only", "tokenizer"]);
    assert_eq!(
        names(&snapshot),
        ["model_index.json", "tokenizer", "tokenizer_2"]
    );
    let snapshot = tool.fetch(&[ID, "--only", "unet", "--dtype", "f32"]);
    assert_eq!(
        names(&snapshot.join("unet")),
        ["config.json", "diffusion_pytorch_model.safetensors"]
    );
}

#[test]
fn a_missing_variant_is_replaced_and_said() {
    let hub = Hub::new(Repository::turbo().without(UNET));
    let tool = Tool::new(&hub);
    let output = tool.run(&[ID]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("unet has no fp16 weights"),
        "{}",
        stderr(&output)
    );
    let unet = tool
        .cache()
        .join("models--owner--turbo/snapshots")
        .join(COMMIT)
        .join("unet");
    assert_eq!(
        names(&unet),
        ["config.json", "diffusion_pytorch_model.safetensors"]
    );
    // The cache alone cannot tell that there is no fp16 form: the listing is asked, no content.
    hub.take_log();
    assert_eq!(stderr(&tool.run(&[ID, "--quiet"])), "");
    assert_eq!(hub.take_log().len(), 2);
    tool.var("HF_HUB_OFFLINE", "1").fetch(&[ID]);
}

#[test]
fn long_listings_come_in_pages() {
    let mut repository = Repository::turbo();
    repository.page = 5;
    let hub = Hub::new(repository);
    let tool = Tool::new(&hub);
    tool.fetch(&[ID, "--only", "vae"]);
    let pages = hub
        .take_log()
        .iter()
        .filter(|path| path.contains("/tree/"))
        .count();
    assert_eq!(pages, hub.repository().files.len().div_ceil(5));
}

#[test]
fn shards_and_their_index() {
    let shards = [
        (
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            b"{}".to_vec(),
        ),
        (
            "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
            vec![1; 5000],
        ),
        (
            "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
            vec![2; 5000],
        ),
    ];
    let mut repository = Repository::turbo().without(UNET);
    repository.files.extend(Repository::new(shards).files);
    let hub = Hub::new(repository);
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID, "--only", "unet"]);
    assert_eq!(
        names(&snapshot.join("unet")).len(),
        4,
        "config.json, the index and two shards: {:?}",
        names(&snapshot.join("unet"))
    );
}

#[test]
fn a_single_autoencoder() {
    let repository = Repository::new([
        ("README.md", b"x".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("diffusion_pytorch_model.safetensors", vec![3; 4000]),
        ("taesdxl_decoder.pth", vec![4; 10]),
        ("taesdxl_decoder.safetensors", vec![5; 4000]),
    ]);
    let hub = Hub::new(repository);
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    assert_eq!(
        names(&snapshot),
        [
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "taesdxl_decoder.safetensors"
        ]
    );
}

#[test]
fn damage_in_the_cache_is_found_and_mended() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    let blob = tool.blobs().join(&hub.repository().file(UNET).hash);
    let mut content = fs::read(&blob).unwrap();
    content[1_234_567] ^= 1;
    fs::write(&blob, &content).unwrap();

    let offline = Tool {
        dir: tempfile::tempdir().unwrap(),
        vars: tool.vars.clone(),
    }
    .var("HF_HUB_OFFLINE", "1");
    let text = offline.refusal(&[ID, "--verify"]);
    assert!(text.contains("damaged") && text.contains(UNET), "{text}");
    hub.take_log();
    let output = tool.run(&[ID, "--verify"]);
    assert!(
        output.status.success() && stderr(&output).contains("damaged"),
        "{}",
        stderr(&output)
    );
    assert_eq!(hub.starts(UNET), [0]);
    assert!(fs::read(snapshot.join(UNET)).unwrap() == hub.repository().file(UNET).content);
}

#[test]
fn a_hub_out_of_reach_does_not_take_the_cache_away() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let tool = Tool {
        vars: tool.vars.clone(),
        ..tool
    }
    .var("HF_ENDPOINT", &format!("http://{nobody}"));
    let output = tool.run(&[ID]);
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap().trim_end(),
        snapshot.to_str().unwrap()
    );
    assert!(
        stderr(&output).contains("connection refused"),
        "{}",
        stderr(&output)
    );
    let text = tool.refusal(&["owner/other"]);
    assert!(
        text.contains("cannot be had from 127.0.0.1: connection refused"),
        "{text}"
    );
}
