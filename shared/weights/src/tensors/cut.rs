//! A mapped file that is cut while it is in use ends the process with a word.
//!
//! The system sends SIGBUS when a page is read that the file does not have any more. There is nothing to return to: the
//! numbers are gone in the middle of a product. So the handler says which file it was and ends the process with status
//! 1; frames that were written before are whole, and what [`on_cut`] was given has run.

use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// Files mapped at a time that are watched; a checkpoint in shards has some dozens. Beyond these, a cut is silent.
const SLOTS: usize = 512;
/// What a slot's start is while it is being filled.
const RESERVED: usize = 1;

struct Slot {
    start: AtomicUsize,
    /// Zero where there is nothing to compare with.
    len: AtomicUsize,
    text: AtomicPtr<u8>,
    text_len: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        text: AtomicPtr::new(std::ptr::null_mut()),
        text_len: AtomicUsize::new(0),
    }
}; SLOTS];

/// A mapped file is watched as long as this lives, which must not be longer than the mapping.
pub(crate) struct Watch(Option<&'static Slot>);

/// Watches the bytes at which `path` is mapped.
pub(crate) fn watch(path: &Path, bytes: &[u8]) -> Watch {
    static INSTALL: Once = Once::new();
    if bytes.is_empty() {
        return Watch(None);
    }
    INSTALL.call_once(install);
    let free = |slot: &&Slot| {
        let reserved =
            slot.start
                .compare_exchange(0, RESERVED, Ordering::AcqRel, Ordering::Relaxed);
        reserved.is_ok()
    };
    let Some(slot) = TABLE.iter().find(free) else {
        return Watch(None);
    };
    // Leaked, as the handler may read it at any time: some bytes for each file of a run.
    let text = Box::leak(message(path).into_boxed_slice());
    slot.text_len.store(text.len(), Ordering::Release);
    slot.text.store(text.as_mut_ptr(), Ordering::Release);
    slot.start.store(bytes.as_ptr() as usize, Ordering::Release);
    slot.len.store(bytes.len(), Ordering::Release);
    Watch(Some(slot))
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.len.store(0, Ordering::Release);
            slot.start.store(0, Ordering::Release);
        }
    }
}

/// Made beforehand, since a handler must not allocate.
fn message(path: &Path) -> Vec<u8> {
    let tool = std::env::args_os().next().unwrap_or_default();
    let tool = Path::new(&tool)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    // A path may hold what a terminal takes for a command.
    let path: String = path
        .display()
        .to_string()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    format!(
        "{tool}: {path}: the file was cut while it was in use; copy or fetch it again (to a new name, which is then \
         renamed), and run again\n"
    )
    .into_bytes()
}

/// What is still to be done when a cut ends the process.
static BEFORE_END: OnceLock<fn()> = OnceLock::new();

/// Sets what is to be done, such as removing temporary files, before a cut ends the process. The first call counts.
///
/// It runs in a signal handler, of a thread that was reading weights: it must not wait for a lock.
pub fn on_cut(last: fn()) {
    let _ = BEFORE_END.set(last);
}

/// Whether a thread is about to end the process. Several may read what was cut at the same moment; one of them says so.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Who handled the signal before: Rust's own handler, which tells stack overflows.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

#[allow(unsafe_code)]
fn install() {
    // SAFETY:
    // - `sigaction` is a C structure for which all zeros are a valid value.
    // - The pointers are to structures that live through the calls; null is allowed where nothing is asked or set.
    // - `on_bus` has the signature that SA_SIGINFO asks for, and calls nothing that is not async-signal-safe.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) != 0 {
            return;
        }
        let _ = BEFORE.set(before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

#[allow(unsafe_code)]
extern "C" fn on_bus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    const STDERR: RawFd = 2;
    // SAFETY: the system gives a valid structure, and for SIGBUS its address is set.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &TABLE {
        let len = slot.len.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Acquire);
        if len == 0 || address.wrapping_sub(start) >= len {
            continue;
        }
        if ENDING.swap(true, Ordering::AcqRel) {
            loop {
                // SAFETY: async-signal-safe. The thread that was first ends the process.
                unsafe { libc::pause() };
            }
        }
        let text = slot.text.load(Ordering::Acquire);
        // SAFETY:
        // - `text` and its length were stored before `len`, and are never freed.
        // - `write` is async-signal-safe.
        unsafe { libc::write(STDERR, text.cast(), slot.text_len.load(Ordering::Acquire)) };
        if let Some(last) = BEFORE_END.get() {
            last();
        }
        // SAFETY: async-signal-safe, and does not return.
        unsafe { libc::_exit(1) };
    }
    // Not ours: as before, by the same access once more.
    if let Some(before) = BEFORE.get() {
        // SAFETY: `before` is what the system gave for this signal.
        unsafe { libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()) };
    } else {
        // SAFETY: async-signal-safe; the access would fault for ever.
        unsafe { libc::_exit(128 + libc::SIGBUS) };
    }
}
