//! New inputs from old ones.

/// A generator of random numbers that is small and fast: xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, or 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }
}

/// Pieces with a meaning for one target or another.
const WORDS: [&[u8]; 58] = [
    b"\"__metadata__\":{",
    b"\"kind\":\"image\"",
    b"\"dtype\":\"F16\"",
    b"\"F4\"",
    b"\"shape\":[",
    b"[1,1,2,3]",
    b"\"data_offsets\":[0,6]",
    b"18446744073709551615",
    b"9223372036854775808",
    b"4294967296",
    b"-1",
    b"1e400",
    b"0.5",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"}}",
    b",",
    b"\"\"",
    b"\\u0000",
    b"\\ud800",
    b"\"prompt\":\"a\"",
    b"\"seed\":7.0",
    b"\"id\":1e2",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\xff",
    b"\0",
    b"\n",
    b"\r\n",
    b"{id}",
    b"%04d",
    b"%%",
    b"../",
    b"((",
    b":1.5)",
    b" BREAK ",
    b"\x01\0\0\0\0\0\0\0",
    b"        ",
    b"\x1e",
    b"<|endoftext|>",
    b"<|startoftext|>",
    b"</w>",
    b"e</w>",
    b"\nt he\n",
    b"\"added_tokens_decoder\":{",
    b"\"content\":\"!\"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 302 Found\r\n",
    b"HTTP/1.1 206 Partial Content\r\n",
    b"Content-Length: 2\r\n",
    b"Content-Range: bytes 1-2/3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Location: https://cdn.example/x\r\n",
    b"\r\n\r\n",
    b"\"type\":\"file\"",
    b"\"path\":\"a.json\"",
];

/// Changes an input a little, a few times over. `other` lends pieces of itself. Never longer than `longest`.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random, longest: usize) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(12) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.number() as u8,
            2 if at < input.len() => {
                let step = random.number() as u8 % 5;
                input[at] = input[at].wrapping_add(step).wrapping_sub(2);
            }
            3 => input.truncate(at),
            4 => {
                let end = (at + 1 + random.below(8)).min(input.len());
                input.drain(at..end);
            }
            5 => insert(input, at, &[random.number() as u8]),
            6 | 7 => insert(input, at, WORDS[random.below(WORDS.len())]),
            8 => {
                let word = WORDS[random.below(WORDS.len())];
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
            9 => {
                let from = random.below(other.len() + 1);
                let end = (from + 1 + random.below(64)).min(other.len());
                insert(input, at, &other[from..end]);
            }
            10 => {
                let end = (at + 1 + random.below(16)).min(input.len());
                let again = input[at..end].to_vec();
                for _ in 0..=random.below(4) {
                    insert(input, at, &again);
                }
            }
            // The length at a frame's begin, so that the header behind it is read.
            _ => fit_length(input),
        }
    }
    if random.below(2) == 0 {
        fit_length(input);
    }
    input.truncate(longest);
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Makes the first eight bytes the length of the JSON behind them, if there is some.
fn fit_length(input: &mut [u8]) {
    if input.get(8) == Some(&b'{') {
        let mut depth = 0_i32;
        let mut quoted = false;
        let mut escaped = false;
        let end = input[8..].iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' if !quoted => depth += 1,
                b'}' if !quoted => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        if let Some(end) = end {
            let length = (end as u64 + 1).to_le_bytes();
            input[..8].copy_from_slice(&length);
        }
    }
}
