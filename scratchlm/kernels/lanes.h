// Sixteen numbers at a time, for processors with AVX512_BF16: what all kernels share.

#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

using Half = std::uint16_t;  // a bfloat16
using Pair = std::uint32_t;  // two of them, the first one in the low half

constexpr int LANES = 16;

inline __m512 all(float value) { return _mm512_set1_ps(value); }

inline __m512 read(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 read(const Half* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}

inline void write(float* to, __m512 value) { _mm512_storeu_ps(to, value); }
inline void write(Half* to, __m512 value) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(value)); }

// 2 to the power of x, to some 1e-7 of it: x is split into a whole part, which becomes the exponent, and the rest within half of zero.
inline __m512 power_of_two(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 value = all(1.5403530393e-4f);  // ln(2)^n / n!, the highest first
    for (const float factor : {1.3333558146e-3f, 9.6181291076e-3f, 5.5504108664e-2f, 2.4022650696e-1f, 6.9314718056e-1f, 1.0f})
        value = _mm512_fmadd_ps(value, rest, all(factor));
    return _mm512_scalef_ps(value, whole);
}

}  // namespace
