/* Ends by exit(7), from inside nested calls, after some work. */
#include "scale.h"
#include <stdio.h>

NOINLINE static uint64_t collatz(uint64_t n) {
    uint64_t steps = 0;
    while (n != 1) {
        n = n % 2 ? 3 * n + 1 : n / 2;
        steps++;
    }
    return steps;
}

NOINLINE static void give_up(uint64_t sum) {
    printf("exit7 %016llx\n", (unsigned long long)sum);
    exit(7);
}

NOINLINE static void search(uint32_t upto) {
    uint64_t sum = 0;
    for (uint32_t n = 1; n <= upto; n++) {
        sum = mix(sum, collatz(n));
    }
    give_up(sum);
}

int main(int argc, char **argv) {
    search(scale_of(argc, argv) * 60000);
    return 0;
}
