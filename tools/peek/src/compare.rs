//! `--compare`: two streams side by side.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use turbo_cli::{Context, Error, Input, LimitArgs, Result, Source, escape};
use turbo_wire::{Frame, FrameReader};

use crate::difference::{Bounds, TensorDifference};
use crate::report::written;
use crate::table::{lines, number};

// Doc comments here are help texts, in which backticks would show.
#[allow(clippy::doc_markdown)]
/// `--compare` and what goes with it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CompareArgs {
    /// Tell how far the frames are from those of OTHER, instead of what is in them
    ///
    /// Frame by frame and tensor by tensor, by value (types may differ): the greatest difference, the mean one, the
    /// norm of the difference over the norm of OTHER's tensor, how many values differ, and the first that do. NaN and
    /// infinity are the same as themselves and infinitely far from all else. Metadata that differ are shown and do not
    /// count. The exit status is 1 if a tensor is further away than --tolerance and --tolerance-abs allow, if tensors,
    /// shapes or kinds differ, or if one stream ends first. - is stdin, if a FILE is named beside it.
    #[arg(help_heading = "Comparing", long, value_name = "OTHER", value_hint = clap::ValueHint::FilePath)]
    pub compare: Option<PathBuf>,

    /// How far a tensor may be away: the norm of the difference over the norm of OTHER's [default: 0]
    ///
    /// With --tolerance-abs alone there is no such bound.
    #[arg(help_heading = "Comparing", long, value_name = "E", value_parser = bound, requires = "compare")]
    pub tolerance: Option<f64>,

    /// How far any single value may be away; 1 for images that are to be equal but for rounding
    #[arg(help_heading = "Comparing", long, value_name = "A", value_parser = bound, requires = "compare")]
    pub tolerance_abs: Option<f64>,
}

fn bound(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(bound) if bound >= 0.0 => Ok(bound),
        _ => Err("expected a number from 0, such as 1e-4".to_owned()),
    }
}

/// The other stream, and how the comparison has gone so far.
pub(crate) struct Compare {
    reader: FrameReader<Input>,
    path: PathBuf,
    bounds: Bounds,
    frames: u64,
    /// Frames that are too far away, and what was said of the first.
    apart: u64,
    first: Option<String>,
    ended: bool,
}

/// What is told of a frame. The order of fields is that of the JSON.
#[derive(Serialize)]
pub(crate) struct FrameDifference {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    frame: u64,
    within: bool,
    kind: &'static str,
    /// `None` where the other stream has ended.
    other_kind: Option<&'static str>,
    tensors: Vec<TensorDifference>,
    /// The keys of which the values differ: here and there, `None` for a key that is missing.
    metadata: BTreeMap<String, [Option<String>; 2]>,
    /// Pictures of it that were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
}

impl Compare {
    /// Opens the other stream.
    pub(crate) fn open(
        args: &CompareArgs,
        limits: &LimitArgs,
        inputs: &[Source],
    ) -> Result<Option<Self>> {
        let Some(path) = &args.compare else {
            return Ok(None);
        };
        let source = Source::new(path);
        if source == Source::Stdin && inputs.contains(&Source::Stdin) {
            return Err(Error::usage(
                "--compare -: expected stdin to be one of the two streams, found it is both; name a FILE",
            ));
        }
        let input = source.open("frames to compare with", "name a file with --compare")?;
        let relative = match (args.tolerance, args.tolerance_abs) {
            (None, None) => Some(0.0),
            (relative, _) => relative,
        };
        Ok(Some(Self {
            reader: input.frames(limits.limits()),
            path: path.clone(),
            bounds: Bounds {
                relative,
                absolute: args.tolerance_abs,
            },
            frames: 0,
            apart: 0,
            first: None,
            ended: false,
        }))
    }

    /// Compares the next frame, which is number `index` of its file.
    pub(crate) fn frame(
        &mut self,
        path: Option<&Path>,
        index: u64,
        frame: &Frame,
        files: &[String],
    ) -> Result<FrameDifference> {
        let other = if self.ended {
            None
        } else {
            self.reader.next_frame().in_file(&*self.path)?
        };
        self.ended = other.is_none();
        let mut difference = FrameDifference {
            file: path.map(|path| path.display().to_string()),
            frame: index,
            within: false,
            kind: frame.header.kind().as_str(),
            other_kind: None,
            tensors: Vec::new(),
            metadata: BTreeMap::new(),
            files: files.to_vec(),
        };
        if let Some(other) = &other {
            difference.other_kind = Some(other.header.kind().as_str());
            difference.tensors = TensorDifference::all(frame, other, &self.bounds);
            difference.metadata = metadata(frame, other);
            difference.within = frame.header.kind() == other.header.kind()
                && difference.tensors.iter().all(|tensor| tensor.within);
        }
        if !difference.within {
            self.apart += 1;
            let reason = difference.reason();
            self.first
                .get_or_insert_with(|| format!("frame {}: {reason}", self.frames));
        }
        self.frames += 1;
        Ok(difference)
    }

    /// Looks whether the other stream has ended too, and says how it went.
    ///
    /// # Errors
    /// The streams are further apart than they may be; the other breaks the protocol.
    pub(crate) fn finish(mut self) -> Result<()> {
        let name = self.path.display().to_string();
        if !self.ended && self.reader.next_header().in_file(&*self.path)?.is_some() {
            let missing = || format!("frame {}: the input has ended, {name} goes on", self.frames);
            self.first.get_or_insert_with(missing);
            self.apart += 1;
            self.frames += 1;
        }
        let Some(first) = self.first else {
            return Ok(());
        };
        let bounds = match self.bounds {
            Bounds {
                relative: Some(relative),
                absolute: None,
            } => format!("a relative difference of at most {relative}"),
            Bounds {
                relative: None,
                absolute: Some(absolute),
            } => format!("values at most {absolute} apart"),
            Bounds { relative, absolute } => format!(
                "a relative difference of at most {} and values at most {} apart",
                relative.unwrap_or(f64::INFINITY),
                absolute.unwrap_or(f64::INFINITY)
            ),
        };
        Err(Error::new(format_args!(
            "--compare {name}: expected {bounds}, found {} of {} frames further apart; the first: {first}",
            self.apart, self.frames
        )))
    }
}

fn metadata(frame: &Frame, other: &Frame) -> BTreeMap<String, [Option<String>; 2]> {
    let (here, there) = (frame.header.metadata(), other.header.metadata());
    here.keys()
        .chain(there.keys())
        .filter(|key| here.get(*key) != there.get(*key))
        .map(|key| {
            (
                key.clone(),
                [here.get(key).cloned(), there.get(key).cloned()],
            )
        })
        .collect()
}

impl FrameDifference {
    /// What is wrong with it, in a line.
    fn reason(&self) -> String {
        match self.other_kind {
            None => return "OTHER has ended".to_owned(),
            Some(other) if other != self.kind => {
                return format!("kind {:?}, and there {other:?}", self.kind);
            }
            Some(_) => {}
        }
        let Some(tensor) = self.tensors.iter().find(|tensor| !tensor.within) else {
            return String::new();
        };
        let name = format!("tensor {:?}", tensor.name);
        match (&tensor.shape, &tensor.other_shape, &tensor.distance) {
            (None, ..) => format!("{name} is only there"),
            (_, None, _) => format!("{name} is only here"),
            (Some(a), Some(b), _) if a != b => format!("{name} has shape {a:?}, and there {b:?}"),
            (_, _, None) => {
                format!("{name} is of a type that is compared byte by byte, and differs")
            }
            (_, _, Some(distance)) => format!(
                "{name}: relative {}, greatest {}",
                number(distance.relative),
                number(distance.max_abs)
            ),
        }
    }

    /// A title, a table of tensors, a table of metadata that differ. Names and texts are escaped.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.file {
            let _ = write!(text, "{}: ", escape(file));
        }
        let equal = self.tensors.iter().all(|tensor| {
            let distance = tensor.distance.as_ref();
            distance.is_some_and(|distance| distance.differing == 0)
        });
        let verdict = match (self.within, equal) {
            (true, true) => "equal".to_owned(),
            (true, false) => "within tolerance".to_owned(),
            (false, _) => format!("apart: {}", escape(&self.reason())),
        };
        let _ = writeln!(text, "frame {}: {}: {verdict}", self.frame, self.kind);
        if self.other_kind.is_none() {
            written(&mut text, &self.files);
            return text;
        }
        let head = [
            "tensor",
            "type",
            "shape",
            "max",
            "mean",
            "relative",
            "differing",
            "first difference",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.tensors.iter().map(cells));
        lines(&mut text, &rows);
        let value = |value: &Option<String>| {
            let value = value.as_ref().map(|value| escape(value).into_owned());
            value.unwrap_or_else(|| "-".to_owned())
        };
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .map(|(key, [here, there])| vec![escape(key).into_owned(), value(here), value(there)])
            .collect();
        lines(&mut text, &metadata);
        written(&mut text, &self.files);
        text
    }
}

fn cells(tensor: &TensorDifference) -> Vec<String> {
    fn both<T: PartialEq>(
        here: Option<&T>,
        there: Option<&T>,
        show: impl Fn(&T) -> String,
    ) -> String {
        let text = |side: Option<&T>| side.map_or("-".to_owned(), &show);
        if here == there {
            text(here)
        } else {
            format!("{}, {}", text(here), text(there))
        }
    }
    let distance = tensor.distance.as_ref();
    let of =
        |value: fn(&crate::difference::Distance) -> String| distance.map_or("-".to_owned(), value);
    vec![
        escape(&tensor.name).into_owned(),
        both(
            tensor.dtype.as_ref(),
            tensor.other_dtype.as_ref(),
            Clone::clone,
        ),
        both(
            tensor.shape.as_ref(),
            tensor.other_shape.as_ref(),
            |shape| format!("{shape:?}"),
        ),
        of(|d| number(d.max_abs)),
        of(|d| number(d.mean_abs)),
        of(|d| number(d.relative)),
        of(|d| d.differing.to_string()),
        of(|d| {
            d.first.as_ref().map_or_else(String::new, |first| {
                format!("{:?}: {}, {}", first.index, first.value, first.other)
            })
        }),
    ]
}
