//! What a file is known by: the SHA-256 of its content.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use turbo_cli::{Context, Result};
use turbo_weights::SourceFile;

use crate::report::Report;

const CHUNK: usize = 1 << 20;

/// The hashes of files, each read once: a single file is the source of all parts.
#[derive(Default)]
pub(crate) struct Hashes(BTreeMap<PathBuf, String>);

impl Hashes {
    /// The name of each file with its hash, in hex.
    pub(crate) fn of(
        &mut self,
        files: &[SourceFile],
        report: &mut Report<'_>,
    ) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for file in files {
            let hash = match self.0.get(file.path()) {
                Some(hash) => hash.clone(),
                None => hash(file, report)?,
            };
            self.0.insert(file.path().to_owned(), hash.clone());
            found.insert(file.name.clone(), hash);
        }
        Ok(found)
    }
}

fn hash(file: &SourceFile, report: &mut Report<'_>) -> Result<String> {
    let name = file.path().display();
    report.hashing(&file.name, file.size()?);
    let (mut reader, mut chunk, mut sha) = (file.open()?, vec![0; CHUNK], Sha256::new());
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                sha.update(&chunk[..n]);
                report.advance(n as u64);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context(name),
        }
    }
    let hex = sha.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(hex)
}
