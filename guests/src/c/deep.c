/* Recursive and deep: goes down to 10,000 frames, works at the bottom and on the way up. */
#include "scale.h"
#include <stdio.h>

enum { DEPTH = 10000, BOTTOM_STEPS = 200000 };

NOINLINE static uint32_t at_the_bottom(uint32_t seed) {
    uint32_t x = seed | 1;
    for (int i = 0; i < BOTTOM_STEPS; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    return x;
}

/* The work after the call keeps it from becoming a tail call or a loop. */
NOINLINE static uint32_t descend(uint32_t left) {
    if (left == 1) {
        return at_the_bottom(left);
    }
    uint32_t below = descend(left - 1);
    return (below ^ left) * 2654435761u;
}

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scale * 32; i++) {
        sum = mix(sum, descend(DEPTH - (i & 7)));
    }
    printf("deep %016llx\n", (unsigned long long)sum);
    return 0;
}
