//! One enum, a variant for each rule that can be broken.

use std::io;

use safetensors::Dtype;

use crate::Kind;
use crate::settings::Wrong;

/// What went wrong with a stream.
///
/// A reader and a writer wrap what they report in [`Error::At`], which says where. The text of an
/// error is complete in itself: it holds the text of its [`source`](std::error::Error::source).
/// Names and texts that came with the stream are quoted, escaped and cut, so that a message is safe
/// to print on a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another error, and where in the stream it was met.
    #[error("frame {frame}, byte {byte}: {error}")]
    At {
        /// Index of the frame, from 0.
        frame: u64,
        /// Offset in the stream, from 0: where the input ended or failed; for a rule about the
        /// header, where the header's JSON begins; for its length, where the frame begins.
        byte: u64,
        /// What was met.
        #[source]
        error: Box<Error>,
    },

    /// The input failed.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// The output failed; [`Error::io`] tells why, also whether its reader is gone.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// The input ends inside a frame.
    #[error(
        "the input ends inside the frame's {part}: expected {expected} bytes, found {found} \
         (did the program that wrote it fail?)"
    )]
    Truncated {
        /// `length`, `header` or `body`.
        part: &'static str,
        /// Bytes that part has.
        expected: u64,
        /// Bytes of it that came.
        found: u64,
    },

    /// The length of the header is above [`Limits::header_bytes`](crate::Limits::header_bytes).
    #[error("header length: expected at most {limit} bytes, found {found}{}", foreign(*looks_like))]
    HeaderTooLarge {
        /// The length announced.
        found: u64,
        /// The cap.
        limit: u64,
        /// What else the frame's first bytes are known from.
        looks_like: Option<&'static str>,
    },
    /// The length of the header leaves no room for a JSON object.
    #[error("header length: expected at least 2 bytes, found {found}")]
    HeaderTooSmall {
        /// The length announced.
        found: u64,
    },
    /// The header does not begin with `{`.
    #[error("header: expected `{{` as its first byte, found 0x{found:02x}{}", foreign(*looks_like))]
    HeaderStart {
        /// The byte found.
        found: u8,
        /// What else the frame's first bytes are known from.
        looks_like: Option<&'static str>,
    },
    /// The header is not UTF-8.
    #[error("header: expected UTF-8: {0}")]
    HeaderUtf8(#[source] std::str::Utf8Error),
    /// The header is not the JSON that safetensors prescribes.
    #[error("header: not the JSON of a safetensors header: {text}")]
    HeaderJson {
        /// What the JSON parser says.
        text: String,
    },
    /// A tensor, or `__metadata__`, stands in the header twice.
    #[error("header: {name:?} stands there twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// A metadata key stands in the header twice.
    #[error("metadata: key {key:?} stands there twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A metadata value is not a string.
    #[error("metadata: key {key:?}: expected a string, found {found}")]
    MetadataType {
        /// The key.
        key: String,
        /// The JSON type found.
        found: &'static str,
    },
    /// A tensor does not begin where the one before it ends, or ends before it begins.
    #[error(
        "tensor {tensor:?}: data_offsets: expected to begin at {expected} and to end no earlier, \
         found [{begin}, {end}] (tensors lie without gap or overlap)"
    )]
    Offsets {
        /// The tensor.
        tensor: String,
        /// Where the tensor begins, in bytes from the begin of the body.
        begin: usize,
        /// Where the tensor ends.
        end: usize,
        /// Where the tensors before it end.
        expected: usize,
    },
    /// A tensor's bytes are not those of its type and shape.
    #[error(
        "tensor {tensor:?}: {dtype} {shape:?} takes {expected} bytes, its data_offsets span {found}"
    )]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes of that type and shape.
        expected: u64,
        /// Bytes announced.
        found: u64,
    },
    /// A tensor's size does not fit in 64 bits, or is no whole number of bytes.
    #[error("tensor {tensor:?}: the size of {dtype} {shape:?} overflows, or is not in whole bytes")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor has the name that safetensors keeps for metadata.
    #[error("tensor \"__metadata__\": the name is reserved by safetensors")]
    ReservedName,

    /// More tensors than [`Limits::tensors`](crate::Limits::tensors).
    #[error(
        "header: expected at most {limit} tensors, found {found} (--max-tensors raises the limit)"
    )]
    TooManyTensors {
        /// Tensors in the header.
        found: usize,
        /// The cap.
        limit: usize,
    },
    /// A name longer than [`Limits::name_bytes`](crate::Limits::name_bytes).
    #[error("tensor {tensor:?}: expected a name of at most {limit} bytes, found {found}")]
    NameTooLong {
        /// The name, cut.
        tensor: String,
        /// Bytes in the name.
        found: usize,
        /// The cap.
        limit: usize,
    },
    /// More dimensions than [`Limits::rank`](crate::Limits::rank).
    #[error(
        "tensor {tensor:?}: expected at most {limit} dimensions, found {found} (--max-rank raises the limit)"
    )]
    RankTooLarge {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        found: usize,
        /// The cap.
        limit: usize,
    },
    /// A frame larger than [`Limits::frame_bytes`](crate::Limits::frame_bytes).
    #[error(
        "frame size: expected at most {limit} bytes, found {found} (--max-frame-bytes raises the limit)"
    )]
    FrameTooLarge {
        /// Bytes of the whole frame.
        found: u64,
        /// The cap.
        limit: u64,
    },

    /// The frame speaks a version of the protocol that this crate does not.
    #[error(
        "metadata: version: expected \"1\", found {found:?} (a newer version is needed to read it)"
    )]
    Version {
        /// The value found.
        found: String,
    },
    /// The metadata names a kind that this crate does not know.
    #[error("expected kind \"text-embeddings\", \"latents\" or \"image\", found {found:?}")]
    UnknownKind {
        /// The value found.
        found: String,
    },
    /// There is no metadata `kind`, and the tensors' names do not settle it.
    #[error(
        "no kind in the metadata, and not just one of the tensors \"prompt_embeds\", \"latents\" \
         and \"image\" that would tell it; found {found} (is this a checkpoint, not a stream?)"
    )]
    NoKind {
        /// The tensors' names.
        found: String,
    },
    /// A frame of another kind than the one this place in the pipe takes.
    #[error("expected kind \"{expected}\", found \"{found}\" ({})", hint(*expected, *found))]
    WrongKind {
        /// What [`FrameReader::expect`](crate::FrameReader::expect) asked for.
        expected: Kind,
        /// What came.
        found: Kind,
    },
    /// A tensor that the kind needs is not there.
    #[error("kind \"{kind}\": tensor {tensor:?} is missing; found {found}")]
    MissingTensor {
        /// The frame's kind.
        kind: Kind,
        /// The tensor's name.
        tensor: &'static str,
        /// The names that are there.
        found: String,
    },
    /// A tensor has a type that the kind does not allow.
    #[error("tensor {tensor:?}: expected {expected}, found {found}")]
    TensorDtype {
        /// The tensor.
        tensor: &'static str,
        /// The types allowed.
        expected: &'static str,
        /// The type found.
        found: Dtype,
    },
    /// A tensor has a rank or a fixed dimension that the kind does not allow, or an empty one.
    #[error("tensor {tensor:?}: expected shape {expected}, each at least 1, found {found:?}")]
    TensorShape {
        /// The tensor.
        tensor: &'static str,
        /// The shape in symbols.
        expected: &'static str,
        /// The shape found.
        found: Vec<usize>,
    },
    /// Two tensors of a frame have different batch sizes.
    #[error("tensor {tensor:?}: expected batch size {expected} as in {other:?}, found {found}")]
    BatchMismatch {
        /// The tensor.
        tensor: &'static str,
        /// The tensor it is held against.
        other: &'static str,
        /// The other's batch size.
        expected: usize,
        /// This one's.
        found: usize,
    },
    /// A negative embedding is not shaped like the positive one.
    #[error("tensor {tensor:?}: expected shape {expected:?} as {other:?} has, found {found:?}")]
    ShapeMismatch {
        /// The tensor.
        tensor: &'static str,
        /// The tensor it is held against.
        other: &'static str,
        /// The other's shape.
        expected: Vec<usize>,
        /// This one's.
        found: Vec<usize>,
    },
    /// One of the two negative embeddings is there without the other.
    #[error("tensor {present:?} is there without {missing:?} (give both or none)")]
    NegativePair {
        /// The one that is there.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A tensor of a picture is there without the one that it goes with.
    #[error("tensor {present:?} is there without {missing:?}, which it goes with")]
    Companion {
        /// The one that is there.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A tensor of a picture does not fit the picture's.
    #[error("tensor {tensor:?}: expected shape {expected:?} to go with {other:?}, found {found:?}")]
    PictureShape {
        /// The tensor.
        tensor: &'static str,
        /// The tensor it is held against.
        other: &'static str,
        /// What would fit that one.
        expected: Vec<usize>,
        /// This one's.
        found: Vec<usize>,
    },

    /// A setting in the metadata has a value that it cannot have.
    #[error("metadata: {key}: {wrong}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// What it can be, and what it is.
        wrong: Wrong,
    },

    /// A body to be written lacks a tensor of its header.
    #[error("body: tensor {tensor:?} of the header is missing")]
    BodyMissing {
        /// The tensor.
        tensor: String,
    },
    /// A body to be written has a tensor that its header does not name, or has one twice.
    #[error("body: tensor {tensor:?} is not in the header, or given twice")]
    BodyExtra {
        /// The tensor.
        tensor: String,
    },
    /// A body to be written has a tensor of another size than its header says.
    #[error("body: tensor {tensor:?}: expected {expected} bytes, found {found}")]
    BodySize {
        /// The tensor.
        tensor: String,
        /// Bytes by the header.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// A reader or writer was used out of order by the program.
    #[error("{0}")]
    Order(&'static str),
}

impl Error {
    /// The broken rule itself, without its place.
    pub fn rule(&self) -> &Self {
        match self {
            Self::At { error, .. } => error.rule(),
            rule => rule,
        }
    }

    /// Index of the frame, where it is known.
    pub fn frame(&self) -> Option<u64> {
        match self {
            Self::At { frame, .. } => Some(*frame),
            _ => None,
        }
    }

    /// Offset in the stream, where it is known; see [`Error::At`].
    pub fn byte(&self) -> Option<u64> {
        match self {
            Self::At { byte, .. } => Some(*byte),
            _ => None,
        }
    }

    /// The error of the input or output, if that is what this is.
    pub fn io(&self) -> Option<&io::Error> {
        match self.rule() {
            Self::Read(error) | Self::Write(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn at(self, frame: u64, byte: u64) -> Self {
        Self::At {
            frame,
            byte,
            error: Box::new(self),
        }
    }
}

/// The remark on an input that looks like something else.
fn foreign(looks_like: Option<&str>) -> String {
    looks_like.map_or_else(String::new, |what| {
        format!(" (the input looks like {what}, not like a safetensors frame)")
    })
}

/// What probably led to one kind where another was expected.
fn hint(expected: Kind, found: Kind) -> &'static str {
    match (expected, found) {
        (Kind::TextEmbeddings, Kind::Latents) => "is denoise in the pipe twice?",
        (Kind::Latents, Kind::Image) => "is decode-latents in the pipe twice?",
        (Kind::Latents, Kind::TextEmbeddings) => "is denoise missing from the pipe?",
        (Kind::Image, Kind::Latents) => "is decode-latents missing from the pipe?",
        (Kind::Image, Kind::TextEmbeddings) => {
            "are denoise and decode-latents missing from the pipe?"
        }
        (Kind::TextEmbeddings, Kind::Image) => "is the pipe in the right order?",
        // The same kind twice is never reported.
        _ => "see PROTOCOL.md, Kinds",
    }
}
