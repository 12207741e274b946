/* Blocks in the host: sleeps 8 ms (poll_oneoff), works about as long, and so on. */
#include "scale.h"
#include <stdio.h>
#include <time.h>

NOINLINE static uint64_t work(uint64_t x) {
    for (uint32_t i = 0; i < 3000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

NOINLINE static int rest(void) {
    struct timespec time = {.tv_sec = 0, .tv_nsec = 8000000};
    return nanosleep(&time, 0);
}

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    uint64_t x = 88172645463325252u;
    uint32_t cut_short = 0;
    for (uint32_t i = 0; i < scale; i++) {
        cut_short += rest() != 0;
        x = work(x);
    }
    printf("sleep %016llx cut short %u\n", (unsigned long long)x, cut_short);
    return 0;
}
