/* Counts float32 values into a histogram, and takes each channel's minimum, maximum and mean, in one sweep of the memory.

   Called by count.py, which holds the same algorithm in NumPy and says what each argument means. A chunk of values stays
   in the first-level cache for three short loops: extremes and sums, bin indices (both vectorised), and the counting
   itself, into four interleaved copies of the histogram so that a run of equal values (the zeros that a ReLU leaves) does
   not wait for its own last store. Built against the stable ABI: one binary serves every Python from 3.10. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BINS 2048
#define SIDE (BINS + 1)   /* one side of the histogram: its bins and the top edge */
#define BOTH (2 * SIDE)
#define CHUNK 4096        /* 16 KB of values and 8 KB of indices */
#define COPIES 4
#define FEW 8192          /* below this, clearing and summing the copies would cost more than it saves */
#define MANY (1u << 31)   /* the copies count in 32 bits and are emptied before they could overflow */
#define LARGEST_MEAN 0x1p46 /* in units; 2^17 images of it still fit in 64 bits */
#define LANES 8
#define LINE 16           /* values in a cache line */

/* One object file holds code for AVX-512, AVX2 and any x86-64; the loader picks. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

typedef float floats __attribute__((vector_size(LANES * 4)));
typedef int32_t masks __attribute__((vector_size(LANES * 4)));

typedef struct {
    int64_t *counts;           /* positive side, then negative */
    float width;
    uint32_t (*copies)[BOTH];  /* NULL for a small tensor, which is counted directly */
    uint32_t in_copies;
} histogram;

#define PICK(mask, a, b) ((floats)(((masks)(a) & (mask)) | ((masks)(b) & ~(mask))))

/* Minimum, maximum and sum of n values. NaN and Inf make the sum so. */
CLONES static void extremes(const float *restrict x, size_t n, float *low, float *high, double *sum)
{
    float l = INFINITY, h = -INFINITY, s = 0;
    double total = 0;
    size_t i = 0;
    if (n >= 2 * LANES) { /* two accumulators each, so that an addition does not wait for the one before */
        floats a, b, la, lb, ha, hb, sa, sb;
        memcpy(&la, x, sizeof la);
        memcpy(&lb, x + LANES, sizeof lb);
        ha = sa = la;
        hb = sb = lb;
        for (i = 2 * LANES; i + 2 * LANES <= n; i += 2 * LANES) {
            memcpy(&a, x + i, sizeof a);
            memcpy(&b, x + i + LANES, sizeof b);
            la = PICK(a < la, a, la);
            lb = PICK(b < lb, b, lb);
            ha = PICK(a > ha, a, ha);
            hb = PICK(b > hb, b, hb);
            sa += a;
            sb += b;
        }
        la = PICK(lb < la, lb, la);
        ha = PICK(hb > ha, hb, ha);
        sa += sb;
        for (int lane = 0; lane < LANES; lane++) {
            if (la[lane] < l) l = la[lane];
            if (ha[lane] > h) h = ha[lane];
            total += sa[lane];
        }
    }
    for (; i < n; i++) {
        if (x[i] < l) l = x[i];
        if (x[i] > h) h = x[i];
        s += x[i];
    }
    *low = l;
    *high = h;
    *sum = total + s;
}

/* The same for each of `channels` neighbouring values, over `rows` of them. */
CLONES static void row_extremes(const float *restrict x, size_t rows, size_t channels, float *restrict low,
                                float *restrict high, double *restrict sum)
{
    for (size_t row = 0; row < rows; row++, x += channels)
        for (size_t c = 0; c < channels; c++) {
            low[c] = x[c] < low[c] ? x[c] : low[c];
            high[c] = x[c] > high[c] ? x[c] : high[c];
            sum[c] += x[c];
        }
}

/* Division, not multiplication by a reciprocal, which rounds twice: it would put some values at the top edge a bin low.
   Widths are dyadic multiples of the first one, so that it rounds the same at every width, and a value's bin at width 2w
   is exactly half its bin at width w. */
CLONES static void indices(const float *restrict x, size_t n, float width, uint16_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        int32_t bin = (int32_t)(fabsf(x[i]) / width);
        out[i] = (uint16_t)(x[i] < 0 ? bin + SIDE : bin);
    }
}

static void empty_copies(histogram *h)
{
    if (!h->in_copies)
        return;
    for (int bin = 0; bin < BOTH; bin++)
        h->counts[bin] += (int64_t)h->copies[0][bin] + h->copies[1][bin] + h->copies[2][bin] + h->copies[3][bin];
    memset(h->copies, 0, COPIES * sizeof *h->copies);
    h->in_copies = 0;
}

static void widen(histogram *h)
{
    empty_copies(h);
    for (int side = 0; side < 2; side++) {
        int64_t *counts = h->counts + side * SIDE, edge = counts[BINS];
        for (int bin = 0; bin < BINS / 2; bin++)
            counts[bin] = counts[2 * bin] + counts[2 * bin + 1];
        memset(counts + BINS / 2, 0, (SIDE - BINS / 2) * sizeof *counts);
        counts[BINS / 2] = edge;
    }
    h->width *= 2;
}

/* `next` is where the values go on: they are fetched while counting, which leaves the memory idle. */
static void add(histogram *h, const uint16_t *index, size_t n, const float *next)
{
    size_t i = 0;
    if (!h->copies) {
        for (; i < n; i++)
            h->counts[index[i]]++;
        return;
    }
    if (h->in_copies > MANY)
        empty_copies(h);
    for (; i + LINE <= n; i += LINE) {
        __builtin_prefetch(next + i);
        for (size_t j = i; j < i + LINE; j += 4) {
            h->copies[0][index[j]]++;
            h->copies[1][index[j + 1]]++;
            h->copies[2][index[j + 2]]++;
            h->copies[3][index[j + 3]]++;
        }
    }
    for (; i < n; i++)
        h->copies[0][index[i]]++;
    h->in_copies += (uint32_t)n;
}

/* A tensor's shape as the channels see it: (rows, channels, inner); `inner` is 1 when channels are the last axis. */
typedef struct {
    size_t n, channels, inner;
    float *low, *high; /* per channel */
    double *sum;
} tensor;

/* How many values from `at` make the next chunk: whole rows where channels are last and fit, else a piece of one. */
static size_t chunk_at(const tensor *t, size_t at)
{
    size_t most = CHUNK;
    if (t->inner == 1 && t->channels <= CHUNK)
        most = CHUNK / t->channels * t->channels;
    else if (t->inner == 1 && t->channels - at % t->channels < CHUNK)
        most = t->channels - at % t->channels;
    return t->n - at < most ? t->n - at : most;
}

/* Extremes of the chunk as a whole, into low, high and sum, and of each channel in it. */
static void chunk_extremes(const tensor *t, const float *x, size_t at, size_t m, float *low, float *high, double *sum)
{
    if (t->inner == 1) {
        size_t first = at % t->channels, channels = t->channels <= CHUNK ? t->channels : m;
        row_extremes(x, m / channels, channels, t->low + first, t->high + first, t->sum + first);
        extremes(x, m, low, high, sum);
        return;
    }
    *low = INFINITY;
    *high = -INFINITY;
    *sum = 0;
    size_t channel = at / t->inner % t->channels, left = t->inner - at % t->inner;
    for (size_t done = 0; done < m; done += left, left = t->inner, channel = (channel + 1) % t->channels) {
        float l, h;
        double s;
        if (left > m - done)
            left = m - done;
        extremes(x + done, left, &l, &h, &s);
        if (l < t->low[channel]) t->low[channel] = l;
        if (h > t->high[channel]) t->high[channel] = h;
        t->sum[channel] += s;
        if (l < *low) *low = l;
        if (h > *high) *high = h;
        *sum += s;
    }
}

static int all_finite(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && isfinite(x[i]))
        i++;
    return i == n;
}

/* Counts all of x; stops at a chunk that is not finite, and returns whether all were. */
static int sweep(histogram *h, const tensor *t, const float *x, float *low, float *high)
{
    uint16_t index[CHUNK];
    size_t m;
    for (size_t at = 0; at < t->n; at += m) {
        float l, g;
        double sum;
        m = chunk_at(t, at);
        chunk_extremes(t, x + at, at, m, &l, &g, &sum);
        if (!isfinite(sum) && !all_finite(x + at, m)) /* a sum of large values may overflow without one being Inf */
            return 0;
        while (fmaxf(-l, g) > h->width * BINS)
            widen(h);
        if (l < *low) *low = l;
        if (g > *high) *high = g;
        indices(x + at, m, h->width, index);
        add(h, index, m, x + at + m);
    }
    empty_copies(h);
    return 1;
}

static PyObject *count(PyObject *self, PyObject *args)
{
    unsigned long long values, counts, channel_low, channel_high, channel_mean;
    Py_ssize_t n, channels, inner;
    double width, factor;
    (void)self;
    if (!PyArg_ParseTuple(args, "KnnndKKKKd", &values, &n, &channels, &inner, &width, &counts, &channel_low,
                          &channel_high, &channel_mean, &factor))
        return NULL;
    histogram h = {(int64_t *)(uintptr_t)counts, (float)width, NULL, 0};
    tensor t = {(size_t)n, (size_t)channels, (size_t)inner, (float *)(uintptr_t)channel_low,
                (float *)(uintptr_t)channel_high, NULL};
    float low = INFINITY, high = -INFINITY;
    int finite = 0;
    t.sum = calloc(t.channels, sizeof *t.sum);
    if (n >= FEW)
        h.copies = calloc(COPIES, sizeof *h.copies);
    if (t.sum && (h.copies || n < FEW)) {
        Py_BEGIN_ALLOW_THREADS
        finite = sweep(&h, &t, (const float *)(uintptr_t)values, &low, &high);
        int64_t *mean = (int64_t *)(uintptr_t)channel_mean;
        for (size_t c = 0; c < t.channels; c++)
            mean[c] += llrint(fmin(fmax(t.sum[c] * factor, -LARGEST_MEAN), LARGEST_MEAN));
        Py_END_ALLOW_THREADS
    } else
        PyErr_NoMemory();
    free(h.copies);
    free(t.sum);
    return PyErr_Occurred() ? NULL : Py_BuildValue("dddi", (double)h.width, (double)low, (double)high, finite);
}

static PyMethodDef methods[] = {{"count", count, METH_VARARGS, "See quantkit.calibrators.count."}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_count", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__count(void)
{
    return PyModule_Create(&module);
}
