//! Prompts, a line each.

/// Reads all lines, and each by itself.
pub(super) fn run(input: &[u8]) {
    let found = encode_text::fuzz::lines(input);
    let Ok(found) = found else {
        // Of UTF-16 nothing is read at all.
        assert!(input.starts_with(&[0xff, 0xfe]) || input.starts_with(&[0xfe, 0xff]));
        return;
    };
    for line in found.iter().flatten() {
        assert!(!line.trim().is_empty());
        assert!(!line.contains(['\n', '\0']) && line.len() <= 256 << 10);
        assert!(
            input
                .windows(line.len().max(1))
                .any(|window| window == line.as_bytes())
        );
    }
    // A line by itself is what it is among others.
    let alone: Vec<_> = input
        .split_inclusive(|&byte| byte == b'\n')
        .skip(1)
        .filter(|line| !line.starts_with(&[0xff, 0xfe]) && !line.starts_with(&[0xfe, 0xff]))
        .filter_map(|line| encode_text::fuzz::lines(line).ok())
        .flatten()
        .filter_map(Result::ok)
        .collect();
    let first = input.split_inclusive(|&byte| byte == b'\n').next();
    let first = first.and_then(|line| encode_text::fuzz::lines(line).ok());
    let first = first.into_iter().flatten().filter_map(Result::ok);
    let together: Vec<_> = found.into_iter().filter_map(Result::ok).collect();
    assert_eq!(together, first.chain(alone).collect::<Vec<_>>());
}
