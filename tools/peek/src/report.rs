//! A frame as a table, or as a line of JSON.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use turbo_cli::escape;
use turbo_wire::{Frame, Metadata};

use crate::stats::Stats;
use crate::table::{lines, number};

/// What is told of a frame. The order of fields is that of the JSON.
#[derive(Serialize)]
pub(crate) struct FrameSummary<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    frame: u64,
    kind: &'static str,
    bytes: u64,
    tensors: Vec<TensorSummary<'a>>,
    metadata: &'a Metadata,
    /// Pictures of it that were written.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [String],
}

#[derive(Serialize)]
struct TensorSummary<'a> {
    name: &'a str,
    dtype: String,
    shape: &'a [usize],
    #[serde(flatten)]
    stats: Stats,
}

impl<'a> FrameSummary<'a> {
    /// Summarises frame `index` (from 0) of a file, or of stdin.
    pub(crate) fn new(
        path: Option<&Path>,
        index: u64,
        frame: &'a Frame,
        files: &'a [String],
    ) -> Self {
        let header = &frame.header;
        let tensors = frame.tensors().map(|(tensor, bytes)| TensorSummary {
            name: &tensor.name,
            dtype: tensor.dtype.to_string(),
            shape: &tensor.shape,
            stats: Stats::new(tensor.dtype, bytes),
        });
        Self {
            file: path.map(|path| path.display().to_string()),
            frame: index,
            kind: header.kind().as_str(),
            bytes: header.encoded().len() as u64 + header.body_len(),
            tensors: tensors.collect(),
            metadata: header.metadata(),
            files,
        }
    }

    /// A title, a table of tensors, a table of metadata. Names and texts are escaped.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.file {
            let _ = write!(text, "{}: ", escape(file));
        }
        let _ = writeln!(
            text,
            "frame {}: {}, {} bytes",
            self.frame, self.kind, self.bytes
        );
        let head = [
            "tensor", "type", "shape", "min", "mean", "max", "std", "nan", "inf",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.tensors.iter().map(TensorSummary::cells));
        lines(&mut text, &rows);
        let metadata = self.metadata.iter();
        let rows: Vec<_> = metadata
            .map(|(key, value)| vec![escape(key).into_owned(), escape(value).into_owned()])
            .collect();
        lines(&mut text, &rows);
        written(&mut text, self.files);
        text
    }
}

/// The files that a frame was written to, a line each.
pub(crate) fn written(text: &mut String, files: &[String]) {
    for file in files {
        let _ = writeln!(text, "  written to {}", escape(file));
    }
}

impl TensorSummary<'_> {
    fn cells(&self) -> Vec<String> {
        let number = |x: Option<f64>| x.map_or("-".to_owned(), number);
        let count = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        vec![
            escape(self.name).into_owned(),
            self.dtype.clone(),
            format!("{:?}", self.shape),
            number(self.stats.min),
            number(self.stats.mean),
            number(self.stats.max),
            number(self.stats.std),
            count(self.stats.nan),
            count(self.stats.inf),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_wire::{Header, names};

    #[test]
    fn a_table_lines_up_and_escapes() {
        let metadata = Metadata::from([
            ("id".to_owned(), "a\x1b[2J\nframe 9: forged".to_owned()),
            ("longer key".to_owned(), "狐".to_owned()),
        ]);
        let header = Header::image(1, 1, 2, metadata).unwrap();
        let pixels: &[u8] = &[0, 0, 0, 0, 0, 6];
        let frame = Frame::new(header, &[(names::IMAGE, pixels)]).unwrap();
        let summary = FrameSummary::new(Some(Path::new("a b")), 3, &frame, &[]);
        let table = summary.table();
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[0].starts_with("a b: frame 3: image, "), "{table}");
        assert_eq!(
            rows[1],
            "  tensor  type  shape         min  mean  max  std     nan  inf"
        );
        assert_eq!(
            rows[2],
            "  image   U8    [1, 1, 2, 3]  0    1     6    2.2361  0    0"
        );
        assert!(
            table.contains("  id          a\\u{1b}[2J\\nframe 9: forged\n"),
            "{table}"
        );
        assert!(table.contains("  longer key  狐\n"), "{table}");
    }
}
