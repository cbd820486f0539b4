/* Counts of durations in buckets of a sixty-fourth of their power of two: a quantile is right to 1.6 %. */
#include <stdint.h>
#include <stdio.h>

enum { BUCKETS = 64 * 48 };

struct histogram {
    uint64_t count, highest;
    uint32_t buckets[BUCKETS];
};

static inline void count_duration(struct histogram *h, uint64_t nanoseconds) {
    unsigned power = nanoseconds < 64 ? 0 : (unsigned)(63 - __builtin_clzll(nanoseconds)) - 5;
    uint64_t bucket = power ? 64 * power + (nanoseconds >> (power - 1)) - 64 : nanoseconds;
    h->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    h->count++;
    if (nanoseconds > h->highest) h->highest = nanoseconds;
}

/* The duration that a *share* of all is not above, in microseconds; 0 when nothing was counted. */
static double quantile(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)((double)h->count * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS && h->count; i++) {
        if ((seen += h->buckets[i]) <= wanted && seen < h->count) continue;
        uint64_t lower = i < 64 ? i : (uint64_t)(64 + i % 64) << (i / 64 - 1), width = i < 64 ? 1 : 1ull << (i / 64 - 1);
        uint64_t middle = lower + width / 2;
        return (double)(middle < h->highest ? middle : h->highest) / 1e3;
    }
    return 0;
}

static void print_quantiles(const char *name, const struct histogram *h) {
    printf(",\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"highest\":%.1f}", name, quantile(h, 0.5), quantile(h, 0.99),
           (double)h->highest / 1e3);
}
