//! Tile kernels for AMX, whose eight tile registers hold 16 rows of 64 bytes each.
//!
//! One instruction multiplies 16 weight rows of 32 bfloat16 or 64 int8, as they follow each other in a row, with 16 steps of 16
//! positions, as a panel holds them: both operands are loaded where they lie. Four registers hold the sums of 32 rows
//! by 32 positions, two hold weights, two hold positions: four loads for four products, the best that eight
//! registers allow.
//!
//! Positions come from the second-level cache, and the processor does not foresee a tile's sixteen rows: while one group
//! of steps is multiplied, the next one's are asked for.
//!
//! The instructions have no stable intrinsics; they are written as assembly (Intel's manual, volume 2, "TDPBF16PS",
//! "TDPBSSD", "TILELOADD", "LDTILECFG").

use super::half::f16_to_pairs;
use crate::arch::tile::{Aside, Kernels, LANES, Order, PANEL, Tile};
use crate::isa::amx_is_available;
use core::arch::asm;
use core::mem::offset_of;
use std::cell::Cell;

/// Rows of a tile register.
const ROWS: usize = 16;
/// Steps of a tile register of weights: 64 bytes of a row.
const STEPS: usize = 16;

pub(in crate::arch) const BF16: Kernels = Kernels {
    rows: 2 * ROWS,
    steps: STEPS,
    stretch: 160,
    order: Order::Tiles,
    rows_stay: true,
    widens: true,
    unsigned_weights: false,
    tiles: [
        tile::<1, false>,
        tile::<2, false>,
        tile::<3, false>,
        tile::<4, false>,
    ],
    prepare: configure_thread,
};

/// Steps of int8 lie as those of bfloat16 do. Weights of int8 need no widening.
pub(in crate::arch) const INT8: Kernels = Kernels {
    widens: false,
    tiles: [
        tile::<1, true>,
        tile::<2, true>,
        tile::<3, true>,
        tile::<4, true>,
    ],
    ..BF16
};

/// The offsets of a group that is alone.
static ALONE: [u32; 2] = [0; 2];

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Every register 16 rows of 64 bytes.
static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Shapes the tile registers of this thread, once: nothing else in a process uses them.
fn configure_thread() {
    thread_local! {
        static CONFIGURED: Cell<bool> = const { Cell::new(false) };
    }
    CONFIGURED.with(|configured| {
        if !configured.replace(true) {
            assert!(amx_is_available());
            // SAFETY: the instruction is there and allowed, by the assertion, and reads 64 bytes.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly));
            };
        }
    });
}

unsafe fn tile<const V: usize, const INT8: bool>(t: &Tile) {
    // SAFETY: the caller vouches for every address and for the registers' shapes (see `TileFn`); the groups below are
    // the parts of the tile.
    unsafe {
        let whole = t.steps / STEPS;
        let mut accumulate = t.accumulate;
        let mut widened = [0; 2];
        if whole > 0 {
            widened = part::<V, INT8>(t, whole, accumulate);
            accumulate = true;
        }
        let rest = t.steps % STEPS;
        if rest > 0 {
            // A last stretch that does not fill a register is filled up with zeros, on both sides.
            let done = whole * STEPS;
            let mut a = [[0u32; PANEL]; STEPS];
            for (s, row) in a.iter_mut().enumerate().take(rest) {
                let from = t.a.add(*t.offsets.add(whole) as usize + s * t.a_stride);
                for v in 0..V {
                    from.add(v * t.a_vector)
                        .copy_to_nonoverlapping(row.as_mut_ptr().add(v * LANES), LANES);
                }
            }
            let mut w = [[0u32; STEPS]; 2 * ROWS];
            for (r, row) in w.iter_mut().enumerate() {
                let from = t.w.add(r * t.w_stride + done);
                from.copy_to_nonoverlapping(row.as_mut_ptr(), rest);
            }
            let rest = Tile {
                steps: STEPS,
                a: a.as_ptr().cast(),
                offsets: ALONE.as_ptr(),
                a_stride: PANEL,
                a_vector: LANES,
                w: w.as_ptr().cast(),
                w_stride: STEPS,
                aside: [Aside::NONE; 2],
                ..*t
            };
            part::<V, INT8>(&rest, 1, accumulate);
        } else if whole == 0 && !accumulate {
            for r in 0..2 * ROWS {
                t.c.add(r * PANEL).write_bytes(0, V * LANES);
            }
        }
        for (aside, done) in t.aside.iter().zip(widened) {
            widen(aside, done);
        }
    }
}

/// `groups` times [`STEPS`] steps. Says how many chunks of each aside were widened meanwhile.
///
/// # Safety
/// As [`TileFn`].
#[inline(always)]
unsafe fn part<const V: usize, const INT8: bool>(
    t: &Tile,
    groups: usize,
    accumulate: bool,
) -> [usize; 2] {
    let mut widened = [0; 2];
    // SAFETY: by the caller's word; every group lies inside the tile.
    unsafe {
        for v in 0..V / 2 {
            let aside = &t.aside[v];
            let meanwhile = groups.min(aside.chunks / CHUNKS);
            if accumulate {
                wide::<true, INT8>(t, 2 * v, groups, aside, meanwhile);
            } else {
                wide::<false, INT8>(t, 2 * v, groups, aside, meanwhile);
            }
            widened[v] = meanwhile * CHUNKS;
        }
        if V % 2 == 1 {
            narrow::<INT8>(t, V - 1, groups, accumulate);
        }
    }
    widened
}

/// Chunks that are widened beside four products.
const CHUNKS: usize = 4;

/// What is left of `aside` after `done` chunks.
///
/// # Safety
/// As [`TileFn`].
unsafe fn widen(aside: &Aside, done: usize) {
    if done < aside.chunks {
        // SAFETY: by the caller's word.
        let (from, to) = unsafe {
            (
                core::slice::from_raw_parts(aside.from.add(64 * done), 64 * (aside.chunks - done)),
                core::slice::from_raw_parts_mut(
                    aside.to.add(16 * done),
                    16 * (aside.chunks - done),
                ),
            )
        };
        f16_to_pairs(from, to);
    }
}

/// What `wide` keeps in memory, for want of registers. The assembly names each field's offset, so the compiler may lay
/// them out as it likes.
struct Rest {
    /// In bytes.
    a_vector: usize,
    others: usize,
    meanwhile: usize,
    c: *mut f32,
}

/// Where group `$group`'s positions begin, counted from the present one.
macro_rules! locate {
    ($at:literal, $group:literal) => {
        concat!(
            "mov {",
            $at,
            ":e}, dword ptr [{offsets} + 4 * ",
            $group,
            "]\n",
            "lea {",
            $at,
            "}, [{a} + 4 * {",
            $at,
            "}]\n",
        )
    };
}

/// Asks for a quarter of a register's rows.
macro_rules! fetch {
    () => {
        concat!(
            "prefetcht0 [{next}]\n",
            "prefetcht0 [{next} + {a_stride}]\n",
            "lea {next}, [{next} + 2 * {a_stride}]\n",
            "prefetcht0 [{next}]\n",
            "prefetcht0 [{next} + {a_stride}]\n",
            "lea {next}, [{next} + 2 * {a_stride}]\n",
        )
    };
}

/// Adds the products of two registers to a third.
macro_rules! multiply {
    ($registers:literal) => {
        concat!(
            ".if {int8}\n",
            "tdpbssd ",
            $registers,
            "\n.else\n",
            "tdpbf16ps ",
            $registers,
            "\n.endif\n",
        )
    };
}

/// One group of [`wide`]: four loads, four products, and between them the next group's positions and what the arguments
/// list.
macro_rules! products {
    ($a:expr, $b:expr, $c:expr, $d:expr) => {
        concat!(
            locate!("at", 0),
            locate!("next", 1),
            "tileloadd tmm4, [{w} + {w_stride}]\n",
            "tileloadd tmm6, [{at} + {a_stride}]\n",
            fetch!(),
            fetch!(),
            $a,
            multiply!("tmm0, tmm4, tmm6"),
            "add {at}, [{rest} + {a_vector}]\n",
            "tileloadd tmm7, [{at} + {a_stride}]\n",
            fetch!(),
            fetch!(),
            $b,
            multiply!("tmm1, tmm4, tmm7"),
            locate!("next", 1),
            "add {next}, [{rest} + {a_vector}]\n",
            "tileloadd tmm5, [{w2} + {w_stride}]\n",
            fetch!(),
            fetch!(),
            $c,
            multiply!("tmm2, tmm5, tmm6"),
            fetch!(),
            fetch!(),
            $d,
            multiply!("tmm3, tmm5, tmm7"),
            "add {w}, 64\n",
            "add {w2}, 64\n",
            "add {offsets}, 4\n",
        )
    };
}

/// Widens 32 float16, and asks for what lies `ahead`.
macro_rules! chunk {
    ($at:literal) => {
        concat!(
            "vcvtph2ps zmm16, ymmword ptr [{from} + ",
            $at,
            "]\n",
            "vcvtph2ps zmm17, ymmword ptr [{from} + ",
            $at,
            " + 32]\n",
            "prefetcht1 [{from} + {ahead} + ",
            $at,
            "]\n",
            "vcvtne2ps2bf16 zmm16, zmm17, zmm16\n",
            "vmovups zmmword ptr [{to} + ",
            $at,
            "], zmm16\n",
        )
    };
}

/// 32 rows by 32 positions from `vector`; beside the first `meanwhile` groups some of `aside`, [`CHUNKS`] each.
///
/// # Safety
/// As [`TileFn`].
#[inline(always)]
unsafe fn wide<const ACCUMULATE: bool, const INT8: bool>(
    t: &Tile,
    vector: usize,
    groups: usize,
    aside: &Aside,
    meanwhile: usize,
) {
    // SAFETY: by the caller's word. The registers are shaped 16 rows of 64 bytes; every load and store is 16 rows of
    // 64 bytes at the strides of the tile, or a chunk of `aside`. A prefetch touches no memory.
    unsafe {
        let rest = Rest {
            c: t.c.add(vector * LANES),
            meanwhile,
            others: groups - meanwhile,
            a_vector: 4 * t.a_vector,
        };
        asm!(
            "mov {at}, [{rest} + {c}]",
            "mov {n:e}, {row}",
            ".if {accumulate}",
            "tileloadd tmm0, [{at} + {n}]",
            "tileloadd tmm1, [{at} + {n} + 64]",
            "tileloadd tmm2, [{at} + {n} + 16 * {row}]",
            "tileloadd tmm3, [{at} + {n} + 16 * {row} + 64]",
            ".else",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            ".endif",
            "mov {n}, [{rest} + {meanwhile}]",
            "test {n}, {n}",
            "jz 3f",
            "2:",
            products!(chunk!("0"), chunk!("64"), chunk!("128"), chunk!("192")),
            "add {from}, 256",
            "add {to}, 256",
            "dec {n}",
            "jnz 2b",
            "3:",
            "mov {n}, [{rest} + {others}]",
            "test {n}, {n}",
            "jz 5f",
            "4:",
            products!("", "", "", ""),
            "dec {n}",
            "jnz 4b",
            "5:",
            "mov {at}, [{rest} + {c}]",
            "mov {n:e}, {row}",
            "tilestored [{at} + {n}], tmm0",
            "tilestored [{at} + {n} + 64], tmm1",
            "tilestored [{at} + {n} + 16 * {row}], tmm2",
            "tilestored [{at} + {n} + 16 * {row} + 64], tmm3",
            rest = in(reg) &raw const rest,
            c = const offset_of!(Rest, c),
            meanwhile = const offset_of!(Rest, meanwhile),
            others = const offset_of!(Rest, others),
            a_vector = const offset_of!(Rest, a_vector),
            row = const 4 * PANEL,
            accumulate = const ACCUMULATE as usize,
            int8 = const INT8 as usize,
            w = inout(reg) t.w => _,
            w2 = inout(reg) t.w.add(ROWS * t.w_stride) => _,
            w_stride = in(reg) 4 * t.w_stride,
            a = in(reg) t.a.add(vector * t.a_vector),
            offsets = inout(reg) t.offsets => _,
            a_stride = in(reg) 4 * t.a_stride,
            from = inout(reg) aside.from => _,
            to = inout(reg) aside.to => _,
            ahead = in(reg) aside.ahead,
            at = out(reg) _,
            next = out(reg) _,
            n = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            out("xmm16") _, out("xmm17") _,
            options(nostack),
        );
    }
}

/// 32 rows by 16 positions from `vector`.
///
/// # Safety
/// As [`TileFn`].
#[inline(always)]
unsafe fn narrow<const INT8: bool>(t: &Tile, vector: usize, groups: usize, accumulate: bool) {
    // SAFETY: as in `wide`.
    unsafe {
        asm!(
            "test {accumulate}, {accumulate}",
            "jz 2f",
            "tileloadd tmm0, [{c} + {c_stride}]",
            "tileloadd tmm2, [{c2} + {c_stride}]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm2",
            "3:",
            locate!("at", 0),
            locate!("next", 1),
            "tileloadd tmm4, [{w} + {w_stride}]",
            "tileloadd tmm6, [{at} + {a_stride}]",
            fetch!(),
            fetch!(),
            multiply!("tmm0, tmm4, tmm6"),
            "tileloadd tmm5, [{w2} + {w_stride}]",
            fetch!(),
            fetch!(),
            multiply!("tmm2, tmm5, tmm6"),
            "add {w}, 64",
            "add {w2}, 64",
            "add {offsets}, 4",
            "dec {groups}",
            "jnz 3b",
            "tilestored [{c} + {c_stride}], tmm0",
            "tilestored [{c2} + {c_stride}], tmm2",
            int8 = const INT8 as usize,
            accumulate = in(reg) usize::from(accumulate),
            c = in(reg) t.c.add(vector * LANES),
            c2 = in(reg) t.c.add(ROWS * PANEL + vector * LANES),
            c_stride = in(reg) 4 * PANEL,
            w = inout(reg) t.w => _,
            w2 = inout(reg) t.w.add(ROWS * t.w_stride) => _,
            w_stride = in(reg) 4 * t.w_stride,
            a = in(reg) t.a.add(vector * t.a_vector),
            offsets = inout(reg) t.offsets => _,
            at = out(reg) _,
            next = out(reg) _,
            a_stride = in(reg) 4 * t.a_stride,
            groups = inout(reg) groups => _,
            out("tmm0") _, out("tmm2") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
            options(nostack),
        );
    }
}
