//! From `main` to the exit status.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, value_parser};

use crate::error::{Error, Result};
use crate::escape::escape_lines;
use crate::{Console, Document, Output, ReportArgs, console, exhausted, interrupt, path};

const EXIT_STATUS: &str = "\
Exit status: 0 all done (also for an empty stream), 1 failure, 2 usage, 130 interrupted, \
141 the reader of stdout went away.";

/// Runs a tool: reads the command line, runs, reports the error if there is one on a line of
/// stderr, and gives the exit status. The whole of a tool's `main` beside the allocator:
///
/// ```no_run
/// # #[derive(clap::Parser)] struct Args {}
/// # fn run(_: Args, _: &turbo_cli::Console) -> turbo_cli::Result<()> { Ok(()) }
/// fn main() -> std::process::ExitCode {
///     turbo_cli::main(run)
/// }
/// ```
///
/// `A` is the tool's own flags, with `#[command(version)]`; [`ReportArgs`] and `--generate` are
/// added here and have to be left out there.
pub fn main<A, F>(run: F) -> ExitCode
where
    A: Parser,
    F: FnOnce(A, &Console) -> Result<()>,
{
    interrupt::install();
    let command = command::<A>();
    exhausted::install(command.get_name());
    report_panics(command.get_name());
    ExitCode::from(start(std::env::args_os(), run))
}

/// The whole command of a tool: its own flags and the common ones.
pub fn command<A: Parser>() -> Command {
    let own = A::command();
    let about = own.get_about().cloned();
    let long_about = own.get_long_about().cloned();
    // Adding flags adds their struct's text, in place of the tool's own.
    let command = ReportArgs::augment_args(own)
        .about(Resettable::from(about))
        .long_about(Resettable::from(long_about));
    // Parsed before the tool's own flags, of which some may be required.
    let generate = Arg::new("generate")
        .long("generate")
        .value_name("DOCUMENT")
        .value_parser(value_parser!(Document))
        .exclusive(true)
        .hide_short_help(true)
        .help("Print a man page or shell completions, and stop");
    let own = command.get_after_long_help().map(ToString::to_string);
    let after = own.map_or(EXIT_STATUS.to_owned(), |own| {
        format!("{own}\n\n{EXIT_STATUS}")
    });
    command
        .arg(generate)
        .after_long_help(after)
        .mut_args(long_help)
        .mut_args(negative_numbers)
}

/// A negative number behind a flag is its value, and judged as such: else it would be called an unknown flag.
fn negative_numbers(arg: Arg) -> Arg {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !arg.is_positional() {
        arg.allow_negative_numbers(true)
    } else {
        arg
    }
}

/// A man page has no text for what `-h` hides, unless it is called long.
fn long_help(arg: Arg) -> Arg {
    if arg.is_hide_short_help_set() && arg.get_long_help().is_none() {
        let help = arg.get_help().cloned();
        arg.long_help(Resettable::from(help))
    } else {
        arg
    }
}

fn start<A, F>(arguments: impl Iterator<Item = OsString>, run: F) -> u8
where
    A: Parser,
    F: FnOnce(A, &Console) -> Result<()>,
{
    let command = command::<A>();
    let tool = command.get_name().to_owned();
    let arguments: Vec<OsString> = arguments.collect();
    let parsed = command.clone().try_get_matches_from(&arguments);
    let (args, report) = match parsed.and_then(|matches| {
        if let Some(document) = matches.get_one::<Document>("generate") {
            return Ok(Err(*document));
        }
        read::<A>(&matches).map(Ok)
    }) {
        Ok(Ok(parts)) => parts,
        Ok(Err(document)) => {
            let text = document.render(command).map_err(Error::from);
            return end(&plain(&tool), text.and_then(|text| print(&text)));
        }
        Err(error) if !error.use_stderr() => {
            return end(&plain(&tool), print(error.render().to_string().as_bytes()));
        }
        Err(error) => {
            // clap's text, under the tool's name like every other error.
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let text = in_our_words(text);
            console::put(escape_lines(&format!("{tool}: {text}")).trim_end());
            return 2;
        }
    };
    let console = Console::new(&tool, &report);
    let result = run(args, &console).map_err(|error| {
        match path::home_hint_for(&error.to_string(), &arguments) {
            Some(hint) => error.advice(hint),
            None => error,
        }
    });
    end(&console, result)
}

/// Says what was expected where the standard library says only what is wrong with a number.
fn in_our_words(text: &str) -> String {
    let theirs = [
        (
            ": invalid digit found in string",
            ": expected a whole number from 0",
        ),
        (
            ": number would be zero for non-zero type",
            ": expected a whole number from 1",
        ),
    ];
    theirs.iter().fold(text.to_owned(), |text, (theirs, ours)| {
        text.replace(theirs, ours)
    })
}

fn read<A: Parser>(matches: &ArgMatches) -> Result<(A, ReportArgs), clap::Error> {
    Ok((
        A::from_arg_matches(matches)?,
        ReportArgs::from_arg_matches(matches)?,
    ))
}

/// The console for when the flags are not known.
fn plain(tool: &str) -> Console {
    Console::new(tool, &ReportArgs::default())
}

fn print(text: &[u8]) -> Result<()> {
    let mut output = Output::stdout()?;
    output.write_all(text)?;
    output.finish()
}

fn end(console: &Console, result: Result<()>) -> u8 {
    match result {
        Ok(()) => u8::from(console.has_failed()),
        Err(error) => {
            let status = error.exit_status();
            if status == 141 {
                return status;
            }
            if status == 2 {
                let hint = format!("see {} --help", console.tool());
                console.error(&Error::new(format_args!("{error} ({hint})")));
            } else {
                console.error(&error);
            }
            status
        }
    }
}

/// A panic is our bug, unless memory has ended: say so, after what Rust says of it.
fn report_panics(tool: &str) {
    let tool = tool.to_owned();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        exhausted::check(info);
        default(info);
        console::put(&format!(
            "{tool}: this is a bug in {tool}; please report it with the lines above"
        ));
    }));
}
