//! CRC-32C of bytes that are not at hand any more: the checksums and lengths of consecutive pieces
//! determine the checksum of the whole.
//!
//! A CRC is the remainder of a polynomial over GF(2), so appending `n` bytes multiplies what was
//! there by `x^(8n)`: a handful of 32-bit multiplications. (As zlib's `crc32_combine`; the one in
//! `crc-fast` squares a matrix at every call, which is dear where there are millions of pieces.)

/// The Castagnoli polynomial, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1 in that order of bits.
const ONE: u32 = 1 << 31;

/// `POWERS[n]` is x to the power of 2^n: enough for any length of bytes in 64 bits.
const POWERS: [u32; 67] = powers();

const fn powers() -> [u32; 67] {
    // x itself.
    let mut powers = [ONE >> 1; 67];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
}

const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
            if a & (bit - 1) == 0 {
                break;
            }
        }
        bit >>= 1;
        b = if b & 1 == 0 {
            b >> 1
        } else {
            (b >> 1) ^ POLYNOMIAL
        };
    }
    product
}

/// The checksum of one sequence followed by another.
pub(super) fn join(first: u32, second: u32, second_bytes: u64) -> u32 {
    let mut shift = ONE;
    let mut bytes = second_bytes;
    // Three: eight bits a byte.
    for power in POWERS.iter().skip(3) {
        if bytes & 1 == 1 {
            shift = multiply(*power, shift);
        }
        bytes >>= 1;
        if bytes == 0 {
            break;
        }
    }
    multiply(shift, first) ^ second
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_pieces_are_the_whole(
            a in proptest::collection::vec(any::<u8>(), 0..600),
            b in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let joined = join(
                crc_fast::crc32_iscsi(&a),
                crc_fast::crc32_iscsi(&b),
                b.len() as u64,
            );
            prop_assert_eq!(joined, crc_fast::crc32_iscsi(&[a, b].concat()));
        }
    }

    #[test]
    fn long_pieces_too() {
        let (a, b) = (vec![7; 3], vec![9; 5_000_001]);
        let joined = join(
            crc_fast::crc32_iscsi(&a),
            crc_fast::crc32_iscsi(&b),
            5_000_001,
        );
        assert_eq!(joined, crc_fast::crc32_iscsi(&[a, b].concat()));
    }
}
