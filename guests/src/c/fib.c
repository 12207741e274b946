/* Call-heavy: the plain recursive Fibonacci, which does little but call itself. */
#include "scale.h"
#include <stdio.h>

NOINLINE static uint32_t fib(uint32_t n) {
    if (n < 2) {
        return n;
    }
    return fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scale; i++) {
        sum = mix(sum, fib(33 + (i & 1)));
    }
    printf("fib %016llx\n", (unsigned long long)sum);
    return 0;
}
