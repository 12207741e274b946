/* A reactor: no _start, only plain functions to call by name. Imports nothing. */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("add") int32_t add(int32_t a, int32_t b) { return a + b; }

EXPORT("fib") uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

/* Steps times the same chain; 100 million take about a quarter of a second. */
EXPORT("churn") uint64_t churn(uint32_t steps) {
    uint64_t x = 88172645463325252u;
    for (uint32_t i = 0; i < steps; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

EXPORT("mean") double mean(double a, double b) { return (a + b) / 2; }

EXPORT("nothing") void nothing(void) {}
