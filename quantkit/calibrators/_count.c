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
#define MANY 60000         /* the copies count in 16 bits, to fit into the first-level cache, and are emptied in time */
#define LARGEST_MEAN 0x1p45 /* in units; 2^17 images of it still fit in 64 bits */
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
    uint16_t (*copies)[BOTH];
    Py_ssize_t in_copies;      /* the most that any bin of them can hold; they stay from call to call */
} histogram;

#define PICK(mask, a, b) ((floats)(((masks)(a) & (mask)) | ((masks)(b) & ~(mask))))

/* x cut off at both ends into y: the output of a ReLU or a Clip, of which only the input was written to memory. NaN stays. */
CLONES static void clamp(const float *restrict x, size_t n, float low, float high, float *restrict y)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] < low ? low : x[i];
        y[i] = v > high ? high : v;
    }
}

/* The sum of values whose sum in float32 overflowed, or of some that are not finite. */
static double exact_sum(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

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
        for (int lane = 0; lane < LANES / 2; lane++) { /* halves first: small planes end here often */
            float low_pair = la[lane] < la[lane + 4] ? la[lane] : la[lane + 4];
            float high_pair = ha[lane] > ha[lane + 4] ? ha[lane] : ha[lane + 4];
            if (low_pair < l) l = low_pair;
            if (high_pair > h) h = high_pair;
            total += (double)sa[lane] + sa[lane + 4];
        }
    }
    for (; i < n; i++) {
        if (x[i] < l) l = x[i];
        if (x[i] > h) h = x[i];
        s += x[i];
    }
    *low = l;
    *high = h;
    *sum = isfinite(total + s) ? total + s : exact_sum(x, n);
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
    h->in_copies += (Py_ssize_t)(n / COPIES + LINE);
}

/* An array's shape as the channels see it: (rows, channels, inner); `inner` is 1 when channels are the last axis. */
typedef struct {
    size_t n, channels, inner;
} shape;

/* One tensor that is counted: the array itself, or the array cut off at both ends. */
typedef struct {
    histogram h;
    int cut;
    float floor, ceiling;
    float *channel_low, *channel_high; /* per channel */
    double *sum;
    int64_t *mean;
    double factor;
    float low, high;
} target;

/* How many values from `at` make the next chunk: whole rows where channels are last and fit, else a piece of one. */
static size_t chunk_at(const shape *s, size_t at)
{
    size_t most = CHUNK;
    if (s->inner == 1 && s->channels <= CHUNK)
        most = CHUNK / s->channels * s->channels;
    else if (s->inner == 1 && s->channels - at % s->channels < CHUNK)
        most = s->channels - at % s->channels;
    return s->n - at < most ? s->n - at : most;
}

/* Extremes of the chunk as a whole, into low, high and sum, and of each channel in it. */
static void chunk_extremes(const shape *s, target *t, const float *x, size_t at, size_t m, float *low, float *high,
                           double *sum)
{
    if (s->inner == 1) {
        size_t first = at % s->channels, channels = s->channels <= CHUNK ? s->channels : m;
        row_extremes(x, m / channels, channels, t->channel_low + first, t->channel_high + first, t->sum + first);
        extremes(x, m, low, high, sum);
        return;
    }
    *low = INFINITY;
    *high = -INFINITY;
    *sum = 0;
    size_t channel = at / s->inner % s->channels, left = s->inner - at % s->inner;
    for (size_t done = 0; done < m; done += left, left = s->inner, channel = (channel + 1) % s->channels) {
        float l, g;
        double part;
        if (left > m - done)
            left = m - done;
        extremes(x + done, left, &l, &g, &part);
        if (l < t->channel_low[channel]) t->channel_low[channel] = l;
        if (g > t->channel_high[channel]) t->channel_high[channel] = g;
        t->sum[channel] += part;
        if (l < *low) *low = l;
        if (g > *high) *high = g;
        *sum += part;
    }
}

static int all_finite(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && isfinite(x[i]))
        i++;
    return i == n;
}

/* Counts the chunk x for one target; returns whether all of it is finite. */
static int count_chunk(const shape *s, target *t, const float *x, size_t at, size_t m, const float *next)
{
    uint16_t index[CHUNK];
    float cut[CHUNK], l, g;
    double sum;
    if (t->cut) {
        clamp(x, m, t->floor, t->ceiling, cut);
        x = cut;
    }
    chunk_extremes(s, t, x, at, m, &l, &g, &sum);
    if (!isfinite(sum) && !all_finite(x, m))
        return 0;
    while (fmaxf(-l, g) > t->h.width * BINS)
        widen(&t->h);
    if (l < t->low) t->low = l;
    if (g > t->high) t->high = g;
    indices(x, m, t->h.width, index);
    add(&t->h, index, m, next);
    return 1;
}

/* Counts all of x for every target, a chunk at a time, while it is in the cache; stops where it is not finite. */
static int sweep(const shape *s, target *targets, Py_ssize_t number, const float *x)
{
    size_t m;
    for (size_t at = 0; at < s->n; at += m) {
        m = chunk_at(s, at);
        for (Py_ssize_t i = 0; i < number; i++)
            if (!count_chunk(s, targets + i, x + at, at, m, x + at + m))
                return 0;
    }
    for (Py_ssize_t i = 0; i < number; i++) {
        target *t = targets + i;
        for (size_t c = 0; c < s->channels; c++)
            t->mean[c] += llrint(fmin(fmax(t->sum[c] * t->factor, -LARGEST_MEAN), LARGEST_MEAN));
    }
    return 1;
}

/* Reads one target from Python and makes room for what it needs while counting. */
static int read_target(PyObject *item, const shape *s, target *t)
{
    unsigned long long counts, copies, low, high, mean;
    double width, floor, ceiling;
    if (!PyArg_ParseTuple(item, "dnKKKKKddd", &width, &t->h.in_copies, &counts, &copies, &low, &high, &mean, &t->factor,
                          &floor, &ceiling))
        return 0;
    t->h.copies = (uint16_t(*)[BOTH])(uintptr_t)copies;
    t->h.counts = (int64_t *)(uintptr_t)counts;
    t->h.width = (float)width;
    t->channel_low = (float *)(uintptr_t)low;
    t->channel_high = (float *)(uintptr_t)high;
    t->mean = (int64_t *)(uintptr_t)mean;
    t->floor = (float)floor;
    t->ceiling = (float)ceiling;
    t->cut = floor != -INFINITY || ceiling != INFINITY;
    t->low = INFINITY;
    t->high = -INFINITY;
    t->sum = calloc(s->channels, sizeof *t->sum);
    if (!t->sum)
        PyErr_NoMemory();
    return t->sum != NULL;
}

static PyObject *count(PyObject *self, PyObject *args)
{
    unsigned long long values;
    Py_ssize_t n, channels, inner, number;
    PyObject *items, *found = NULL;
    int ready = 1, finite = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "KnnnO!", &values, &n, &channels, &inner, &PyTuple_Type, &items))
        return NULL;
    shape s = {(size_t)n, (size_t)channels, (size_t)inner};
    number = PyTuple_Size(items);
    target *targets = calloc((size_t)number + 1, sizeof *targets);
    if (!targets)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; ready && i < number; i++)
        ready = read_target(PyTuple_GetItem(items, i), &s, targets + i);
    if (ready) {
        Py_BEGIN_ALLOW_THREADS
        finite = sweep(&s, targets, number, (const float *)(uintptr_t)values);
        Py_END_ALLOW_THREADS
        found = PyTuple_New(finite ? number : 0);
        for (Py_ssize_t i = 0; found && finite && i < number; i++) {
            target *t = targets + i;
            PyObject *item = Py_BuildValue("dndd", (double)t->h.width, t->h.in_copies, (double)t->low, (double)t->high);
            PyTuple_SetItem(found, i, item);
        }
    }
    for (Py_ssize_t i = 0; i < number; i++)
        free(targets[i].sum);
    free(targets);
    return found;
}

static PyMethodDef methods[] = {{"count", count, METH_VARARGS, "See quantkit.calibrators.count."}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_count", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__count(void)
{
    return PyModule_Create(&module);
}
