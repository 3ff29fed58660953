//! What the terminal on stderr can show.

use std::io::IsTerminal;
use std::str::FromStr;

use super::blocks::Colours;

/// A way to show pictures on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// kitty's graphics protocol.
    Kitty,
    /// iTerm2's inline images.
    Iterm2,
    /// Sixel graphics.
    Sixel,
    /// Half blocks in colour.
    Blocks(Colours),
}

/// The values of `--preview`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// As the terminal can, files otherwise.
    Auto,
    /// On stderr, this way.
    Terminal(Protocol),
    /// PNG files by this pattern.
    Files(String),
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "kitty" => Self::Terminal(Protocol::Kitty),
            "iterm2" => Self::Terminal(Protocol::Iterm2),
            "sixel" => Self::Terminal(Protocol::Sixel),
            "blocks" => {
                let colours = colours(variable).unwrap_or(Colours::All);
                Self::Terminal(Protocol::Blocks(colours))
            }
            _ if text.to_ascii_lowercase().ends_with(".png") => Self::Files(text.to_owned()),
            _ => {
                return Err(
                    "expected auto, kitty, iterm2, sixel, blocks, or a file name that ends in .png"
                        .to_owned(),
                );
            }
        })
    }
}

/// Columns and rows of the terminal on stderr; 80 x 24 where there is none.
pub(crate) fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or((80, 24), |(width, height)| {
        (width.0.into(), height.0.into())
    })
}

/// The best way there is; `None` where stderr is no terminal, or one without colours.
pub(crate) fn detect() -> Option<Protocol> {
    if std::io::stderr().is_terminal() {
        by_environment(variable)
    } else {
        None
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Terminals are known by what they set, as asking them would mean to read from the keyboard.
fn by_environment(get: impl Fn(&str) -> Option<String>) -> Option<Protocol> {
    let is_set = |name: &str| get(name).is_some();
    let term = get("TERM").unwrap_or_default();
    let program = get("TERM_PROGRAM").unwrap_or_default();
    let is = |names: &[&str]| names.contains(&&program[..]);

    // These hold the screen themselves, and do not let pictures through.
    let multiplexed = is_set("TMUX")
        || is_set("STY")
        || is_set("ZELLIJ")
        || ["tmux", "screen"].iter().any(|name| term.starts_with(name));
    if multiplexed || term == "dumb" {
        return colours(get).map(Protocol::Blocks);
    }
    let kitty = is_set("KITTY_WINDOW_ID")
        || is_set("GHOSTTY_RESOURCES_DIR")
        || is_set("KONSOLE_VERSION")
        || ["xterm-kitty", "xterm-ghostty"].contains(&&term[..])
        || is(&["ghostty"]);
    let iterm2 = is(&["iTerm.app", "WezTerm", "mintty", "rio", "WarpTerminal"])
        || get("LC_TERMINAL").is_some_and(|name| name == "iTerm2");
    let sixel = term.contains("sixel")
        || ["foot", "mlterm", "yaft", "contour"]
            .iter()
            .any(|name| term.starts_with(name));
    if kitty {
        Some(Protocol::Kitty)
    } else if iterm2 {
        Some(Protocol::Iterm2)
    } else if sixel {
        Some(Protocol::Sixel)
    } else {
        colours(get).map(Protocol::Blocks)
    }
}

/// The colours of the terminal, if it has enough of them.
fn colours(get: impl Fn(&str) -> Option<String>) -> Option<Colours> {
    let term = get("TERM").unwrap_or_default();
    let all = get("COLORTERM").is_some_and(|value| ["truecolor", "24bit"].contains(&&value[..]))
        // Windows' terminal sets no TERM.
        || get("WT_SESSION").is_some()
        || term.ends_with("-direct");
    if term == "dumb" {
        None
    } else if all {
        Some(Colours::All)
    } else if term.contains("256color") || term.starts_with("xterm") {
        Some(Colours::Indexed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Option<Protocol> {
        by_environment(|name| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn terminals_are_known_by_their_variables() {
        let all = Some(Protocol::Blocks(Colours::All));
        let indexed = Some(Protocol::Blocks(Colours::Indexed));
        let xterm = ("TERM", "xterm-256color");
        let truecolor = ("COLORTERM", "truecolor");
        for (pairs, expected) in [
            (&[("TERM", "xterm-kitty")][..], Some(Protocol::Kitty)),
            (&[xterm, ("KITTY_WINDOW_ID", "1")], Some(Protocol::Kitty)),
            (&[xterm, ("TERM_PROGRAM", "ghostty")], Some(Protocol::Kitty)),
            (
                &[xterm, ("KONSOLE_VERSION", "240802")],
                Some(Protocol::Kitty),
            ),
            (
                &[xterm, ("TERM_PROGRAM", "iTerm.app")],
                Some(Protocol::Iterm2),
            ),
            (&[xterm, ("LC_TERMINAL", "iTerm2")], Some(Protocol::Iterm2)),
            (
                &[xterm, ("TERM_PROGRAM", "WezTerm")],
                Some(Protocol::Iterm2),
            ),
            (&[("TERM", "foot")], Some(Protocol::Sixel)),
            (&[("TERM", "xterm-sixel"), truecolor], Some(Protocol::Sixel)),
            (&[xterm, truecolor], all),
            (&[("WT_SESSION", "x")], all),
            (&[("TERM", "xterm-direct")], all),
            (&[xterm], indexed),
            (&[xterm, ("TERM_PROGRAM", "Apple_Terminal")], indexed),
            // Within a multiplexer, whatever is around it.
            (
                &[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")],
                indexed,
            ),
            (
                &[
                    ("TERM", "screen-256color"),
                    truecolor,
                    ("KITTY_WINDOW_ID", "1"),
                ],
                all,
            ),
            (
                &[xterm, ("TMUX", "/tmp/x"), ("TERM_PROGRAM", "iTerm.app")],
                indexed,
            ),
            (&[("TERM", "linux")], None),
            (&[("TERM", "dumb"), truecolor], None),
            (&[], None),
        ] {
            assert_eq!(with(pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn places() {
        assert_eq!("auto".parse(), Ok(Where::Auto));
        assert_eq!("sixel".parse(), Ok(Where::Terminal(Protocol::Sixel)));
        for name in ["x.png", "a/%04d.PNG", "{id}.png"] {
            assert_eq!(name.parse(), Ok(Where::Files(name.to_owned())));
        }
        for bad in ["", "file", "x.jpg", "Kitty"] {
            assert!(bad.parse::<Where>().is_err(), "{bad}");
        }
    }
}
