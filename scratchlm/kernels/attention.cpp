// Causal attention over packed documents, forward and backward, for processors with AVX512_BF16.
//
// The tiling is FlashAttention's (Dao 2023, arXiv:2307.08691): blocks of 64 queries by 64 keys, a running maximum and sum, and scores
// computed anew on the way back. Position t sees positions first[t] to t: blocks outside are never touched, so many short documents in a
// row cost less than one long one. Every product is of pairs of bfloat16, added up in float32. One thread computes a key-value head of a row
// from end to end, so results do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lanes.h"

namespace {

constexpr int BLOCK = 64;
constexpr int ROWS = 4;  // of a product at once

int rounded(int count, int unit) { return (count + unit - 1) / unit * unit; }

// out[m][n] (+)= sum over pairs of left[m][pair] . right[pair][n], for 4 rows and 16 * V columns.
template <int V>
void tile(const Pair* left, long row, long pair, const Pair* right, long right_row, int pairs, float* out, long out_row, bool add) {
    __m512 sums[ROWS][V];
    for (int m = 0; m < ROWS; m++)
        for (int v = 0; v < V; v++) sums[m][v] = add ? read(out + m * out_row + v * LANES) : _mm512_setzero_ps();
    for (int p = 0; p < pairs; p++) {
        __m512bh columns[V];
        for (int v = 0; v < V; v++) columns[v] = (__m512bh)_mm512_loadu_si512(right + p * right_row + v * LANES);
        for (int m = 0; m < ROWS; m++) {
            const __m512bh own = (__m512bh)_mm512_set1_epi32((int)left[m * row + p * pair]);
            for (int v = 0; v < V; v++) sums[m][v] = _mm512_dpbf16_ps(sums[m][v], own, columns[v]);
        }
    }
    for (int m = 0; m < ROWS; m++)
        for (int v = 0; v < V; v++) write(out + m * out_row + v * LANES, sums[m][v]);
}

// The same for any number of rows (a multiple of 4) and columns (a multiple of 16).
void multiply(int rows, int columns, int pairs, const Pair* left, long row, long pair, const Pair* right, long right_row, float* out,
              long out_row, bool add) {
    for (int n = 0; n < columns; n += 4 * LANES)
        for (int m = 0; m < rows; m += ROWS) {
            const Pair* own = left + m * row;
            float* here = out + m * out_row + n;
            switch (std::min(4, (columns - n) / LANES)) {
                case 1: tile<1>(own, row, pair, right + n, right_row, pairs, here, out_row, add); break;
                case 2: tile<2>(own, row, pair, right + n, right_row, pairs, here, out_row, add); break;
                case 3: tile<3>(own, row, pair, right + n, right_row, pairs, here, out_row, add); break;
                default: tile<4>(own, row, pair, right + n, right_row, pairs, here, out_row, add);
            }
        }
}

// Which of the 16 keys from `key` on a query may see that sees `first` to `last`.
__mmask16 visible(int key, int first, int last) {
    const int low = std::clamp(first - key, 0, LANES), high = std::clamp(last + 1 - key, 0, LANES);
    return (__mmask16)(((1u << high) - 1) & ~((1u << low) - 1));
}

__m512i paired(__m512 low, __m512 high) {
    const __m512i first = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
    return _mm512_or_si512(first, _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high)), 16));
}

// A head's rows of C channels, `step` apart.
struct Rows {
    const Half* at;
    long step;
    const Half* row(int t) const { return at + t * step; }
};

// Rows one after another, with zeros behind the last.
void copied(Rows rows, int T, int padded, int C, Half* to) {
    for (int t = 0; t < T; t++) std::memcpy(to + (long)t * C, rows.row(t), C * sizeof(Half));
    std::memset(to + (long)T * C, 0, (long)(padded - T) * C * sizeof(Half));
}

// [T][C] as [C / 2][T]: pairs of channels, the positions of one pair side by side.
void by_channel(const Half* rows, int padded, int C, Pair* to) {
    const __m512i steps = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(C / 2));
    for (int t = 0; t < padded; t += LANES)
        for (int c = 0; c < C / 2; c++)
            _mm512_storeu_si512(to + (long)c * padded + t, _mm512_i32gather_epi32(steps, (const int*)rows + (long)t * (C / 2) + c, 4));
}

// [T][C] as [T / 2][C]: pairs of positions.
void by_position(const Half* rows, int padded, int C, Pair* to) {
    for (int t = 0; t < padded; t += 2)
        for (int c = 0; c < C; c += LANES) {
            const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(rows + (long)t * C + c)));
            const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(rows + (long)(t + 1) * C + c)));
            _mm512_storeu_si512(to + (long)t / 2 * C + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

struct Shape {
    int B, T, H, G, C;
    int padded() const { return rounded(T, BLOCK); }
    int shared() const { return H / G; }
};

// Where the heads of a tensor [B][T][heads][C] lie; `row` and `token` are the distances between rows of the batch and between positions.
struct Tensor {
    Half* at;
    long row, token;
    Rows head(int b, int h, int C) const { return {at + b * row + (long)h * C, token}; }
};

void forward_head(const Shape& s, const int* first, Rows query, const Pair* keys, const Pair* values, float scale, Half* out, float* log_sum) {
    const int C = s.C, padded = s.padded();
    alignas(64) thread_local float scores[BLOCK * BLOCK];
    alignas(64) thread_local Half weights[BLOCK * BLOCK];
    thread_local std::vector<Half> queries;
    thread_local std::vector<float> mixed;
    queries.resize((long)BLOCK * C);
    mixed.resize((long)BLOCK * C);
    for (int begin = 0; begin < s.T; begin += BLOCK) {
        const int rows = std::min(BLOCK, s.T - begin);
        float highest[BLOCK], sum[BLOCK];
        std::fill_n(highest, BLOCK, -INFINITY);
        std::fill_n(sum, BLOCK, 0.0f);
        std::fill(mixed.begin(), mixed.end(), 0.0f);
        copied({query.row(begin), query.step}, rows, BLOCK, C, queries.data());
        for (int key = first[begin] / BLOCK * BLOCK; key < begin + rows; key += BLOCK) {
            multiply(rounded(rows, ROWS), BLOCK, C / 2, (const Pair*)queries.data(), C / 2, 1, keys + key, padded, scores, BLOCK, false);
            for (int r = 0; r < rows; r++) {
                float* own = scores + r * BLOCK;
                __m512 score[4], top = all(-INFINITY);
                for (int v = 0; v < 4; v++) {
                    const __mmask16 seen = visible(key + v * LANES, first[begin + r], begin + r);
                    score[v] = _mm512_mask_mul_ps(all(-INFINITY), seen, read(own + v * LANES), all(scale));
                    top = _mm512_max_ps(top, score[v]);
                }
                if (first[begin + r] >= key + BLOCK) {  // it sees none of these keys
                    std::memset(weights + r * BLOCK, 0, BLOCK * sizeof(Half));
                    continue;
                }
                const float higher = std::max(highest[r], _mm512_reduce_max_ps(top));
                if (higher > highest[r]) {
                    const __m512 fewer = power_of_two(all(highest[r] - higher));
                    for (int c = 0; c < C; c += LANES) {
                        float* part = mixed.data() + (long)r * C + c;
                        write(part, _mm512_mul_ps(read(part), fewer));
                    }
                    sum[r] *= _mm512_cvtss_f32(fewer);
                    highest[r] = higher;
                }
                __m512 total = _mm512_setzero_ps();
                for (int v = 0; v < 4; v++) {
                    const __m512 weight = power_of_two(_mm512_sub_ps(score[v], all(higher)));
                    total = _mm512_add_ps(total, weight);
                    write(weights + r * BLOCK + v * LANES, weight);
                }
                sum[r] += _mm512_reduce_add_ps(total);
            }
            const int seen = rounded(std::min(BLOCK, s.T - key), 2) / 2;
            multiply(rounded(rows, ROWS), C, seen, (const Pair*)weights, BLOCK / 2, 1, values + (long)key / 2 * C, C, mixed.data(), C, true);
        }
        for (int r = 0; r < rows; r++) {
            const __m512 whole = all(1.0f / sum[r]);
            for (int c = 0; c < C; c += LANES)
                write(out + (long)(begin + r) * s.H * C + c, _mm512_mul_ps(read(mixed.data() + (long)r * C + c), whole));
            log_sum[begin + r] = highest[r] + std::log2(sum[r]);
        }
    }
}

// What a key-value head needs on the way back, and what it collects from the query heads that share it.
struct Back {
    std::vector<Half> rows, queries, slopes;
    std::vector<Pair> keys_by_channel, values_by_channel, keys_by_position, queries_by_position, slopes_by_position;
    std::vector<float> key_slopes, value_slopes, query_slopes, means;
    void sized(const Shape& s) {
        const long all = (long)s.padded() * s.C;
        for (auto* each : {&rows, &queries, &slopes}) each->resize(all);
        for (auto* each : {&keys_by_channel, &values_by_channel, &keys_by_position, &queries_by_position, &slopes_by_position}) each->resize(all / 2);
        for (auto* each : {&key_slopes, &value_slopes, &query_slopes}) each->resize(all);
        means.resize(s.padded());
    }
};

void backward_block(const Shape& s, const int* first, int begin, int key, const float* log_sum, float scale, Back& back) {
    const int C = s.C, padded = s.padded(), rows = std::min(BLOCK, s.T - begin);
    alignas(64) thread_local float scores[BLOCK * BLOCK], slopes[BLOCK * BLOCK];
    alignas(64) thread_local Half score_slopes[BLOCK * BLOCK];
    alignas(64) thread_local Pair weight_pairs[BLOCK / 2 * BLOCK], slope_pairs[BLOCK / 2 * BLOCK];
    const Pair* queries = (const Pair*)(back.queries.data() + (long)begin * C);
    const Pair* out_slopes = (const Pair*)(back.slopes.data() + (long)begin * C);
    multiply(rounded(rows, ROWS), BLOCK, C / 2, queries, C / 2, 1, back.keys_by_channel.data() + key, padded, scores, BLOCK, false);
    multiply(rounded(rows, ROWS), BLOCK, C / 2, out_slopes, C / 2, 1, back.values_by_channel.data() + key, padded, slopes, BLOCK, false);
    const float steepness = scale * 0.6931471805599453f;  // scores are logarithms to base two
    const int pairs = rounded(rows, ROWS) / 2;
    for (int pair = 0; pair < pairs; pair++)
        for (int v = 0; v < 4; v++) {
            __m512 weight[2], slope[2];
            for (int half = 0; half < 2; half++) {
                const int r = 2 * pair + half, t = begin + r;
                const __mmask16 seen = r < rows ? visible(key + v * LANES, first[t], t) : (__mmask16)0;
                const __m512 score = read(scores + r * BLOCK + v * LANES);
                const __m512 whole = all(seen ? log_sum[t] : 0.0f);
                weight[half] = _mm512_maskz_mov_ps(seen, power_of_two(_mm512_fmsub_ps(score, all(scale), whole)));
                const __m512 apart = _mm512_sub_ps(read(slopes + r * BLOCK + v * LANES), all(back.means[t]));
                slope[half] = _mm512_maskz_mul_ps(seen, _mm512_mul_ps(weight[half], apart), all(steepness));
                write(score_slopes + r * BLOCK + v * LANES, slope[half]);
            }
            _mm512_storeu_si512(weight_pairs + pair * BLOCK + v * LANES, paired(weight[0], weight[1]));
            _mm512_storeu_si512(slope_pairs + pair * BLOCK + v * LANES, paired(slope[0], slope[1]));
        }
    float* key_slopes = back.key_slopes.data() + (long)key * C;
    float* value_slopes = back.value_slopes.data() + (long)key * C;
    multiply(BLOCK, C, pairs, weight_pairs, 1, BLOCK, back.slopes_by_position.data() + (long)begin / 2 * C, C, value_slopes, C, true);
    multiply(BLOCK, C, pairs, slope_pairs, 1, BLOCK, back.queries_by_position.data() + (long)begin / 2 * C, C, key_slopes, C, true);
    multiply(rounded(rows, ROWS), C, BLOCK / 2, (const Pair*)score_slopes, BLOCK / 2, 1, back.keys_by_position.data() + (long)key / 2 * C, C,
             back.query_slopes.data() + (long)begin * C, C, true);
}

void written(const float* rows, int T, int C, Half* to, long step) {
    for (int t = 0; t < T; t++)
        for (int c = 0; c < C; c += LANES) write(to + t * step + c, read(rows + (long)t * C + c));
}

}  // namespace

extern "C" {

// query, out: [B][T][H][C]; key, value: [B][T][G][C]; first: [B][T]; log_sum: [B][H][T], to base two. C is a multiple of 16.
// Inputs may be views: `*_row` and `*_token` say how far apart rows of the batch and positions are. `out` is contiguous.
void attention_forward(int B, int T, int H, int G, int C, Half* query, long query_row, long query_token, Half* key, long key_row, long key_token,
                       Half* value, long value_row, long value_token, const int* first, float scale, Half* out, float* log_sum, int threads) {
    const Shape s{B, T, H, G, C};
    const Tensor q{query, query_row, query_token}, k{key, key_row, key_token}, v{value, value_row, value_token};
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int task = 0; task < B * G; task++) {
        const int b = task / G, g = task % G;
        thread_local std::vector<Half> rows;
        thread_local std::vector<Pair> keys, values;
        rows.resize((long)s.padded() * C);
        keys.resize((long)s.padded() * C / 2);
        values.resize((long)s.padded() * C / 2);
        copied(k.head(b, g, C), T, s.padded(), C, rows.data());
        by_channel(rows.data(), s.padded(), C, keys.data());
        copied(v.head(b, g, C), T, s.padded(), C, rows.data());
        by_position(rows.data(), s.padded(), C, values.data());
        for (int h = g * s.shared(); h < (g + 1) * s.shared(); h++)
            forward_head(s, first + (long)b * T, q.head(b, h, C), keys.data(), values.data(), scale, out + ((long)b * T * H + h) * C,
                         log_sum + ((long)b * H + h) * T);
    }
}

// `slope` is the gradient of out; the gradients of query, key and value are written, contiguous as their tensors are.
void attention_backward(int B, int T, int H, int G, int C, Half* query, long query_row, long query_token, Half* key, long key_row, long key_token,
                        Half* value, long value_row, long value_token, const int* first, float scale, Half* out, float* log_sum, Half* slope,
                        Half* query_slope, Half* key_slope, Half* value_slope, int threads) {
    const Shape s{B, T, H, G, C};
    const Tensor q{query, query_row, query_token}, k{key, key_row, key_token}, v{value, value_row, value_token};
    const int padded = s.padded();
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int task = 0; task < B * G; task++) {
        const int b = task / G, g = task % G;
        const int* sees = first + (long)b * T;
        thread_local Back back;
        back.sized(s);
        copied(v.head(b, g, C), T, padded, C, back.rows.data());
        by_channel(back.rows.data(), padded, C, back.values_by_channel.data());
        copied(k.head(b, g, C), T, padded, C, back.rows.data());
        by_channel(back.rows.data(), padded, C, back.keys_by_channel.data());
        by_position(back.rows.data(), padded, C, back.keys_by_position.data());
        std::fill(back.key_slopes.begin(), back.key_slopes.end(), 0.0f);
        std::fill(back.value_slopes.begin(), back.value_slopes.end(), 0.0f);
        for (int h = g * s.shared(); h < (g + 1) * s.shared(); h++) {
            const Half* mixed = out + ((long)b * T * H + h) * C;
            const Half* above = slope + ((long)b * T * H + h) * C;
            copied(q.head(b, h, C), T, padded, C, back.queries.data());
            by_position(back.queries.data(), padded, C, back.queries_by_position.data());
            copied({above, (long)H * C}, T, padded, C, back.slopes.data());
            by_position(back.slopes.data(), padded, C, back.slopes_by_position.data());
            for (int t = 0; t < T; t++) {
                __m512 sum = _mm512_setzero_ps();
                for (int c = 0; c < C; c += LANES) sum = _mm512_fmadd_ps(read(mixed + (long)t * H * C + c), read(above + (long)t * H * C + c), sum);
                back.means[t] = _mm512_reduce_add_ps(sum);
            }
            std::fill(back.query_slopes.begin(), back.query_slopes.end(), 0.0f);
            for (int begin = 0; begin < T; begin += BLOCK)
                for (int block = sees[begin] / BLOCK * BLOCK; block <= begin; block += BLOCK)
                    backward_block(s, sees, begin, block, log_sum + ((long)b * H + h) * T, scale, back);
            written(back.query_slopes.data(), T, C, query_slope + ((long)b * T * H + h) * C, (long)H * C);
        }
        written(back.key_slopes.data(), T, C, key_slope + ((long)b * T * G + g) * C, (long)G * C);
        written(back.value_slopes.data(), T, C, value_slope + ((long)b * T * G + g) * C, (long)G * C);
    }
}
}
