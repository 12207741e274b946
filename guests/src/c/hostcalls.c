/* Host-call-heavy: hardly any work of its own, a great many short WASI calls. Mostly the clock;
 * every 16th time 8 random bytes, every 64th time a write of no bytes. */
#include "scale.h"
#include <stdio.h>
#include <wasi/api.h>

static uint32_t backwards;
static uint32_t failed;

NOINLINE static uint64_t ask_clock(uint64_t before) {
    __wasi_timestamp_t now = 0;
    if (__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &now) != 0) {
        failed++;
    }
    if (now < before) {
        backwards++;
    }
    return now;
}

NOINLINE static void ask_random(void) {
    uint8_t bytes[8];
    if (__wasi_random_get(bytes, sizeof bytes) != 0) {
        failed++;
    }
}

NOINLINE static void write_nothing(void) {
    __wasi_ciovec_t nothing = {.buf = (const uint8_t *)"", .buf_len = 0};
    __wasi_size_t written = 0;
    if (__wasi_fd_write(2, &nothing, 1, &written) != 0) {
        failed++;
    }
}

int main(int argc, char **argv) {
    uint32_t calls = scale_of(argc, argv) * 100000;
    uint64_t now = 0;
    for (uint32_t i = 0; i < calls; i++) {
        now = ask_clock(now);
        if (i % 16 == 0) {
            ask_random();
        }
        if (i % 64 == 0) {
            write_nothing();
        }
    }
    printf("hostcalls %u backwards %u failed %u\n", calls, backwards, failed);
    return 0;
}
