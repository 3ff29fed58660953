//! Opening networks.

use crate::ModelArgs;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use turbo_cli::{Console, Error, Result};
use turbo_sdxl::{DType, Device, use_threads};
use turbo_weights::{EmbeddedFiles, LocateOptions, Model};

/// Where networks run and in which type, as the command line says.
#[derive(Clone, Copy, Debug)]
pub struct Networks {
    /// The device.
    pub device: Device,
    /// The number type.
    pub dtype: DType,
}

impl Networks {
    /// Reads `--device`, `--dtype` and `--threads`.
    ///
    /// # Errors
    /// A device that this build does not have; threads that the system does not give.
    pub fn new(args: &ModelArgs, console: &Console) -> Result<Self> {
        args.device.expect_built(console.tool())?;
        let asked = args.threads.map(|threads| ("--threads ", threads));
        let threads = asked
            .or_else(|| Some(("RAYON_NUM_THREADS=", threads_of_rayon()?)))
            .map(|(by, threads)| sensible(by, threads, console));
        use_threads(threads).map_err(|error| {
            Error::new(format_args!(
                "{error}; allow more processes (`ulimit -u`) or memory (`ulimit -v`), or ask for fewer with --threads"
            ))
        })?;
        let &ModelArgs { device, dtype, .. } = args;
        Ok(Self { device, dtype })
    }
}

/// What the thread pool's own variable asks for. The pool takes anything else than a number, and 0, as not said.
fn threads_of_rayon() -> Option<NonZeroUsize> {
    std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok()
}

/// The number of threads that `by` asks for, unless it is far above that of the cores: each takes memory, and none computes
/// faster.
fn sensible(by: &str, threads: NonZeroUsize, console: &Console) -> NonZeroUsize {
    /// Threads a core that are taken as they are asked for.
    const FAR: usize = 4;
    let Ok(cores) = available_parallelism() else {
        return threads;
    };
    if threads.get() <= FAR * cores.get() {
        return threads;
    }
    console.warn(format_args!(
        "{by}{threads}: expected about as many as cores, found {cores} of these; {cores} threads are used"
    ));
    cores
}

/// What was opened last, kept for as long as records ask for the same.
#[derive(Debug)]
pub struct Slot<K, T>(Option<(K, Rc<T>)>);

impl<K, T> Default for Slot<K, T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Clone + PartialEq, T> Slot<K, T> {
    /// What `key` names, and the time it took to open, zero if it was open.
    ///
    /// # Errors
    /// What `open` fails with; nothing is open then.
    pub fn get(&mut self, key: &K, open: impl FnOnce() -> Result<T>) -> Result<(Rc<T>, Duration)> {
        let start = Instant::now();
        // What was open goes first: two models may not fit.
        // A plan that still held the old one would keep it; the loop drops a plan before it makes the next.
        let kept = self.0.take().filter(|(open, _)| open == key);
        let (kept, took) = if let Some(kept) = kept {
            (kept, Duration::ZERO)
        } else {
            let value = Rc::new(open()?);
            ((key.clone(), value), start.elapsed())
        };
        Ok((Rc::clone(&self.0.insert(kept).1), took))
    }
}

/// Finds the checkpoint that `spec` means, where `demo` is what the program has built in.
///
/// # Errors
/// There is none; the message says what to type.
pub fn locate(spec: &str, demo: Option<EmbeddedFiles>) -> Result<Model> {
    Ok(Model::locate(spec, &LocateOptions::with_builtin(demo))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_cli::Error;

    #[test]
    fn what_is_open_stays_open_until_another_is_asked_for() {
        let mut slot = Slot::default();
        assert_eq!(slot.get(&'a', || Ok(1)).unwrap().0, Rc::new(1));
        let (value, took) = slot.get(&'a', || Ok(2)).unwrap();
        assert_eq!((*value, took), (1, Duration::ZERO));
        assert_eq!(slot.get(&'b', || Ok(3)).unwrap().0, Rc::new(3));
        assert!(
            slot.get(&'c', || Err::<i32, _>(Error::new("gone")))
                .is_err()
        );
        assert_eq!(slot.get(&'b', || Ok(4)).unwrap().0, Rc::new(4));
    }
}
