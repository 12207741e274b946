/* The core of the WASI p2 component: dynamic programming over two texts that it makes itself.
 * Built as a p1 command, then wrapped with the preview1 adapter (see guests/build). */
#include "scale.h"
#include <stdio.h>
#include <string.h>

enum { LENGTH = 2000 };

static char left[LENGTH], right[LENGTH];
static uint16_t row[LENGTH + 1];

NOINLINE static void fill(char *text, uint32_t seed) {
    for (int i = 0; i < LENGTH; i++) {
        seed = seed * 1664525u + 1013904223u;
        text[i] = (char)('a' + (seed >> 24) % 4);
    }
}

NOINLINE static uint32_t edit_distance(void) {
    for (int j = 0; j <= LENGTH; j++) {
        row[j] = (uint16_t)j;
    }
    for (int i = 1; i <= LENGTH; i++) {
        uint16_t corner = row[0];
        row[0] = (uint16_t)i;
        for (int j = 1; j <= LENGTH; j++) {
            uint16_t best = (uint16_t)(corner + (left[i - 1] != right[j - 1]));
            if (row[j] + 1 < best) {
                best = (uint16_t)(row[j] + 1);
            }
            if (row[j - 1] + 1 < best) {
                best = (uint16_t)(row[j - 1] + 1);
            }
            corner = row[j];
            row[j] = best;
        }
    }
    return row[LENGTH];
}

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scale * 2; i++) {
        fill(left, i);
        fill(right, i + 1000);
        sum = mix(sum, edit_distance());
    }
    printf("component %016llx\n", (unsigned long long)sum);
    return 0;
}
