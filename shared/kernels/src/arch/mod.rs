//! The tile kernels, one file an instruction set: the only intrinsics of the crate.
//!
//! A **tile** is some rows of weights ([`Kernels::rows`]) against up to [`MV`] vectors of [`LANES`] positions (tokens
//! or pixels). Positions lie side by side in vector registers; a weight is broadcast, or lies in a tile register. One
//! **step** of the inner dimension is four bytes a position and four bytes a weight row: one float, or two bfloat16
//! whose products are added.

use crate::Isa;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_half;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
mod x86_64_amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_amx::is_available as amx_is_available;
#[cfg(target_arch = "x86_64")]
mod x86_64_half;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon_half::f16_to_f32;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_half::{f16_to_f32, f16_to_pairs, pairs_16};

/// A row of weights `[channel][taps]`, `count` bfloat16 two to an element, in the order of a product's steps: for each
/// `group` pairs of channels `[taps][group]`. A last odd channel is paired with zero.
pub(crate) fn interleave(row: &[u32], count: usize, taps: usize, group: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    let done = x86_64_half::interleave(row, count, taps, group, out);
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let at = |i: usize| {
        if i < count {
            (row[i / 2] >> (16 * (i % 2))) & 0xffff
        } else {
            0
        }
    };
    for (g, out) in out.chunks_mut(taps * group).enumerate().skip(done) {
        for (i, d) in out.iter_mut().enumerate() {
            let (tap, pair) = (i / group, g * group + i % group);
            *d = at(2 * pair * taps + tap) | (at((2 * pair + 1) * taps + tap) << 16);
        }
    }
}

/// Positions in a vector, on every instruction set (narrower registers take several).
pub const LANES: usize = 16;
/// Vectors in a tile.
pub const MV: usize = 4;
/// Positions in a panel: what a full tile covers.
pub const PANEL: usize = LANES * MV;
/// Weight rows of every tile but AMX's.
pub const NR: usize = 6;

/// The type in which products are formed. Sums are always float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// float32 times float32.
    F32,
    /// bfloat16 times bfloat16, two at a time; only where [`Isa::has_bf16`].
    Bf16,
}

impl Compute {
    /// Numbers in a step.
    pub const fn per_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }

    /// Steps that `k` numbers take; an odd one is paired with zero.
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
    /// Elements from one vector of a step to the next; only kernels of several steps take others than [`LANES`].
    pub a_vector: usize,
    /// First weight row, a step after the other.
    pub w: *const u32,
    /// Elements from one weight row to the next.
    pub w_stride: usize,
    /// Sums, `[rows][PANEL]`.
    pub c: *mut f32,
    /// Add to what is in `c` instead of overwriting it.
    pub accumulate: bool,
    /// What to do meanwhile, where [`Kernels::widens`].
    pub aside: [Aside; 2],
    /// What to ask for meanwhile: for the first-level cache, and for the second. Some kernels leave it.
    pub fetch: [Fetch; 2],
}

/// Memory to be asked for, a piece with each step. The processor foresees long runs by itself; short ones have to be
/// asked for, and all at once they would wait for each other.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only kernels for x86-64 ask")
)]
pub struct Fetch {
    from: *const u8,
    /// Bytes from one piece to the next.
    stride: usize,
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
    /// How many, in chunks of 64 bytes.
    pub chunks: usize,
    /// Bytes from here to what will be read soon.
    pub ahead: usize,
}

impl Aside {
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
/// With `V` the vectors it is made for: `a + offsets[s / n] + s % n * a_stride + v * a_vector`, with `n` the kernel's
/// steps, must be readable for [`LANES`] elements for each step `s` and vector `v`, `offsets` for `steps / n` elements, rounded up, and one, `w + r * w_stride` for `steps` elements for each row, `c` writable for `rows * PANEL`; the CPU must have the
/// instruction set, and the thread must have called [`Kernels::prepare_thread`]. With [`Kernels::widens`], `from` must be
/// readable and `to` writable for the chunks of each [`Aside`].
pub type TileFn = unsafe fn(&Tile);

/// The tile kernels of an instruction set, and what they ask for.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Weight rows of a tile.
    pub rows: usize,
    /// Steps that a tile takes at a time; `offsets` has one for so many.
    pub steps: usize,
    /// Steps that a tile should be given at most, so that the rows stay in the first-level cache.
    pub stretch: usize,
    /// Whether rows should stay in the first-level cache while panels pass by, not panels while rows do.
    pub rows_stay: bool,
    /// Whether tiles do what [`Tile::aside`] says.
    pub widens: bool,
    /// For 1, 2, 3 and 4 vectors.
    pub tiles: [TileFn; MV],
    prepare: fn(),
}

impl Kernels {
    /// Makes this thread ready to run the kernels; costs nothing when it is.
    #[inline]
    pub fn prepare_thread(&self) {
        (self.prepare)();
    }

    const fn plain(tiles: [TileFn; MV]) -> Self {
        const fn nothing() {}
        Self {
            rows: NR,
            steps: 1,
            stretch: usize::MAX,
            rows_stay: false,
            widens: false,
            tiles,
            prepare: nothing,
        }
    }
}

/// The tile kernels of an instruction set.
///
/// # Panics
/// If `isa` has no products of that type.
pub fn kernels(isa: Isa, compute: Compute) -> Kernels {
    assert!(
        isa.is_available(),
        "{} is not available on this CPU",
        isa.name()
    );
    match (compute, isa) {
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Isa::Avx512Amx) => x86_64_amx::BF16,
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Isa::Avx512Bf16) => Kernels::plain(x86_64::BF16_AVX512),
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx512 | Isa::Avx512Bf16 | Isa::Avx512Amx) => {
            Kernels::plain(x86_64::F32_AVX512)
        }
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx2) => Kernels::plain(x86_64::F32_AVX2),
        #[cfg(target_arch = "aarch64")]
        (Compute::F32, Isa::Neon) => Kernels::plain(neon::F32),
        (Compute::F32, _) => Kernels::plain(portable::F32),
        (Compute::Bf16, _) => panic!("{} has no bfloat16 products", isa.name()),
    }
}
