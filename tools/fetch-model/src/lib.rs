//! Downloads just the files the tools need of a model into the Hugging Face cache.
//!
//! The cache is laid out as Python's `huggingface_hub` does it, so Python finds what was fetched
//! here and the other way round. Every byte is checked against the hash the hub lists it under.
//! This is the only tool that opens a socket.

#![forbid(unsafe_code)]

mod absolute_form;
pub mod cache;
pub mod choose;
pub mod error;
pub mod fetch;
#[doc(hidden)]
pub mod fuzz;
pub mod hash;
pub mod http;
pub mod hub;
pub mod id;
mod least_rate;
pub mod origin;
pub mod partial;
pub mod proxy;
mod report;
mod retry;
pub mod settings;

use cache::ModelCache;
use choose::{Choice, Dtype, Part, choose, named};
use error::Error;
use fetch::{Fetch, Fetched, Watch};
use http::Client;
use hub::Hub;
use id::{Commit, ContentHash};
use report::Report;
use settings::Settings;
use std::collections::BTreeSet;
use std::io::Write;
use turbo_cli::Console;
use turbo_weights::ModelId;

/// Download a model into the Hugging Face cache
///
/// Fetches what the other tools read, in diffusers' layout: model_index.json, the scheduler's and
/// the networks' configurations, both tokenizers, and the weights as safetensors (never pickle).
/// Also takes a repository that is a single autoencoder, such as madebyollin/taesdxl. The folder
/// of the snapshot is printed on stdout.
///
/// An interrupted download goes on where it stopped when the same command is given again. Sizes
/// and hashes are checked; what is in the cache already is not fetched again.
///
/// With --progress json, a line every second and at the end of a file: event ("download"), tool,
/// path, bytes (of it that are there), size, resumed_from, done. At the end: event ("fetched"),
/// tool, model, commit, snapshot, files, downloaded_files, downloaded_bytes.
#[derive(Debug, Clone, clap::Parser)]
#[expect(
    clippy::doc_markdown,
    reason = "these comments are the help text, shown as they are"
)]
#[command(version, after_long_help = ENVIRONMENT)]
pub struct Args {
    /// Model on the hub, with a branch, tag or commit if not main
    #[arg(value_name = "MODEL[@REVISION]")]
    pub model: ModelId,

    /// Fetch these files of the repository only, such as a LoRA; their paths are printed
    #[arg(value_name = "FILE", conflicts_with_all = ["only", "dtype"])]
    pub files: Vec<String>,

    /// Which weights to take; f16 falls back to the only ones there are
    #[arg(long, value_enum, value_name = "TYPE", default_value_t)]
    pub dtype: Dtype,

    /// Fetch some parts only
    ///
    /// May be given several times, or with commas. `--only tokenizer` is what a single-file
    /// checkpoint lacks.
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,

    /// Read what is in the cache already, and fetch anew what is damaged
    #[arg(long)]
    pub verify: bool,

    /// Failures in a row after which to give up
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub retries: u32,
}

const ENVIRONMENT: &str = "\
Environment, as Python's huggingface_hub has it:
  HF_HUB_CACHE             folder of the cache (HUGGINGFACE_HUB_CACHE also works)
  HF_HOME                  folder of Hugging Face files; the cache is its hub/
  XDG_CACHE_HOME           HF_HOME is its huggingface/; without it, ~/.cache/huggingface
  HF_ENDPOINT              address of the hub, instead of https://huggingface.co
  HF_TOKEN                 access token; else HF_TOKEN_PATH, else the file token in HF_HOME
  HF_HUB_DISABLE_IMPLICIT_TOKEN  1: send no token
  HF_HUB_OFFLINE           1: no network; succeed only if all is in the cache
  HF_HUB_DOWNLOAD_TIMEOUT  seconds of silence, or of fewer than 1000 bytes a second, after which
                           a connection counts as dropped
  HTTPS_PROXY, HTTP_PROXY  proxy for addresses of this kind, else ALL_PROXY; as curl has them:
                           http://, https://, socks4://, socks4a://, socks5:// or socks5h://
  NO_PROXY                 hosts and networks that are asked directly
  SSL_CERT_FILE            PEM certificates to trust instead of the built-in ones

The token goes to the hub only, over https only (or http to this machine), and is never printed.";

/// Runs the tool: fetches, and prints the snapshot's folder.
///
/// # Errors
/// Whatever [`fetch_model`] reports.
#[expect(clippy::needless_pass_by_value, reason = "what turbo_cli::main calls")]
pub fn run(args: Args, console: &Console) -> turbo_cli::Result<()> {
    let mut report = Report::new(console);
    let fetched = fetch_model(&args, &Settings::from_env()?, &mut report)?;
    report.fetched(&args.model, &fetched);
    let mut stdout = turbo_cli::Output::stdout()?;
    let mut print = |path: &std::path::Path| {
        stdout.write_all(path.as_os_str().as_encoded_bytes())?;
        stdout.write_all(b"\n")
    };
    if args.files.is_empty() {
        print(&fetched.snapshot)?;
    }
    for file in &args.files {
        print(&fetched.snapshot.join(file))?;
    }
    stdout.finish()
}

/// Makes the model of `args` whole in the cache of `settings`.
///
/// # Errors
/// [`Error`]. What was fetched before stays, and the next run goes on from there.
pub fn fetch_model(
    args: &Args,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<Fetched, Error> {
    if settings.offline {
        return offline(args, settings);
    }
    fetch_by(&Client::new(settings)?, args, settings, watch)
}

/// The same by a client.
fn fetch_by(
    client: &Client,
    args: &Args,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<Fetched, Error> {
    let cache = ModelCache::new(&settings.cache, &args.model);
    let revision = args.model.revision_or_default();
    let known = cache.commit_of(revision);
    if settings.token_withheld {
        watch.warn("HF_ENDPOINT is unencrypted http on another host: the token is not sent there");
    }
    let hub = Hub::new(client, settings, &args.model, args.retries);

    let commit = match Commit::parse(revision) {
        Some(commit) => commit,
        None => match newest(args, &hub, &cache, known, watch)? {
            Newest::Commit(commit) => commit,
            Newest::Unreachable(fetched) => return Ok(fetched),
        },
    };
    // A commit never changes, so what is whole in the cache is right.
    if !args.verify
        && let Ok(choice) = cached(args, &cache, &commit)
        && choice.settled
    {
        cache.set_commit_of(revision, &commit)?;
        return Ok(nothing_fetched(&cache, commit, &choice));
    }

    let listing = hub.files(&commit)?;
    let paths = listing.iter().map(|file| file.path.clone()).collect();
    let choice = chosen(args, &paths)?;
    for note in &choice.notes {
        watch.warn(note);
    }
    let fetch = Fetch {
        hub: &hub,
        cache: &cache,
        retries: args.retries,
        verify: args.verify,
    };
    let mut fetched = nothing_fetched(&cache, commit, &choice);
    // The choice is made from the listing, so none is left out.
    let chosen = choice
        .files
        .iter()
        .filter_map(|path| listing.iter().find(|file| file.path == *path));
    for file in chosen {
        if let Some(bytes) = fetch.file(&fetched.commit, file, watch)? {
            fetched.downloaded_files += 1;
            fetched.downloaded_bytes += bytes;
        }
    }
    // Last, so that a branch's name never leads to a model that is not whole.
    cache.set_commit_of(revision, &fetched.commit)?;
    Ok(fetched)
}

enum Newest {
    Commit(Commit),
    /// The hub cannot be asked, but the commit known from before is whole.
    Unreachable(Fetched),
}

fn newest(
    args: &Args,
    hub: &Hub<'_>,
    cache: &ModelCache,
    known: Option<Commit>,
    watch: &mut dyn Watch,
) -> Result<Newest, Error> {
    let revision = args.model.revision_or_default();
    let whole = known.and_then(|commit| Some((cached(args, cache, &commit).ok()?, commit)));
    let Some((choice, commit)) = whole else {
        return hub.commit(revision).map(Newest::Commit);
    };
    // With something to fall back on, there is no need to insist.
    match hub.with_retries(args.retries.min(1)).commit(revision) {
        Err(Error::Unreachable { host, why, .. }) => {
            watch.warn(&format!(
                "cannot ask {host}: {why}; using commit {commit}, which is whole in the cache"
            ));
            Ok(Newest::Unreachable(nothing_fetched(cache, commit, &choice)))
        }
        result => result.map(Newest::Commit),
    }
}

fn offline(args: &Args, settings: &Settings) -> Result<Fetched, Error> {
    let cache = &ModelCache::new(&settings.cache, &args.model);
    let known = cache.commit_of(args.model.revision_or_default());
    let missing = |missing: String| Error::Offline {
        model: format!(
            "{}@{}",
            args.model.repository(),
            args.model.revision_or_default()
        ),
        cache: settings.cache.clone(),
        missing,
    };
    let commit = known.ok_or_else(|| missing("this revision was never fetched".into()))?;
    let choice = cached(args, cache, &commit).map_err(|e| missing(e.to_string()))?;
    if args.verify {
        for path in &choice.files {
            verify_link(&cache.snapshot(&commit).join(path))?;
        }
    }
    Ok(nothing_fetched(cache, commit, &choice))
}

/// Checks a file of a snapshot against the hash that its blob is named by.
fn verify_link(link: &std::path::Path) -> Result<(), Error> {
    let blob = std::fs::canonicalize(link).map_err(|e| Error::io("read", link, e))?;
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    // Where the system has no links, there is no hash to compare with.
    let Some(expected) = ContentHash::parse(&name) else {
        return Ok(());
    };
    let found = partial::hash_file(&blob, &expected)?;
    if found == expected {
        Ok(())
    } else {
        Err(Error::Damaged {
            path: link.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        })
    }
}

/// The choice as far as the cache's files go; an error if something needed is not there.
fn cached(args: &Args, cache: &ModelCache, commit: &Commit) -> Result<Choice, Error> {
    if args.files.is_empty() {
        return chosen(args, &cache.list(commit));
    }
    let there = args.files.iter().filter(|file| cache.has(commit, file));
    chosen(args, &there.cloned().collect())
}

/// The files that are asked for, or those that the tools need.
fn chosen(args: &Args, paths: &BTreeSet<String>) -> Result<Choice, Error> {
    if args.files.is_empty() {
        choose(&args.model, paths, args.dtype, &args.only)
    } else {
        named(&args.model, paths, &args.files)
    }
}

fn nothing_fetched(cache: &ModelCache, commit: Commit, choice: &Choice) -> Fetched {
    Fetched {
        snapshot: cache.snapshot(&commit),
        commit,
        files: choice.files.len(),
        downloaded_files: 0,
        downloaded_bytes: 0,
    }
}
