//! What a tile kernel is given, and what it asks for.
//!
//! A **tile** is some rows of weights ([`Kernels::rows`]) against up to [`MV`] vectors of [`LANES`] positions (tokens
//! or pixels). Positions lie side by side in vector registers; a weight is broadcast, or lies in a tile register. One
//! **step** of the inner dimension is four bytes a position and four bytes a weight row: one float, or two
//! bfloat16 or four int8 whose products are added.

/// Positions in a vector, on every instruction set (narrower registers take several).
pub const LANES: usize = 16;
/// Vectors in a tile.
pub const MV: usize = 4;
/// Positions in a panel: what a full tile covers.
pub const PANEL: usize = LANES * MV;
/// Weight rows of every tile but AMX's.
pub const NR: usize = 6;

/// The type in which products are formed. Sums are float32, or int32 for int8, which become float32 before anybody sees
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// float32 times float32.
    F32,
    /// bfloat16 times bfloat16, two at a time; only where [`Isa::has_bf16`](crate::Isa::has_bf16).
    Bf16,
    /// int8 times int8, four at a time, summed in int32; fast where [`Isa::has_int8`](crate::Isa::has_int8).
    Int8,
}

impl Compute {
    /// Numbers in a step.
    pub const fn per_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }

    /// Steps that `k` numbers take; what is left of the last is filled up with zeros.
    pub const fn steps(self, k: usize) -> usize {
        k.div_ceil(self.per_step())
    }
}

/// Arguments of a tile kernel. Every pointer is to 4-byte elements.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Steps of the inner dimension.
    pub steps: usize,
    /// First position of the tile at offset 0.
    pub a: *const u32,
    /// For each [`Kernels::steps`] steps, how many elements further their positions lie; then one more number, since some
    /// kernels ask ahead for what comes after the last.
    pub offsets: *const u32,
    /// Elements from one of these steps to the next.
    pub a_stride: usize,
    /// Elements from one vector of a step to the next; kernels of one step that take all vectors at once want [`LANES`].
    pub a_vector: usize,
    /// First weight row, a step after the other.
    pub w: *const u32,
    /// Elements from one weight row to the next.
    pub w_stride: usize,
    /// Sums, `[rows][PANEL]`; those of int8 are the bits of int32.
    pub c: *mut f32,
    /// Add to what is in `c` instead of overwriting it.
    pub accumulate: bool,
    /// What to do meanwhile, where [`Kernels::widens`].
    pub aside: [Aside; 2],
    /// What to ask for meanwhile: for the first-level cache, and for the second. Some kernels leave it.
    pub fetch: [Fetch; 2],
}

/// The positions of a tile: a panel's steps, and where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    /// The panel, its first position first.
    pub panel: &'a [u32],
    /// See [`Tile::offsets`].
    pub offsets: &'a [u32],
    /// See [`Tile::a_stride`].
    pub stride: usize,
    /// See [`Tile::a_vector`].
    pub vector: usize,
}

impl<'a> Positions<'a> {
    /// Steps that lie as `[steps, PANEL]`.
    pub fn rows(panel: &'a [u32], offsets: &'a [u32]) -> Self {
        Self {
            panel,
            offsets,
            stride: PANEL,
            vector: LANES,
        }
    }
}

impl Tile {
    /// `steps` steps of `positions` against weight rows that lie `stride` apart; sums go to `sums`, `[rows][PANEL]`, or are
    /// added to what is there. Nothing is asked for meanwhile.
    ///
    /// # Panics
    /// If `weights` or `sums` end too early.
    #[inline(always)]
    pub fn new(
        steps: usize,
        positions: Positions<'_>,
        weights: &[u32],
        stride: usize,
        sums: &mut [f32],
        accumulate: bool,
    ) -> Self {
        let rows = sums.len() / PANEL;
        assert!(
            rows > 0 && weights.len() >= (rows - 1) * stride + steps,
            "a tile of {rows} rows of {steps} steps, {stride} apart, in {} elements",
            weights.len()
        );
        Self {
            steps,
            a: positions.panel.as_ptr(),
            offsets: positions.offsets.as_ptr(),
            a_stride: positions.stride,
            a_vector: positions.vector,
            w: weights.as_ptr(),
            w_stride: stride,
            c: sums.as_mut_ptr(),
            accumulate,
            aside: [Aside::NONE; 2],
            fetch: [Fetch::NONE; 2],
        }
    }
}

/// Memory to be asked for, a piece with each step. The processor foresees long runs by itself; short ones have to be
/// asked for, and all at once they would wait for each other.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only kernels for x86-64 ask")
)]
pub struct Fetch {
    pub(super) from: *const u8,
    /// Bytes from one piece to the next.
    pub(super) stride: usize,
}

impl Fetch {
    /// Nothing: the same byte again and again.
    pub const NONE: Self = Self {
        from: &0,
        stride: 0,
    };

    /// All of `memory` in so many steps.
    pub(crate) fn new<T>(memory: &[T], steps: usize) -> Self {
        if memory.is_empty() {
            return Self::NONE;
        }
        Self {
            from: memory.as_ptr().cast(),
            stride: size_of_val(memory).div_ceil(steps),
        }
    }
}

/// float16 of a file to be widened to pairs of bfloat16, for a later tile: reading the file takes its time, and so do
/// the products, but not the same units of the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Aside {
    /// The numbers.
    pub from: *const u8,
    /// Where they go.
    pub to: *mut u32,
    /// How many, in chunks of [`Aside::CHUNK`] bytes.
    pub chunks: usize,
    /// Bytes from here to what will be read soon.
    pub ahead: usize,
}

impl Aside {
    /// Bytes of a chunk, and the steps that they become.
    pub const CHUNK: usize = 64;
    /// See [`Aside::CHUNK`].
    pub const STEPS: usize = 16;
    /// Nothing.
    pub const NONE: Self = Self {
        from: core::ptr::null(),
        to: core::ptr::null_mut(),
        chunks: 0,
        ahead: 0,
    };
}

/// A tile kernel of one width.
///
/// # Safety
/// With `V` the vectors that it is made for, and `n` the kernel's steps:
///
/// - `a + offsets[s / n] + s % n * a_stride + v * a_vector` is readable for [`LANES`] elements, for each step `s` and
///   vector `v`;
/// - `offsets` is readable for `steps / n` elements, rounded up, and one more;
/// - `w + r * w_stride` is readable for `steps` elements, for each row `r`;
/// - `c` is readable and writable for `rows * PANEL` elements;
/// - with [`Kernels::widens`], `from` is readable and `to` writable for the chunks of each [`Aside`];
/// - the CPU has the instruction set, and the thread has called [`Kernels::prepare_thread`].
pub type TileFn = unsafe fn(&Tile);

/// What follows each other in a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Steps, each with all of its vectors.
    Rows,
    /// Vectors, each with all of its steps, for kernels that take one vector after the other: where four of a step lie side
    /// by side, the steps of one fall into a quarter of the first-level cache.
    Vectors,
    /// What a tile register takes.
    Tiles,
}

/// The tile kernels of an instruction set, and what they ask for.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Weight rows of a tile.
    pub rows: usize,
    /// Steps that a tile takes at a time; `offsets` has one for so many.
    pub steps: usize,
    /// Steps that a tile should be given at most, so that the rows stay in the first-level cache.
    pub stretch: usize,
    /// How a panel should lie.
    pub order: Order,
    /// Whether rows should stay in the first-level cache while panels pass by, not panels while rows do.
    pub rows_stay: bool,
    /// Whether tiles do what [`Tile::aside`] says.
    pub widens: bool,
    /// Whether int8 weights are taken as unsigned numbers, larger by [`Self::OFFSET`].
    pub unsigned_weights: bool,
    /// For 1, 2, 3 and 4 vectors.
    pub tiles: [TileFn; MV],
    pub(super) prepare: fn(),
}

impl Kernels {
    /// See [`Self::unsigned_weights`].
    pub const OFFSET: i32 = 128;

    /// Makes this thread ready to run the kernels; costs nothing when it is.
    #[inline]
    pub fn prepare_thread(&self) {
        (self.prepare)();
    }

    /// These, with weights that are unsigned.
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn unsigned(self) -> Self {
        Self {
            unsigned_weights: true,
            ..self
        }
    }

    /// Kernels that take one vector of a panel after the other.
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn narrow(tiles: [TileFn; MV]) -> Self {
        Self {
            order: Order::Vectors,
            ..Self::plain(tiles)
        }
    }

    pub(super) const fn plain(tiles: [TileFn; MV]) -> Self {
        const fn nothing() {}
        Self {
            rows: NR,
            steps: 1,
            stretch: usize::MAX,
            order: Order::Rows,
            rows_stay: false,
            widens: false,
            unsigned_weights: false,
            tiles,
            prepare: nothing,
        }
    }
}
