//! Python, where it is at hand.

use std::process::Command;

/// Python with numpy and safetensors: `python3`, or what `PYTHON` names. Where `python3` lacks them, says so on
/// stderr; an interpreter that was asked for by name has to have them.
///
/// # Panics
/// If the interpreter that `PYTHON` names lacks them.
pub fn python() -> Option<String> {
    let named = std::env::var("PYTHON").ok().filter(|name| !name.is_empty());
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let probe = Command::new(&python)
        .args(["-c", "import numpy, safetensors.numpy"])
        .output();
    let reason = match probe {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            text.lines().last().unwrap_or("no reason given").to_owned()
        }
        Err(error) => error.to_string(),
    };
    assert!(named.is_none(), "PYTHON={python}: {reason}");
    eprintln!("skipped: {python}: {reason}");
    None
}

/// The block of Python in the protocol's document that has `text` in it.
///
/// # Panics
/// If there is none, or more than one.
pub fn protocol_block(text: &str) -> &'static str {
    let mut blocks = turbo_wire_protocol()
        .split("```python\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(text));
    assert!(
        !blocks.any(|block| block.contains(text)),
        "PROTOCOL.md has {text:?} in two blocks"
    );
    block.unwrap_or_else(|| panic!("PROTOCOL.md has no Python with {text:?}"))
}

fn turbo_wire_protocol() -> &'static str {
    include_str!("../../shared/wire/PROTOCOL.md")
}
