//! Paths in messages: what to type, and what the shell was meant to do.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;

/// The path as a word of a shell's command line: in quotes where the shell would read it otherwise.
pub fn quote(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=,:@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text;
    }
    // A name that begins with a dash would be taken for a flag.
    let dash = if text.starts_with('-') { "./" } else { "" };
    format!("'{dash}{}'", text.replace('\'', r"'\''")).into()
}

/// What to say of a path with a `~` at its begin: a shell makes a home folder of it only where it begins a word.
pub(crate) fn home_hint(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    first.strip_prefix('~').map(|user| {
        format!(
            "~ is made a home folder by the shell, and only at the begin of a word without quotes: write a blank in \
             front of {first}{}",
            if user.is_empty() { ", or $HOME" } else { "" }
        )
    })
}

/// What to say of the first argument with such a path in it, as a word or behind `=`, that a message speaks of.
pub(crate) fn home_hint_for(message: &str, arguments: &[OsString]) -> Option<String> {
    arguments.iter().find_map(|argument| {
        let argument = argument.to_str()?;
        let value = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => value,
            _ => argument,
        };
        let hint = home_hint(Path::new(value))?;
        message.contains(value).then_some(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        for plain in [
            "a/b-1.png",
            "füchse",
            "out-%04d.png",
            "/x/..",
            "a+b=c,d:e@f",
        ] {
            assert_eq!(quote(Path::new(plain)), plain);
        }
        for (path, quoted) in [
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$x;*", "'$x;*'"),
            ("", "''"),
            ("-n x", "'./-n x'"),
            ("~/a", "'~/a'"),
            ("{id}.png", "'{id}.png'"),
        ] {
            assert_eq!(quote(Path::new(path)), quoted);
        }
    }

    #[test]
    fn a_home_that_the_shell_did_not_see_is_told() {
        let hint = |path| home_hint(Path::new(path));
        assert!(hint("~/models").unwrap().contains("$HOME"));
        assert!(hint("~me/models").unwrap().contains("~me"));
        assert_eq!(hint("a/~/b"), None);
        assert_eq!(hint(""), None);
        let arguments = ["-q", "--model=~/m", "~/x"].map(OsString::from);
        let found = |message| home_hint_for(message, &arguments);
        assert!(found("~/m: expected a model, found none").is_some());
        assert!(found("/m: expected a model, found none").is_none());
    }
}
