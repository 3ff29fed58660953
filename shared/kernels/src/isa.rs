//! Instruction sets: what this CPU has, and which one is used.

#[cfg(target_arch = "x86_64")]
use core::arch::asm;
use std::sync::OnceLock;

/// An instruction set that kernels exist for, from the plainest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Rust without intrinsics; runs everywhere.
    Portable,
    /// aarch64 with 128-bit vectors.
    Neon,
    /// NEON with int8 dot products.
    NeonDot,
    /// NEON with int8 dot products and int8 matrix products.
    NeonI8mm,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// AVX2 with int8 dot products in registers of 256 bits.
    Avx2Vnni,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with int8 dot products.
    Avx512Vnni,
    /// AVX-512 with int8 and bfloat16 dot products.
    Avx512Bf16,
    /// AVX-512 with bfloat16 dot products, and AMX, whose tiles multiply bfloat16 and int8.
    Avx512Amx,
}

impl Isa {
    /// Every instruction set, plainest first.
    pub const ALL: [Self; 10] = [
        Self::Portable,
        Self::Neon,
        Self::NeonDot,
        Self::NeonI8mm,
        Self::Avx2,
        Self::Avx2Vnni,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
        Self::Avx512Amx,
    ];

    /// The name that [`Isa::from_name`] and the environment variable `TURBO_ISA` take.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dot",
            Self::NeonI8mm => "neon-i8mm",
            Self::Avx2 => "avx2",
            Self::Avx2Vnni => "avx2-vnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512Amx => "avx512-amx",
        }
    }

    /// The instruction set of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Whether this CPU, and this build, can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::NeonDot.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(not(target_arch = "aarch64"))]
            Self::NeonDot | Self::NeonI8mm => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Vnni => {
                Self::Avx2.is_available() && (has_avx_vnni() || Self::Avx512Vnni.is_available())
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                Self::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Amx => Self::Avx512Bf16.is_available() && amx_is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Every instruction set this CPU can run, plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The fastest available, or the one `TURBO_ISA` names.
    ///
    /// # Errors
    /// `TURBO_ISA` names none, or one that this CPU lacks; the text says which names would do.
    pub fn detect() -> Result<Self, String> {
        static CHOSEN: OnceLock<Result<Isa, String>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var("TURBO_ISA") {
                Ok(name) => Self::from_name(&name)
                    .filter(|isa| isa.is_available())
                    .ok_or_else(|| {
                        let names: Vec<_> = Self::available().map(Self::name).collect();
                        format!(
                            "TURBO_ISA: expected one of {}, found {name:?}",
                            names.join(", ")
                        )
                    }),
                Err(_) => Ok(Self::available().max().unwrap_or(Self::Portable)),
            })
            .clone()
    }

    /// Whether that holds for 3x3 convolutions of large maps too, of which float32 takes a quarter of the products
    /// (Winograd).
    pub fn prefers_bf16_convolutions(self) -> bool {
        self == Self::Avx512Amx
    }

    /// This instruction set without AMX.
    pub(crate) fn plain(self) -> Self {
        self.min(Self::Avx512Bf16)
    }

    /// Whether products of bfloat16 are faster than those of float32. On AMD's cores they are, by two; on Intel's they
    /// come at half the rate (measured on Sapphire Rapids), unless there is AMX.
    pub fn prefers_bf16(self) -> bool {
        self.has_bf16() && (self == Self::Avx512Amx || !is_intel())
    }

    /// Whether products of int8 are faster than those of floats. Elsewhere [`Compute::Int8`](crate::Compute::Int8) gives
    /// the same numbers, but slower.
    pub fn has_int8(self) -> bool {
        // By AVX-512 without VNNI, two ports of the CPU would take two cycles for 64 products, as for those of floats.
        !matches!(self, Self::Portable | Self::Neon | Self::Avx512)
    }

    /// Whether products of bfloat16 pairs are an instruction.
    pub fn has_bf16(self) -> bool {
        self >= Self::Avx512Bf16
    }
}

/// Whether the CPU has int8 dot products in their short encoding. AMD's cores before Zen 5, and Intel's before Alder Lake,
/// have that of AVX-512 only.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx_vnni() -> bool {
    is_x86_feature_detected!("avxvnni")
}

/// Whether Intel made this CPU.
#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let name = core::arch::x86_64::__cpuid(0);
    [name.ebx, name.edx, name.ecx]
        .map(u32::to_le_bytes)
        .as_flattened()
        == b"GenuineIntel"
}

/// Whether the CPU has AMX for bfloat16, and the system lets this process use it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn amx_is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| amx_has_instructions() && may_use_tiles())
}

#[cfg(target_arch = "x86_64")]
fn amx_has_instructions() -> bool {
    let (amx_bf16, amx_tile) = (1 << 22, 1 << 24);
    amx_features() & (amx_bf16 | amx_tile) == amx_bf16 | amx_tile
}

/// Whether AMX, which is available, multiplies int8 too.
#[cfg(target_arch = "x86_64")]
pub(crate) fn amx_has_int8() -> bool {
    static INT8: OnceLock<bool> = OnceLock::new();
    *INT8.get_or_init(|| amx_features() & (1 << 25) != 0)
}

/// Where the CPU says what its AMX can do. The leaf exists on every CPU with AVX-512, which is asked for first.
#[cfg(target_arch = "x86_64")]
fn amx_features() -> u32 {
    core::arch::x86_64::__cpuid_count(7, 0).edx
}

/// Linux saves the tile registers of a process that asked for it only.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call that reads no memory of ours and changes nothing but the permission; it clobbers rcx and
    // r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}

/// What the body of a `per_isa!` may count on: nothing.
pub(crate) const PLAIN: u8 = 0;
/// A multiplication and an addition are one instruction.
pub(crate) const FMA: u8 = 1;
/// That, and two floats become a pair of bfloat16 in one.
#[cfg(target_arch = "x86_64")]
pub(crate) const BF16: u8 = 2;

/// Compiles one body for every instruction set and picks at run time.
///
/// The body is ordinary Rust: plain loops that the compiler turns into vectors of the width at hand. It must be
/// free of closures that capture loop state, since those do not inherit the target features. `LEVEL` says what it may
/// count on, for those it calls.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($isa:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($isa: $crate::Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters)]
            fn body<const LEVEL: u8>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
            fn avx512_bf16($($arg: $ty),*) $(-> $ret)? { body::<{ $crate::isa::BF16 }>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body::<{ $crate::isa::FMA }>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body::<{ $crate::isa::FMA }>($($arg),*) }
            debug_assert!($isa.is_available());
            match $isa {
                // SAFETY: an `Isa` is used only where `is_available` says that this CPU has it.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512Bf16 | $crate::Isa::Avx512Amx => unsafe { avx512_bf16($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 | $crate::Isa::Avx512Vnni => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 | $crate::Isa::Avx2Vnni => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                $crate::Isa::Neon | $crate::Isa::NeonDot | $crate::Isa::NeonI8mm => body::<{ $crate::isa::FMA }>($($arg),*),
                _ => body::<{ $crate::isa::PLAIN }>($($arg),*),
            }
        }
    };
}
pub(crate) use per_isa;
