//! A file of weights.

use std::path::PathBuf;
use std::sync::LazyLock;

use safetensors::SafeTensors;

/// In memory where there is such a place, as each input is a file.
static FILE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    let folder = folder.expect("a folder");
    let path = folder.path().join("model.safetensors");
    (folder, path)
});

/// Opens the file, and reads every tensor.
pub(super) fn run(input: &[u8]) {
    let path = &FILE.1;
    // Made anew, as nothing may be written to a file that is mapped.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, input).expect("written");
    let Ok(weights) = turbo_weights::open_file(path) else {
        return;
    };
    let file = SafeTensors::deserialize(input).expect("the safetensors crate takes it");
    let names: Vec<String> = weights.names().map(ToOwned::to_owned).collect();
    for name in names {
        let view = file.tensor(&name).expect("the same tensors");
        let weight = weights.get(&name, view.shape()).expect("the same shape");
        assert_eq!(weight.bytes(), view.data());
        assert_eq!(
            weight.to_f32().len(),
            view.shape().iter().product::<usize>()
        );
    }
}
