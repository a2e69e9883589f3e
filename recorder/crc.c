/*
 * CRC-32 (ISO 3309) of short pieces, as zlib computes it, several times as fast where the processor multiplies without carries.
 *
 * "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Gopal et al., Intel, 2009), for a bit-reflected
 * polynomial: the message is folded 64, then 16 bytes at a time onto 128 bits that have the same remainder, these onto 64, and
 * Barrett's reduction gives the remainder. The constants are powers of x modulo the polynomial, bit-reflected. zlib does the rest.
 */

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("pclmul,sse4.1"))) static __m128i fold(__m128i from, __m128i by, const void *onto)
{
    __m128i low = _mm_clmulepi64_si128(from, by, 0x00), high = _mm_clmulepi64_si128(from, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), _mm_loadu_si128(onto));
}

/* `size` is a multiple of 16, and 64 at least; `crc` without zlib's inversion. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t folded(uint32_t crc, const unsigned char *at, size_t size)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i by_4 = _mm_set_epi64x(0, 0x163cd6124), barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low_words = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i lane[4], one;

    for (int n = 0; n < 4; n++)
        lane[n] = _mm_loadu_si128((const __m128i *)at + n);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128((int)crc));
    for (at += 64, size -= 64; size >= 64; at += 64, size -= 64)
        for (int n = 0; n < 4; n++)
            lane[n] = fold(lane[n], by_64, (const __m128i *)at + n);
    one = fold(lane[0], by_16, &lane[1]);
    one = fold(one, by_16, &lane[2]);
    one = fold(one, by_16, &lane[3]);
    for (; size; at += 16, size -= 16)
        one = fold(one, by_16, at);
    /* 128 bits to 96, to 64, to 32. */
    one = _mm_xor_si128(_mm_clmulepi64_si128(one, by_16, 0x10), _mm_srli_si128(one, 8));
    one = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(one, low_words), by_4, 0x00), _mm_srli_si128(one, 4));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(one, low_words), barrett, 0x10);
    one = _mm_xor_si128(one, _mm_clmulepi64_si128(_mm_and_si128(quotient, low_words), barrett, 0x00));
    return (uint32_t)_mm_extract_epi32(one, 1);
}

static int folds = -1;
#endif

/* CRC-32 of `size` bytes, going on from `crc`. */
uint32_t hg_crc(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *at = data;

#if defined(__x86_64__)
    if (folds < 0)
        folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    if (folds && size >= 64) {
        crc = ~folded(~crc, at, size & ~(size_t)15);
        at += size & ~(size_t)15;
        size &= 15;
    }
#endif
    return size ? (uint32_t)crc32_z(crc, at, size) : crc;
}
