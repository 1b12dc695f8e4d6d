// What stands between matrix products, each in one pass over memory: norms, rotations, gates and the loss of many scores.
//
// Numbers come as float32 or bfloat16, are computed in float32 and leave rounded once. Rows are cut into parts that do not depend on the
// number of threads, and sums over rows are made part by part, so neither do results.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lanes.h"

namespace {

constexpr int PARTS = 64;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

template <class Act>
void for_parts(long rows, int threads, Act act) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < PARTS; part++) act(part, rows * part / PARTS, rows * (part + 1) / PARTS);
}

float mean_of(const __m512 sum, int D) { return _mm512_reduce_add_ps(sum) / D; }

// Mean (zero unless `centred`) and one over the root of the mean square distance from it.
template <class In>
void measured(const In* x, int D, float eps, bool centred, float* mean, float* scale) {
    __m512 sum = all(0), squares = all(0);
    if (centred) {
        for (int d = 0; d < D; d += LANES) sum = _mm512_add_ps(sum, read(x + d));
    }
    *mean = centred ? mean_of(sum, D) : 0.0f;
    const __m512 middle = all(*mean);
    for (int d = 0; d < D; d += LANES) {
        const __m512 apart = _mm512_sub_ps(read(x + d), middle);
        squares = _mm512_fmadd_ps(apart, apart, squares);
    }
    *scale = 1.0f / std::sqrt(mean_of(squares, D) + eps);
}

template <class In>
void norm_rows(long N, int D, const In* x, const float* gain, const float* bias, float eps, bool centred, Half* out, float* mean, float* scale,
               int threads) {
    for_parts(N, threads, [=](int, long first, long last) {
        for (long n = first; n < last; n++) {
            measured(x + n * D, D, eps, centred, mean + n, scale + n);
            for (int d = 0; d < D; d += LANES) {
                __m512 value = _mm512_mul_ps(_mm512_sub_ps(read(x + n * D + d), all(mean[n])), all(scale[n]));
                if (gain) value = _mm512_mul_ps(value, read(gain + d));
                if (bias) value = _mm512_add_ps(value, read(bias + d));
                write(out + n * D + d, value);
            }
        }
    });
}

// The slope of x, given that of what the norm made of it: both less their parts along the row and, where it was centred, along ones.
template <class In, class Slope>
void norm_slope(const In* x, int D, const float* gain, float mean, float scale, bool centred, const Slope* slope, In* x_slope) {
    __m512 along = all(0), sum = all(0);
    for (int d = 0; d < D; d += LANES) {
        __m512 own = read(slope + d);
        if (gain) own = _mm512_mul_ps(own, read(gain + d));
        const __m512 value = _mm512_mul_ps(_mm512_sub_ps(read(x + d), all(mean)), all(scale));
        along = _mm512_fmadd_ps(own, value, along);
        sum = _mm512_add_ps(sum, own);
    }
    const __m512 parallel = all(mean_of(along, D)), flat = all(centred ? mean_of(sum, D) : 0.0f);
    for (int d = 0; d < D; d += LANES) {
        __m512 own = read(slope + d);
        if (gain) own = _mm512_mul_ps(own, read(gain + d));
        const __m512 value = _mm512_mul_ps(_mm512_sub_ps(read(x + d), all(mean)), all(scale));
        own = _mm512_sub_ps(_mm512_sub_ps(own, flat), _mm512_mul_ps(value, parallel));
        write(x_slope + d, _mm512_mul_ps(own, all(scale)));
    }
}

void added(float* sums, __m512 more) { write(sums, _mm512_add_ps(read(sums), more)); }

void sum_of_parts(const float* parts, int D, float* out) {
    for (int d = 0; d < D; d += LANES) {
        __m512 sum = all(0);
        for (int part = 0; part < PARTS; part++) sum = _mm512_add_ps(sum, read(parts + (long)part * D + d));
        write(out + d, sum);
    }
}

template <class In>
void norm_rows_back(long N, int D, const In* x, const float* gain, const float* mean, const float* scale, bool centred, const Half* slope,
                    In* x_slope, float* gain_parts, float* bias_parts, int threads) {
    for_parts(N, threads, [=](int part, long first, long last) {
        if (gain_parts) std::fill_n(gain_parts + (long)part * D, D, 0.0f);
        if (bias_parts) std::fill_n(bias_parts + (long)part * D, D, 0.0f);
        for (long n = first; n < last; n++) {
            const In* row = x + n * D;
            norm_slope(row, D, gain, mean[n], scale[n], centred, slope + n * D, x_slope + n * D);
            for (int d = 0; d < D && (gain_parts || bias_parts); d += LANES) {
                const __m512 own = read(slope + n * D + d);
                if (gain_parts)
                    added(gain_parts + (long)part * D + d, _mm512_mul_ps(own, _mm512_mul_ps(_mm512_sub_ps(read(row + d), all(mean[n])), all(scale[n]))));
                if (bias_parts) added(bias_parts + (long)part * D + d, own);
            }
        }
    });
}

__m512 sigmoid(__m512 x) { return _mm512_div_ps(all(1), _mm512_add_ps(all(1), power_of_two(_mm512_mul_ps(x, all(-LOG2_E))))); }

}  // namespace

extern "C" {

// x: [N][D], D a multiple of 16; gain and bias may be null. Mean and scale of each row are kept for the way back.
void norm_forward(long N, int D, const void* x, int is_half, const float* gain, const float* bias, float eps, int centred, Half* out, float* mean,
                  float* scale, int threads) {
    if (is_half)
        norm_rows(N, D, (const Half*)x, gain, bias, eps, centred, out, mean, scale, threads);
    else
        norm_rows(N, D, (const float*)x, gain, bias, eps, centred, out, mean, scale, threads);
}

// gain_slope and bias_slope hold [64][D] parts each, of which the first row becomes the sum; null where there is none.
void norm_backward(long N, int D, const void* x, int is_half, const float* gain, const float* mean, const float* scale, int centred,
                   const Half* slope, void* x_slope, float* gain_slope, float* bias_slope, int threads) {
    if (is_half)
        norm_rows_back(N, D, (const Half*)x, gain, mean, scale, centred, slope, (Half*)x_slope, gain_slope, bias_slope, threads);
    else
        norm_rows_back(N, D, (const float*)x, gain, mean, scale, centred, slope, (float*)x_slope, gain_slope, bias_slope, threads);
    if (gain_slope) sum_of_parts(gain_slope, D, gain_slope);
    if (bias_slope) sum_of_parts(bias_slope, D, bias_slope);
}

// Heads of a position, normalised where `mode` says (0: not, 1: root mean square, 2: mean too), then turned by the position's angles.
// x, out: [N][H][C], C a multiple of 32; cosine, sine: [N][C], the sine signed as the half that comes in needs it.
void turn_forward(long N, int H, int C, const Half* x, const float* gain, float eps, int mode, const float* cosine, const float* sine, Half* out,
                  float* mean, float* scale, int threads) {
    for_parts(N, threads, [=](int, long first, long last) {
        const int half = C / 2;
        for (long n = first; n < last; n++)
            for (int h = 0; h < H; h++) {
                const long head = n * H + h;
                const Half* own = x + head * C;
                mean[head] = 0.0f, scale[head] = 1.0f;
                if (mode) measured(own, C, eps, mode == 2, mean + head, scale + head);
                const __m512 middle = all(mean[head]), size = all(scale[head]);
                for (int c = 0; c < half; c += LANES) {
                    __m512 low = _mm512_mul_ps(_mm512_sub_ps(read(own + c), middle), size);
                    __m512 high = _mm512_mul_ps(_mm512_sub_ps(read(own + c + half), middle), size);
                    if (gain) low = _mm512_mul_ps(low, read(gain + c)), high = _mm512_mul_ps(high, read(gain + c + half));
                    write(out + head * C + c, _mm512_fmadd_ps(high, read(sine + n * C + c), _mm512_mul_ps(low, read(cosine + n * C + c))));
                    write(out + head * C + c + half,
                          _mm512_fmadd_ps(low, read(sine + n * C + c + half), _mm512_mul_ps(high, read(cosine + n * C + c + half))));
                }
            }
    });
}

void turn_backward(long N, int H, int C, const Half* x, const float* gain, int mode, const float* cosine, const float* sine, const float* mean,
                   const float* scale, const Half* slope, Half* x_slope, float* gain_slope, int threads) {
    for_parts(N, threads, [=](int part, long first, long last) {
        const int half = C / 2;
        alignas(64) float turned[1024];
        if (gain_slope) std::fill_n(gain_slope + (long)part * C, C, 0.0f);
        for (long n = first; n < last; n++)
            for (int h = 0; h < H; h++) {
                const long head = n * H + h;
                const Half *own = x + head * C, *above = slope + head * C;
                for (int c = 0; c < half; c += LANES) {  // turned back
                    const __m512 low = read(above + c), high = read(above + c + half);
                    write(turned + c, _mm512_fmadd_ps(high, read(sine + n * C + c + half), _mm512_mul_ps(low, read(cosine + n * C + c))));
                    write(turned + c + half, _mm512_fmadd_ps(low, read(sine + n * C + c), _mm512_mul_ps(high, read(cosine + n * C + c + half))));
                }
                if (gain_slope)
                    for (int c = 0; c < C; c += LANES) {
                        const __m512 value = _mm512_mul_ps(_mm512_sub_ps(read(own + c), all(mean[head])), all(scale[head]));
                        added(gain_slope + (long)part * C + c, _mm512_mul_ps(read(turned + c), value));
                    }
                if (mode)
                    norm_slope(own, C, gain, mean[head], scale[head], mode == 2, turned, x_slope + head * C);
                else
                    for (int c = 0; c < C; c += LANES) write(x_slope + head * C + c, read(turned + c));
            }
    });
    if (gain_slope) sum_of_parts(gain_slope, C, gain_slope);
}

// silu(gate) * up
void gate_forward(long N, const Half* gate, const Half* up, Half* out, int threads) {
    for_parts(N / LANES, threads, [=](int, long first, long last) {
        for (long n = first * LANES; n < last * LANES; n += LANES) {
            const __m512 g = read(gate + n);
            write(out + n, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid(g)), read(up + n)));
        }
    });
}

void gate_backward(long N, const Half* gate, const Half* up, const Half* slope, Half* gate_slope, Half* up_slope, int threads) {
    for_parts(N / LANES, threads, [=](int, long first, long last) {
        for (long n = first * LANES; n < last * LANES; n += LANES) {
            const __m512 g = read(gate + n), own = read(slope + n), open = sigmoid(g);
            write(up_slope + n, _mm512_mul_ps(own, _mm512_mul_ps(g, open)));
            const __m512 steepness = _mm512_fmadd_ps(_mm512_mul_ps(g, open), _mm512_sub_ps(all(1), open), open);
            write(gate_slope + n, _mm512_mul_ps(_mm512_mul_ps(own, read(up + n)), steepness));
        }
    });
}

// max(x, 0) squared
void square_forward(long N, const Half* x, Half* out, int threads) {
    for_parts(N / LANES, threads, [=](int, long first, long last) {
        for (long n = first * LANES; n < last * LANES; n += LANES) {
            const __m512 value = _mm512_max_ps(all(0), read(x + n));  // the second one where either is no number
            write(out + n, _mm512_mul_ps(value, value));
        }
    });
}

void square_backward(long N, const Half* x, const Half* slope, Half* x_slope, int threads) {
    for_parts(N / LANES, threads, [=](int, long first, long last) {
        for (long n = first * LANES; n < last * LANES; n += LANES) {
            const __m512 value = _mm512_max_ps(all(0), read(x + n));
            write(x_slope + n, _mm512_mul_ps(_mm512_mul_ps(all(2), value), read(slope + n)));
        }
    });
}

// Negative log-likelihoods of targets under scores [N][V], times their weights; `slope` is their derivative by the scores. V need not be a
// multiple of anything. A target outside the vocabulary gives a loss that is not a number.
void likelihood(long N, int V, const Half* scores, const std::int64_t* targets, const float* weights, float* losses, Half* slope, int threads) {
    for_parts(N, threads, [=](int, long first, long last) {
        const int whole = V / LANES * LANES;
        const __mmask16 rest = (__mmask16)((1u << (V - whole)) - 1);
        for (long n = first; n < last; n++) {
            const Half* own = scores + n * V;
            Half* steep = slope + n * V;
            const auto tail = [=](const Half* at) {  // the last few, and minus infinity behind them
                const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(rest, at)), 16);
                return _mm512_mask_mov_ps(all(-INFINITY), rest, _mm512_castsi512_ps(wide));
            };
            __m512 top = rest ? tail(own + whole) : all(-INFINITY);
            for (int v = 0; v < whole; v += LANES) top = _mm512_max_ps(top, read(own + v));
            const float highest = _mm512_reduce_max_ps(top);
            const __m512 shift = all(highest * LOG2_E);
            __m512 sum = all(0);
            for (int v = 0; v < whole; v += LANES) sum = _mm512_add_ps(sum, power_of_two(_mm512_fmsub_ps(read(own + v), all(LOG2_E), shift)));
            if (rest) sum = _mm512_add_ps(sum, power_of_two(_mm512_fmsub_ps(tail(own + whole), all(LOG2_E), shift)));
            const float total = _mm512_reduce_add_ps(sum);
            const std::int64_t target = targets[n];
            if (target < 0 || target >= V) {
                losses[n] = NAN;
                continue;
            }
            const float score = _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32((int)own[target] << 16)));
            losses[n] = weights[n] * (highest + LN_2 * std::log2(total) - score);
            const __m512 share = all(weights[n] / total);
            for (int v = 0; v < whole; v += LANES)
                write(steep + v, _mm512_mul_ps(power_of_two(_mm512_fmsub_ps(read(own + v), all(LOG2_E), shift)), share));
            if (rest) {
                const __m512 value = _mm512_mul_ps(power_of_two(_mm512_fmsub_ps(tail(own + whole), all(LOG2_E), shift)), share);
                _mm256_mask_storeu_epi16(steep + whole, rest, (__m256i)_mm512_cvtneps_pbh(value));
            }
            const float likely = weights[n] / total * _mm512_cvtss_f32(power_of_two(all((score - highest) * LOG2_E)));
            alignas(64) Half rounded[LANES];
            write(rounded, all(likely - weights[n]));
            steep[target] = rounded[0];
        }
    });
}
}
