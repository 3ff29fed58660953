//! A model repository as the hub shows it.

use super::{Reply, Request};
use sha2::Digest;
use std::fmt::Write as _;
use std::net::SocketAddr;

pub const COMMIT: &str = "71153311d3dbb46851df1931d3ca6e939de83304";
pub const ID: &str = "owner/turbo";

pub const UNET: &str = "unet/diffusion_pytorch_model.fp16.safetensors";
pub const UNET_F32: &str = "unet/diffusion_pytorch_model.safetensors";
pub const VAE: &str = "vae/diffusion_pytorch_model.fp16.safetensors";

/// A file: large ones are in the storage host and named by SHA-256, small ones in git.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub content: Vec<u8>,
    pub large: bool,
    pub hash: String,
}

#[derive(Debug, Clone)]
pub struct Repository {
    pub files: Vec<File>,
    /// Files on a page of the listing.
    pub page: usize,
}

/// Bytes without a pattern that a shifted copy would fit.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..len).map(step).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        write!(text, "{b:02x}").unwrap();
        text
    })
}

impl File {
    pub fn new(path: &str, content: Vec<u8>) -> Self {
        let large = path.ends_with(".safetensors");
        let hash = if large {
            hex(&sha2::Sha256::digest(&content))
        } else {
            let mut git = sha1::Sha1::new();
            git.update(format!("blob {}\0", content.len()));
            git.update(&content);
            hex(&git.finalize())
        };
        Self {
            path: path.to_owned(),
            content,
            large,
            hash,
        }
    }
}

impl Repository {
    pub fn new(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, content)| File::new(path, content))
            .collect();
        Self { files, page: 1000 }
    }

    /// A pipeline with the file names of SDXL Turbo; the denoiser has 3 MB, the rest little.
    pub fn turbo() -> Self {
        let small = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "tokenizer/tokenizer_config.json",
            "tokenizer/special_tokens_map.json",
            "tokenizer_2/vocab.json",
            "tokenizer_2/merges.txt",
            "tokenizer_2/tokenizer_config.json",
            "tokenizer_2/special_tokens_map.json",
            "text_encoder/config.json",
            "text_encoder_2/config.json",
            "unet/config.json",
            "vae/config.json",
        ];
        let unwanted = [
            "README.md",
            "LICENSE.md",
            "unet/model.onnx",
            "vae/diffusion_pytorch_model.bin",
        ];
        let weights = [
            ("text_encoder/model.fp16.safetensors", 20_000),
            ("text_encoder/model.safetensors", 40_000),
            ("text_encoder_2/model.fp16.safetensors", 30_000),
            ("text_encoder_2/model.safetensors", 60_000),
            (UNET, 3_000_000),
            (UNET_F32, 50_000),
            (VAE, 200_000),
            ("vae/diffusion_pytorch_model.safetensors", 40_000),
            ("sd_xl_turbo_1.0_fp16.safetensors", 9_000),
        ];
        let small = small
            .into_iter()
            .chain(unwanted)
            .map(|path| (path, format!("content of {path}\n").into_bytes()));
        let weights = weights
            .into_iter()
            .map(|(path, len)| (path, noise(len, len as u32)));
        Self::new(small.chain(weights))
    }

    pub fn file(&self, path: &str) -> &File {
        self.files
            .iter()
            .find(|file| file.path == path)
            .unwrap_or_else(|| panic!("no {path}"))
    }

    pub fn without(mut self, path: &str) -> Self {
        self.files.retain(|file| file.path != path);
        self
    }

    /// What the hub answers, by `huggingface.co/docs/hub/api` and what `huggingface_hub` reads.
    pub fn hub(&self, request: &Request, storage: SocketAddr) -> Reply {
        let path = request.path.as_str();
        let content = format!("/{ID}/resolve/{COMMIT}/");
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{ID}/revision/")) {
            if !["main", "refs%2Fpr%2F1", &COMMIT[..7]].contains(&revision) {
                return Reply::new(404).with("X-Error-Code", "RevisionNotFound");
            }
            let siblings: Vec<_> = self
                .files
                .iter()
                .map(|f| serde_json::json!({"rfilename": f.path}))
                .collect();
            let info = serde_json::json!({"id": ID, "sha": COMMIT, "private": false, "siblings": siblings});
            Reply::new(200)
                .with("Content-Type", "application/json")
                .body(info.to_string())
        } else if path.starts_with(&format!("/api/models/{ID}/tree/{COMMIT}?recursive=true")) {
            self.tree(path, request)
        } else if let Some(path) = path.strip_prefix(&content) {
            let Some(file) = self.files.iter().find(|file| file.path == path) else {
                return Reply::new(404).with("X-Error-Code", "EntryNotFound");
            };
            if file.large {
                let location = format!("http://{storage}/blob/{}?signature=s", file.hash);
                Reply::new(302)
                    .with("Location", location)
                    .with("X-Repo-Commit", COMMIT)
                    .with("X-Linked-Etag", format!("\"{}\"", file.hash))
                    .with("X-Linked-Size", file.content.len())
            } else {
                let location = format!(
                    "/api/resolve-cache/models/{ID}/{COMMIT}/{path}?etag=%22{}%22",
                    file.hash
                );
                Reply::new(307)
                    .with("Location", location)
                    .with("X-Repo-Commit", COMMIT)
            }
        } else if let Some(path) =
            path.strip_prefix(&format!("/api/resolve-cache/models/{ID}/{COMMIT}/"))
        {
            let file = self.file(path.split('?').next().unwrap());
            Reply::content(&file.content, request)
                .with("X-Repo-Commit", COMMIT)
                .with("ETag", format!("\"{}\"", file.hash))
        } else if path.starts_with("/api/models/") {
            Reply::new(401).with("X-Error-Message", "Invalid username or password.")
        } else {
            Reply::new(404)
        }
    }

    fn tree(&self, path: &str, request: &Request) -> Reply {
        let page: usize = path
            .split("cursor=")
            .nth(1)
            .map_or(0, |cursor| cursor.parse().unwrap());
        let mut entries = Vec::new();
        if page == 0 {
            entries.push(serde_json::json!({"type": "directory", "oid": "0".repeat(40), "size": 0, "path": "unet"}));
        }
        for file in self.files.iter().skip(page * self.page).take(self.page) {
            let mut entry = serde_json::json!({"type": "file", "path": file.path, "size": file.content.len(),
                "oid": file.hash});
            if file.large {
                entry["oid"] = "1".repeat(40).into();
                entry["lfs"] = serde_json::json!({"oid": file.hash, "size": file.content.len(), "pointerSize": 135});
            }
            entries.push(entry);
        }
        let reply = Reply::new(200).body(serde_json::Value::from(entries).to_string());
        if (page + 1) * self.page < self.files.len() {
            let host = request.header("host").unwrap();
            let next = format!(
                "http://{host}/api/models/{ID}/tree/{COMMIT}?recursive=true&cursor={}",
                page + 1
            );
            return reply.with("Link", format!("<{next}>; rel=\"next\""));
        }
        reply
    }

    /// What the storage host answers. Its etag is no hash of the content, as with real ones.
    pub fn storage(&self, request: &Request) -> Reply {
        let hash = request
            .path
            .strip_prefix("/blob/")
            .and_then(|path| path.split('?').next());
        match self
            .files
            .iter()
            .find(|file| Some(file.hash.as_str()) == hash && file.large)
        {
            Some(file) => {
                Reply::content(&file.content, request).with("ETag", "\"0123456789abcdef-9\"")
            }
            None => Reply::new(404),
        }
    }
}
