// What other versions of DWARF than 4, and 64-bit memories, add to the guests of the repository:
// ends that are addresses, lists with packed distances, addresses by number, wide addresses. Inlined
// functions, blocks, variables in many places, calls, and one function that the linker removes.
//
//   clang-14 --target=wasmNN-unknown -gdwarf-N -O2 -ffreestanding -nostdlib -Wl,--no-entry
//       -fdebug-compilation-dir=/wasmscope -ffile-prefix-map=DIR=/wasmscope -o guestNN-vN.wasm guest.c
//
// with -Wl,--features=memory64 for 64.
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define INLINE static inline __attribute__((always_inline))
#define OUTLINE __attribute__((noinline))

static uint32_t table[64];

INLINE uint32_t mix(uint32_t x, uint32_t y) {
    uint32_t z = x * 2654435761u ^ y;
    return z >> 7 | z << 25;
}

INLINE uint32_t fold(uint32_t x) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t each = mix(table[i], x);
        table[i] = each;
        sum += each;
    }
    return sum;
}

OUTLINE uint32_t removed(uint32_t n) {
    uint32_t twice = n * 2;
    return twice < 10 ? twice : mix(twice, n) + fold(n);
}

OUTLINE uint32_t step(uint32_t n) {
    if (n & 1) {
        uint32_t odd = mix(n, 17);
        return odd ^ fold(odd);
    }
    return n / 3;
}

EXPORT("run") uint32_t run(uint32_t n) {
    uint32_t total = 0;
    while (n--) {
        total += step(total ^ n);
        if (total > 1000) {
            total = mix(total, step(n));
        }
    }
    return total;
}

EXPORT("last") uint32_t last(uint32_t n) { return step(n); }
