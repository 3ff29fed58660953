//! All tensors of one component, and which of them were asked for.

use super::{Bytes, TensorFile, Weight};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// All tensors of one component under diffusers' names. Remembers which were asked for, so that
/// [`Weights::finish`] can tell whether a network used them all.
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Weight>,
    /// Name and type of tensors that cannot be computed with.
    foreign: BTreeMap<String, String>,
    /// Asked for, or knowingly ignored.
    seen: Mutex<HashSet<String>>,
}

impl Weights {
    /// Made-up weights, for tests. `path` is for messages. Of several tensors of one name the last one counts.
    pub fn from_tensors(path: impl Into<PathBuf>, tensors: Vec<Weight>) -> Self {
        let tensors = tensors
            .into_iter()
            .map(|w| (w.name().to_owned(), w))
            .collect();
        Self {
            path: path.into(),
            tensors,
            foreign: BTreeMap::new(),
            seen: Mutex::default(),
        }
    }

    /// The tensors of a file, less those that no network needs.
    pub(crate) fn from_file(file: TensorFile) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for weight in file.weights {
            let name = weight.name().to_owned();
            if !is_ignored(&name) && tensors.insert(name.clone(), weight).is_some() {
                return Err(Error::Duplicate {
                    path: file.path,
                    name,
                });
            }
        }
        let foreign = file
            .foreign
            .into_iter()
            .filter(|(name, _)| !is_ignored(name))
            .collect();
        Ok(Self {
            path: file.path,
            tensors,
            foreign,
            seen: Mutex::default(),
        })
    }

    /// The tensor `name`, which must have this shape.
    ///
    /// # Errors
    /// It is not there, has another shape, or has a type that is not F64, F32, F16, BF16 or one of the 8-bit floats.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Weight> {
        let path = || self.path.clone();
        if let Some(found) = self.foreign.get(name) {
            return Err(Error::WrongDtype {
                path: path(),
                name: name.into(),
                found: found.clone(),
            });
        }
        let Some(weight) = self.tensors.get(name) else {
            return Err(Error::MissingTensor {
                path: path(),
                name: name.into(),
                hint: self.hint(name),
            });
        };
        if weight.shape() != shape {
            let (expected, found) = (shape.to_vec(), weight.shape().to_vec());
            return Err(Error::WrongShape {
                path: path(),
                name: name.into(),
                expected,
                found,
            });
        }
        self.see(name);
        Ok(weight.widened())
    }

    /// Whether there is a tensor of this name. Does not count as asking for it.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, where there is one. Does not count as asking for it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Weight::shape)
    }

    /// The names there are, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Says that tensors whose names start with `prefix` are not needed here, such as `encoder.` when decoding.
    pub fn ignore(&self, prefix: &str) {
        let all = self.tensors.keys().chain(self.foreign.keys());
        all.filter(|name| name.starts_with(prefix))
            .for_each(|name| self.see(name));
    }

    /// To be called when a network has taken what it needs.
    ///
    /// Never counted, since no network needs them: `position_ids`, `logit_scale`, moving averages and tables that
    /// follow from the configuration.
    ///
    /// # Errors
    /// A tensor was left over, neither asked for nor ignored: the network is not the one that was trained.
    pub fn finish(&self) -> Result<()> {
        let seen = self.seen();
        let all = self.tensors.keys().chain(self.foreign.keys());
        let mut names: Vec<String> = all.filter(|name| !seen.contains(*name)).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let count = names.len();
        names.sort();
        names.truncate(5);
        Err(Error::LeftOver {
            path: self.path.clone(),
            names,
            count,
        })
    }

    /// The file the tensors come from (of several, their index or folder), for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file pages these weights lie in, to be prefetched by a thread that outlives `self`.
    pub fn pages(&self) -> Pages {
        let mut pages: Vec<(Bytes, Range<usize>)> = Vec::new();
        let mut places: Vec<_> = self.tensors.values().map(Weight::place).collect();
        places.sort_by_key(|(bytes, range)| (bytes.as_ptr(), range.start));
        for (bytes, range) in places {
            match pages.last_mut() {
                Some((last, merged))
                    if last.same_place(bytes) && range.start <= merged.end + PAGE =>
                {
                    merged.end = merged.end.max(range.end);
                }
                _ => pages.push((bytes.clone(), range)),
            }
        }
        Pages(pages)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A panic elsewhere cannot leave a set of names half changed.
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn see(&self, name: &str) {
        self.seen().insert(name.to_owned());
    }

    /// The name that shares the longest ending, if it shares more than the last word or two.
    fn hint(&self, name: &str) -> String {
        let parts = |name: &str| name.rsplit('.').map(str::to_owned).collect::<Vec<_>>();
        let wanted = parts(name);
        let shared = |other: &str| {
            parts(other)
                .iter()
                .zip(&wanted)
                .take_while(|(a, b)| a == b)
                .count()
        };
        match self
            .names()
            .map(|other| (shared(other), other))
            .max_by_key(|(n, _)| *n)
        {
            Some((n, other)) if n >= 3 || (n > 0 && n == wanted.len()) => {
                format!("; the nearest is `{other}`")
            }
            _ => format!(" among {}", self.tensors.len()),
        }
    }
}

/// Gaps below this are prefetched along with what lies around them.
const PAGE: usize = 4096;

/// File pages of some weights. Owns what it refers to, so it can be moved to a thread of its own.
pub struct Pages(Vec<(Bytes, Range<usize>)>);

impl Pages {
    /// Asks the operating system to read the pages ahead and to enter them into the process's page tables. Blocks
    /// until that is done (as long as the disk takes); failure is not an error, as nothing depends on it.
    pub fn prefetch(&self) {
        self.0
            .iter()
            .for_each(|(bytes, range)| bytes.prefetch(range.clone()));
    }
}

/// Tensors that no network needs: buffers that follow from the configuration, and what training left behind.
pub(crate) fn is_ignored(name: &str) -> bool {
    const TABLES: [&str; 14] = [
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "lvlb_weights",
        "denoiser.sigmas",
    ];
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "position_ids" | "logit_scale")
        || name.starts_with("model_ema.")
        || TABLES.contains(&name)
}
