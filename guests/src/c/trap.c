/* Traps in nested calls after some work. Arguments: SCALE KIND, where KIND is
 * unreachable (the default), oob, divide, signature or stack. */
#include "scale.h"
#include <stdio.h>
#include <string.h>

NOINLINE static uint64_t prepare(uint32_t scale) {
    uint64_t x = 88172645463325252u;
    for (uint32_t i = 0; i < scale * 5000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

NOINLINE static int two_arguments(int a, int b) { return a * b; }
static int (*volatile two)(int, int) = two_arguments;

/* The work after the call keeps it from becoming a loop; an odd number never comes to zero. */
NOINLINE static uint32_t endless(uint32_t n) {
    if (n == 0) {
        return 0;
    }
    return (endless(n + 2) ^ n) * 2654435761u;
}

NOINLINE static uint32_t level_three(const char *kind, volatile uint32_t *zero) {
    if (!strcmp(kind, "oob")) {
        return *(volatile uint32_t *)(uintptr_t)(0xfffffff0u + *zero);
    }
    if (!strcmp(kind, "divide")) {
        /* Written in assembly, since division by zero is undefined in C. */
        uint32_t quotient;
        __asm__ volatile("local.get %1\n\ti32.const 0\n\ti32.div_u\n\tlocal.set %0" : "=r"(quotient) : "r"(*zero));
        return quotient;
    }
    if (!strcmp(kind, "signature")) {
        uint32_t (*one)(void) = (uint32_t(*)(void))(uintptr_t)two;
        return one();
    }
    if (!strcmp(kind, "stack")) {
        return endless(*zero + 1);
    }
    __builtin_trap();
}

NOINLINE static uint32_t level_two(const char *kind, volatile uint32_t *zero) {
    return level_three(kind, zero) + 2;
}

NOINLINE static uint32_t level_one(const char *kind, volatile uint32_t *zero) {
    return level_two(kind, zero) + 1;
}

int main(int argc, char **argv) {
    volatile uint32_t zero = 0;
    printf("trap %016llx\n", (unsigned long long)prepare(scale_of(argc, argv)));
    fflush(stdout);
    uint32_t never = level_one(argc > 2 ? argv[2] : "unreachable", &zero);
    printf("not reached %u\n", never);
    return 0;
}
