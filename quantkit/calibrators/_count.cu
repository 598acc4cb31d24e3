/* Counts float32 tensors that lie on the GPU: extremes and sums of every channel of every sample, histograms, and the rows
   and products that weights are rounded with.

   Compiled by NVRTC at run time for the GPU that is there; see count_on_gpu.py and moments_on_gpu.py, which launch it.
   A value's bin is the one that the kernel for the CPU gives it: division is rounded as IEEE 754 says. */

typedef unsigned long long u64;

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

#define BINS 2048
#define SIDE (BINS + 1)
#define BOTH (2 * SIDE)

__device__ __forceinline__ float cut(float x, float low, float high)
{
    float v = x < low ? low : x; /* NaN stays */
    return v > high ? high : v;
}

/* NaN stays in either, as numpy's minimum and maximum have it. */
__device__ __forceinline__ float least(float a, float b) { return (b < a || b != b) ? b : a; }
__device__ __forceinline__ float most(float a, float b) { return (b > a || b != b) ? b : a; }

/* Values of one sample are (rows, channels, inner); `out` gets (samples, channels) each. A block for a channel of a
   sample: grid (channels, samples). */
extern "C" __global__ void extremes_of_planes(const float *x, long long per_sample, int channels, long long inner,
                                              float floor, float ceiling, float *low, float *high, double *sum)
{
    __shared__ float lows[256], highs[256];
    __shared__ double sums[256];
    long long rows = per_sample / (channels * inner);
    const float *own = x + blockIdx.y * per_sample + blockIdx.x * inner;
    float l = INFINITY, h = -INFINITY;
    double s = 0;
    for (long long row = 0; row < rows; row++)
        for (long long i = threadIdx.x; i < inner; i += blockDim.x) {
            float v = cut(own[row * channels * inner + i], floor, ceiling);
            l = least(l, v);
            h = most(h, v);
            s += v;
        }
    lows[threadIdx.x] = l;
    highs[threadIdx.x] = h;
    sums[threadIdx.x] = s;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            lows[threadIdx.x] = least(lows[threadIdx.x], lows[threadIdx.x + half]);
            highs[threadIdx.x] = most(highs[threadIdx.x], highs[threadIdx.x + half]);
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        long long at = (long long)blockIdx.y * channels + blockIdx.x;
        low[at] = lows[0];
        high[at] = highs[0];
        sum[at] = sums[0];
    }
}

/* The same for channels that lie last (inner = 1): 32 channels a block, 8 rows at a time. */
extern "C" __global__ void extremes_of_rows(const float *x, long long per_sample, int channels, float floor,
                                            float ceiling, float *low, float *high, double *sum)
{
    __shared__ float lows[8][32], highs[8][32];
    __shared__ double sums[8][32];
    int channel = blockIdx.x * 32 + threadIdx.x;
    long long rows = per_sample / channels;
    const float *own = x + blockIdx.y * per_sample;
    float l = INFINITY, h = -INFINITY;
    double s = 0;
    if (channel < channels)
        for (long long row = threadIdx.y; row < rows; row += 8) {
            float v = cut(own[row * channels + channel], floor, ceiling);
            l = least(l, v);
            h = most(h, v);
            s += v;
        }
    lows[threadIdx.y][threadIdx.x] = l;
    highs[threadIdx.y][threadIdx.x] = h;
    sums[threadIdx.y][threadIdx.x] = s;
    __syncthreads();
    if (threadIdx.y == 0 && channel < channels) {
        for (int i = 1; i < 8; i++) {
            l = least(l, lows[i][threadIdx.x]);
            h = most(h, highs[i][threadIdx.x]);
            s += sums[i][threadIdx.x];
        }
        long long at = (long long)blockIdx.y * channels + channel;
        low[at] = l;
        high[at] = h;
        sum[at] = s;
    }
}

/* Adds n values to a histogram of both sides. Zeros, which a ReLU leaves many of, are counted in a register. */
extern "C" __global__ void histogram(const float *x, long long n, float width, float floor, float ceiling, u64 *counts)
{
    __shared__ unsigned int own[BOTH];
    for (int i = threadIdx.x; i < BOTH; i += blockDim.x)
        own[i] = 0;
    __syncthreads();
    unsigned int zeros = 0;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        float v = cut(x[i], floor, ceiling);
        int bin = (int)fabsf(__fdiv_rn(v, width));
        if (bin > BINS)
            bin = BINS; /* never: the width holds every value */
        bin += v < 0 ? SIDE : 0;
        if (bin == 0)
            zeros++;
        else
            atomicAdd(own + bin, 1u);
    }
    if (zeros)
        atomicAdd(own, zeros);
    __syncthreads();
    for (int i = threadIdx.x; i < BOTH; i += blockDim.x)
        if (own[i])
            atomicAdd(counts + i, (u64)own[i]);
}

/* Neighbouring bins become one, as often as `times`; one block. */
extern "C" __global__ void widen(u64 *counts, int times)
{
    __shared__ u64 own[BOTH];
    for (int i = threadIdx.x; i < BOTH; i += blockDim.x)
        own[i] = counts[i];
    for (; times > 0; times--) {
        __syncthreads();
        u64 wide[(BOTH + 255) / 256];
        for (int i = threadIdx.x, k = 0; i < BOTH; i += blockDim.x, k++) {
            int side = i < SIDE ? 0 : SIDE, bin = i - side;
            wide[k] = bin < BINS / 2 ? own[side + 2 * bin] + own[side + 2 * bin + 1]
                                     : bin == BINS / 2 ? own[side + BINS] : 0;
        }
        __syncthreads();
        for (int i = threadIdx.x, k = 0; i < BOTH; i += blockDim.x, k++)
            own[i] = wide[k];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < BOTH; i += blockDim.x)
        counts[i] = own[i];
}

/* Rows of a layer's input in whole units: value d of row r is x[base[r] + d / kernel * step + under[r * kernel + d % kernel]],
   or 0 where `under` is negative. */
extern "C" __global__ void take_rows(const float *x, const long long *base, const int *under, int rows, int width,
                                     int kernel, long long step, float floor, float ceiling, float unit, float largest,
                                     float *out, int out_width)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)rows * width)
        return;
    int row = i / width, d = i % width;
    int place = under[row * kernel + d % kernel];
    float v = place < 0 ? 0.0f : cut(x[base[row] + d / kernel * step + place], floor, ceiling);
    v = rintf(__fdiv_rn(v, unit));
    v = v < -largest ? -largest : v > largest ? largest : v;
    out[(long long)row * out_width + d] = v;
}

#define TILE 64
#define DEPTH 16

/* products[p] += rowsᵀ · rows for part p of at most 256 rows, whose sums float32 holds exactly. rows is (R, parts · each).
   A block of 16 × 16 threads makes a tile of 64 × 64: grid (tiles, tiles, parts). Sums of columns go to `totals`. */
extern "C" __global__ void add_products(const float *rows, int count, int parts, int each, double *products,
                                        double *totals)
{
    __shared__ float left[DEPTH][TILE], right[DEPTH][TILE];
    int part = blockIdx.z, first = blockIdx.y * TILE, second = blockIdx.x * TILE, id = threadIdx.y * 16 + threadIdx.x;
    long long width = (long long)parts * each;
    float sums[4][4] = {};
    float total[4] = {};
    for (int start = 0; start < count; start += DEPTH) {
        for (int i = id; i < DEPTH * TILE; i += 256) {
            int row = start + i / TILE, column = i % TILE;
            const float *own = rows + row * width + (long long)part * each;
            left[i / TILE][column] = row < count && first + column < each ? own[first + column] : 0;
            right[i / TILE][column] = row < count && second + column < each ? own[second + column] : 0;
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; k++)
            for (int a = 0; a < 4; a++) {
                float value = left[k][threadIdx.y * 4 + a];
                total[a] += value;
                for (int b = 0; b < 4; b++)
                    sums[a][b] += value * right[k][threadIdx.x * 4 + b];
            }
        __syncthreads();
    }
    for (int a = 0; a < 4; a++) {
        int i = first + threadIdx.y * 4 + a;
        if (i >= each)
            continue;
        if (blockIdx.x == 0 && threadIdx.x == 0)
            totals[(long long)part * each + i] += total[a];
        for (int b = 0; b < 4; b++) {
            int j = second + threadIdx.x * 4 + b;
            if (j < each)
                products[((long long)part * each + i) * each + j] += sums[a][b];
        }
    }
}
