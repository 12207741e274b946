/* The one argument that every C guest takes: SCALE, a whole number.
 * 100 (the default) is one or two seconds of work; 1 is about 10 ms. */
#ifndef SCALE_H
#define SCALE_H

#include <stdint.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline))

static inline uint32_t scale_of(int argc, char **argv) {
    return argc > 1 ? (uint32_t)strtoul(argv[1], 0, 10) : 100;
}

/* One step of a checksum that depends on every value and on their order. */
static inline uint64_t mix(uint64_t sum, uint64_t value) {
    sum = (sum ^ value) * 0x9e3779b97f4a7c15u;
    return sum ^ (sum >> 29);
}

#endif
